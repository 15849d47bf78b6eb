"""The verb that ends runs early: stop."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, StorePath, store_path
from workbench.errors import ArgumentError
from workbench.store import open_store

BY_HAND = "stopped by hand"


@app.command
def stop(
    *run_ids: Annotated[str, Parameter(name="RUN", help="Runs to stop.")],
    reason: Annotated[str, Parameter(help="Why; kept with the run as stop_reason.")] = BY_HAND,
    withdraw: Annotated[
        bool, Parameter(negative="", help="Take the decision back: the run may be trained on.")
    ] = False,
    store: StorePath = None,
    json: AsJson = False,
) -> None:
    """Decide that runs should end; whoever trains them obeys within about a second.

    The others of their batch go on untouched. The decision stands until it is withdrawn: training
    the family again leaves these runs alone.
    """
    if not run_ids:
        msg = "stop needs at least one RUN. Example: workbench stop RUN --reason 'falls behind'"
        raise ArgumentError(msg)
    stops = open_store(store_path(store)).stops
    if withdraw:
        withdrawn = [name for name in run_ids if stops.withdraw(name)]
        lines = [
            f"{name}: {'may be trained on' if name in withdrawn else 'was not to be stopped'}."
            for name in run_ids
        ]
        emit({"withdrawn": withdrawn}, "\n".join(lines), as_json=json)
        return
    decided = [
        {"run_id": name, "status": stops.decide(name, reason=reason), "reason": reason}
        for name in run_ids
    ]
    lines = [f"{row['run_id']} ({row['status']}) is to stop: {row['reason']}." for row in decided]
    emit({"decided": decided}, "\n".join(lines), as_json=json)
