"""The verb that makes runs: train."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, StorePath, store_path
from workbench.store import open_store
from workbench.text import plural, without_password


@app.command
def train(
    family_spec: Annotated[str, Parameter(name="FAMILY", help="Preset name or a TOML file.")],
    *,
    store: StorePath = None,
    family: Annotated[str | None, Parameter(help="Name of the family in the store.")] = None,
    processes: Annotated[int | None, Parameter(help="Processes; default: one a core.")] = None,
    json: AsJson = False,
) -> None:
    """Train a family of small models, writing live into a store; finished runs are kept."""
    from workbench.training import load_spec, train_family

    path = store_path(store)
    open_store(path, create=True)
    result = train_family(load_spec(family_spec), path, family=family, processes=processes)
    rows = [dict(row) for row in result.runs]
    human = (
        f"Trained {plural(len(rows), 'run')} of {result.family} in {result.seconds:.0f} s "
        f"({result.run_steps_per_second:.0f} run-steps/s) into {without_password(path)}."
    )
    data = {
        "family": result.family,
        "runs": rows,
        "run_steps_per_second": result.run_steps_per_second,
        "seconds": result.seconds,
    }
    emit(data, human, as_json=json)
