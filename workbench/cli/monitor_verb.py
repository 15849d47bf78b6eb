"""Verb that watches a run in progress: monitor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import xarray as xr
from cyclopts import Parameter

from workbench.cli.app import app, emit, say
from workbench.cli.options import AsJson, StorePath, store_path
from workbench.errors import ArgumentError, DataError
from workbench.io.settings import parse_settings
from workbench.schema import (
    Filter,
    LossName,
    matching,
    parse_filter,
    run_names,
    select_runs,
    take_runs,
)
from workbench.store import Store, open_store
from workbench.watch import Alarm, Notifier, Reference
from workbench.watch.live import INTERVAL_SECONDS, LogSource, StoreSource, watch_source
from workbench.watch.members import watched_loss


@Parameter(name="*")
@dataclass(frozen=True)
class Live:
    """How a run that is still being written is read."""

    source: Annotated[
        Path | None,
        Parameter(help="Watch a log file, or a folder another tool writes, instead of the store."),
    ] = None
    format: Annotated[str, Parameter(help="Log format of --source.")] = "auto"
    set: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="--source: run coordinate as NAME=VALUE. Repeatable."),
    ] = ()
    follow: Annotated[
        bool, Parameter(negative="", help="Go on until the run ends; alarms come on stderr.")
    ] = False
    interval: Annotated[float, Parameter(help="--follow: seconds between two looks.")] = (
        INTERVAL_SECONDS
    )
    until_idle: Annotated[
        float | None, Parameter(help="--follow: end after so many seconds without change.")
    ] = None


ReferenceOption = Annotated[
    tuple[str, ...],
    Parameter(
        name="--reference",
        negative="",
        help="Finished runs of the family, NAME OP VALUE as --where of other verbs; or a reference "
        "saved as .nc or .zarr. Repeatable; default: the other finished runs of its family.",
    ),
]


@app.command
def monitor(
    *,
    run: Annotated[str | None, Parameter(help="Run to watch, by run_id.")] = None,
    reference: ReferenceOption = (),
    store: StorePath = None,
    live: Live | None = None,
    loss: Annotated[
        LossName | None,
        Parameter(help="Loss to watch; default: the held-out one where it has enough records."),
    ] = None,
    false_alarm: Annotated[float, Parameter(help="Chance that a healthy run is alarmed.")] = 0.01,
    notify: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="http(s)://…, command:PROGRAM or terminal. Repeatable."),
    ] = (),
    save_reference: Annotated[
        Path | None, Parameter(help="Keep the reference: .nc or .zarr.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Tell whether a run still follows its family, and since when it does not."""
    live = live or Live()
    if run is None and live.source is None:
        msg = "monitor needs --run RUN_ID, or --source LOG with one run in it."
        raise ArgumentError(msg)
    family = _reference(run, reference, store, loss, of_log=live.source is not None)
    if save_reference is not None and family is not None:
        family.save(save_reference)
    source, notifier = _source(run, live, store), Notifier(notify)

    def tell(alarm: Alarm, run_id: str) -> None:
        if live.follow and "terminal" not in notify:
            say(f"{run_id}: {alarm}")
        if alarm.kind != "data":
            notifier.send(alarm, run_id=run_id)

    try:
        found = watch_source(
            source,
            family,
            loss=_loss(_source(run, live, store), family, loss),
            follow=live.follow,
            interval=live.interval,
            until_idle=live.until_idle,
            on_alarm=tell,
            false_alarm=false_alarm,
        )
    finally:
        notifier.close()
    report = found.report()
    emit(report.to_dict(), str(report), as_json=json)


def _source(run: str | None, live: Live, store: str | None) -> StoreSource | LogSource:
    if live.source is not None:
        if not live.source.exists():
            msg = f"--source {str(live.source)!r} does not exist. Give a log file or folder."
            raise ArgumentError(msg)
        return LogSource(live.source, run, format=live.format, settings=parse_settings(live.set))
    assert run is not None
    return StoreSource(open_store(store_path(store)), run)


def _loss(
    source: StoreSource | LogSource, family: Reference | None, asked: LossName | None
) -> LossName:
    if family is not None:
        return family.loss
    if asked is not None:
        return asked
    run = source.look()
    return "train_loss" if run is None else watched_loss(run)


def _reference(
    run: str | None,
    given: tuple[str, ...],
    store: str | None,
    loss: LossName | None,
    *,
    of_log: bool,
) -> Reference | None:
    """Load the reference, or make it from runs of the store; None where there is nothing to use."""
    saved = [text for text in given if text.endswith((".nc", ".zarr"))]
    if saved:
        if len(given) > 1:
            msg = f"--reference takes one saved reference, or conditions; found {', '.join(given)}."
            raise ArgumentError(msg)
        family = Reference.load(saved[0])
        if run is not None and run in family.members:
            msg = f"Run {run!r} is a member of the reference {saved[0]}. Watch another run."
            raise ArgumentError(msg)
        return family
    filters = [parse_filter(text) for text in given]
    if of_log and not filters:
        return None
    others = _others(open_store(store_path(store)), None if of_log else run, filters)
    if others is None:
        return None
    try:
        return Reference.from_runs(others, loss=loss)
    except DataError as error:  # the rules that need none still hold
        say(f"Watched without a reference: {error}")
        return None


def _others(store: Store, run: str | None, filters: list[Filter]) -> xr.Dataset | None:
    runs = store.runs()
    own = matching(runs, [Filter("run_id", "=", (run or "",))])
    if run is not None and not own.any() and run not in set(store.table()["run_id"]):
        msg = f"No run {run!r} in the store. List what is there with: workbench runs"
        raise ArgumentError(msg)
    others = take_runs(runs, ~own)
    if filters:
        return select_runs(others, filters)
    if own.any() and others.sizes["run"] and "family" in runs:
        family = str(take_runs(runs, own)["family"].to_numpy()[0])
        others = take_runs(others, others["family"].to_numpy() == family)
    done = others["status"].to_numpy() == "done" if others.sizes["run"] else []
    return others if others.sizes["run"] and any(done) and run_names(others) else None
