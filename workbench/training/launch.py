"""Train a family: what is left of it becomes jobs, and a launcher trains them."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd

from workbench.errors import ArgumentError, DataError
from workbench.store import Address, Store, open_store
from workbench.training.checkpoint import clear_finished
from workbench.training.jobs import jobs_of
from workbench.training.launchers import open_launcher
from workbench.training.plan import FamilyPlan, RunPlan, plan_family
from workbench.training.preflight import require_memory, require_room, require_torch
from workbench.training.progress import Tracker, TrainEvent
from workbench.training.report import (
    Assignment,
    Crew,
    Job,
    Launcher,
    LauncherName,
    Pace,
    WantedDevice,
)
from workbench.training.spec import FamilySpec, parse_spec
from workbench.training.task import Task
from workbench.training.tasks import build_task, check_own_task

_PATIENCE_SECONDS = 10.0
"""After Ctrl-C workers end by themselves within this time, or are ended."""


class RunOutcome(TypedDict):
    """How one run ended: its identifier, status and held-out loss at the end [nats/token]."""

    run_id: str
    status: Literal["planned", "running", "done", "stopped", "failed"]
    final_loss: float


@dataclass(frozen=True)
class TrainResult:
    """What a call of `train_family` did.

    Parameters
    ----------
    family : str
        Name in the store.
    runs : tuple of RunOutcome
        Every run of the family, those that were done before included.
    run_steps_per_second : float
        Steps of all runs made by this call, over its wall time; 0 when nothing was left to do.
    seconds : float
        Wall time of the call.
    """

    family: str
    runs: tuple[RunOutcome, ...]
    run_steps_per_second: float
    seconds: float


def train_family(
    spec: FamilySpec,
    store_path: str | os.PathLike[str] | Address,
    *,
    family: str | None = None,
    task: Task | None = None,
    processes: int | None = None,
    launcher: LauncherName | AbstractContextManager[Launcher] = "local",
    scheduler: str | None = None,
    device: WantedDevice = "auto",
    checkpoints: str | os.PathLike[str] | None = None,
    pace: Pace | None = None,
    resume: bool = True,
    progress: bool = True,
    on_event: Callable[[TrainEvent], None] | None = None,
    stop: threading.Event | None = None,
) -> TrainResult:
    """Train the runs of a family that are not done yet, writing them live into a store.

    Runs that did not finish go on from their checkpoints, bit for bit on the same kind of machine;
    what killed processes have written stays. Runs that were decided to stop (``Store.stops``) leave
    their batch within about a second and are not taken up again while the decision stands.

    Processes are spawned, so a script must call this under ``if __name__ == "__main__":``.

    Parameters
    ----------
    spec : FamilySpec
        From `load_spec`.
    store_path : path, str or Address
        Folder or URL of the store; made when it is missing.
    family : str, optional
        Name in the store, instead of the spec's own.
    task : Task, optional
        What the models learn, where the spec has ``[task] name = "own"``: any object with the
        members of `Task`, or a `FunctionTask`.
    processes : int, optional
        Training processes; by default one per core this process may use, or per CUDA device.
    launcher : {"local", "dask"} or context manager of a Launcher
        Who trains: processes of this machine, or the workers of a Dask cluster.
    scheduler : str, optional
        With ``"dask"``: address of the cluster's scheduler, or ``"slurm"`` to have workers queued
        by dask-jobqueue as its configuration says; by default a cluster on this machine.
    device : {"auto", "cpu", "cuda"}
        Where to compute; ``auto`` takes CUDA devices where there are any. One worker per device: a
        model is never split over several.
    checkpoints : path, optional
        Folder of the checkpoints, which all workers reach; by default in the folder of the store,
        or of its curves.
    pace : Pace, optional
        When checkpoints are written; every 30 s by default.
    resume : bool
        Go on with a family that the store knows. False raises when the store has any of the runs.
    progress : bool
        Show a progress bar with the time left: on stderr, in a notebook below the cell.
    on_event : callable, optional
        Called in this thread with a `TrainEvent` at the start, about twice a second, whenever a
        run ends, and at the end.
    stop : threading.Event, optional
        Set it from another thread to end early; unfinished runs are marked stopped.

    Returns
    -------
    TrainResult

    Raises
    ------
    ArgumentError
        If the spec cannot be planned or trained here (no torch, no such device, no room in its
        memory or on the disk), an option is wrong, or ``resume=False`` and the store has runs of
        this name.
    DataError
        If the store holds runs of the same name with other settings, runs failed, or workers died
        again and again.
    KeyboardInterrupt
        On Ctrl-C, after checkpoints are written and unfinished runs are marked stopped.
    """
    started = time.monotonic()
    if family is not None:
        spec = parse_spec(spec.model_dump() | {"family": family})
    plan = plan_family(spec)
    if task is not None:
        check_own_task(task, spec)
    require_torch()
    place = launcher
    if isinstance(place, str):
        place = open_launcher(place, scheduler=scheduler, processes=processes, device=device)
    with closing(open_store(store_path, create=True)) as store:
        todo = _unfinished(plan, store, resume=resume)
        folder = checkpoint_folder(store, checkpoints) / spec.family
        # Made after the checks: a bar that is drawn would stand before their message.
        track = partial(Tracker, plan, todo, started=started, show=progress, on_event=on_event)
        if todo:
            with place as opened:
                assignment, jobs = _prepare(store, plan, task, todo, opened, folder, pace or Pace())
                tracker = track()
                crew = opened.start(assignment, jobs)
                _see_through(store, plan, crew, tracker, stop or threading.Event())
            store.consolidate()
        else:
            tracker = track()
        outcomes = _outcomes(plan, store.table())
        clear_finished(folder, [row["run_id"] for row in outcomes if row["status"] == "done"])
    seconds = time.monotonic() - started
    tracker.finish()
    return TrainResult(spec.family, outcomes, tracker.steps_made / seconds, seconds)


def checkpoint_folder(store: Store, given: str | os.PathLike[str] | None) -> Path:
    """Return where a store has its checkpoints.

    Raises
    ------
    ArgumentError
        If none is given and the store has no folder.
    """
    if given is not None:
        return Path(given).absolute()
    home = store.address.root or store.root
    if home is None:
        msg = (
            f"The store {store} has no folder that could hold checkpoints. Name one that every "
            "worker reaches with --checkpoints FOLDER."
        )
        raise ArgumentError(msg)
    return home.absolute() / "checkpoints"


def _prepare(
    store: Store,
    plan: FamilyPlan,
    task: Task | None,
    todo: Sequence[RunPlan],
    place: Launcher,
    folder: Path,
    pace: Pace,
) -> tuple[Assignment, tuple[Job, ...]]:
    """Check that the runs can be trained there, and say in the store that they will come."""
    require_memory(todo, memory=place.memory)
    jobs = jobs_of(plan.spec, todo, workers=place.workers, checkpoints=folder, device=place.device)
    require_room(folder, jobs, workers=place.workers)
    _register(store, plan, task, todo)
    address = store.address
    if address.root is not None:  # workers may have been started in another folder
        address = replace(address, root=address.root.absolute())
    return Assignment(plan.spec, address, folder, pace, place.device, task), jobs


def _unfinished(plan: FamilyPlan, store: Store, *, resume: bool) -> list[RunPlan]:
    known = {row["run_id"]: row for row in store.table().to_dict("records")}
    present = [run for run in plan.runs if run.run_id in known]
    if present and not resume:
        msg = (
            f"The store already has {len(present)} runs of family {plan.spec.family!r}. Resume "
            "them, or choose another family name."
        )
        raise ArgumentError(msg)
    for run in present:
        _check_same(run, known[run.run_id])
    status = {run_id: row["status"] for run_id, row in known.items()}
    decided = store.stops.reasons()
    return [
        run
        for run in plan.runs
        if status.get(run.run_id) != "done"
        and not (status.get(run.run_id) == "stopped" and run.run_id in decided)
    ]


def _check_same(run: RunPlan, row: dict[Any, Any]) -> None:
    for name, value in run.coordinates().items():
        found = row.get(name)
        if found is None or found == "" or (isinstance(found, float) and math.isnan(found)):
            continue
        same = found == value if isinstance(value, str) else np.isclose(found, value, rtol=1e-6)
        if not same:
            msg = (
                f"The store has run {run.run_id!r} with {name} {found!r}, this family plans "
                f"{value!r}. Choose another family name, or another store."
            )
            raise DataError(msg)


def _register(store: Store, plan: FamilyPlan, task: Task | None, todo: Sequence[RunPlan]) -> None:
    """Say in the store which runs will come, so that they are seen before they start."""
    entropy = (task or build_task(plan.spec)).entropy
    known_loss = {"irreducible_loss": entropy} if math.isfinite(entropy) else {}
    known = set(store.table()["run_id"])
    for run in todo:
        if run.run_id not in known:
            attributes = run.coordinates() | known_loss
            store.plan_run(run.run_id, family=plan.spec.family, attributes=attributes)


def _see_through(
    store: Store, plan: FamilyPlan, crew: Crew, tracker: Tracker, stop: threading.Event
) -> None:
    """Follow the crew to its end; raise when it was interrupted or runs were not finished."""
    asked = interrupted = False
    patience = math.inf
    while crew.working:
        try:
            if stop.is_set() and not asked:
                asked = True
                crew.stop()
            if time.monotonic() > patience:
                crew.terminate()
            for report in crew.reports():
                tracker.take(report)
            tracker.tick()
        except KeyboardInterrupt:
            if interrupted:
                crew.terminate()
            asked = interrupted = True
            patience = time.monotonic() + _PATIENCE_SECONDS
            crew.stop()
        except BaseException:
            # A listener that raises must not leave processes training behind its back.
            crew.terminate()
            raise
    _close_open_runs(store, plan, tracker.open_runs, asked=asked)
    if interrupted:
        tracker.finish()
        raise KeyboardInterrupt
    if crew.died or tracker.errors:
        tracker.finish()
        raise DataError(_why(crew, tracker))


def _close_open_runs(
    store: Store, plan: FamilyPlan, open_runs: Collection[str], *, asked: bool
) -> None:
    """Mark what no worker will finish any more; taking a run over also locks its writer out."""
    table = store.table()
    # A worker may have been killed after it finished a run and before it said so.
    done = set(table["run_id"][table["status"] == "done"])
    for run_id in open_runs:
        if run_id not in done:
            writer = store.start_run(run_id, family=plan.spec.family)
            writer.finish("stopped" if asked else "failed")


def _why(crew: Crew, tracker: Tracker) -> str:
    again = "Run the same command again: finished runs are kept, the others go on."
    if tracker.errors:
        run_id, error = next(iter(tracker.errors.items()))
        return f"{len(tracker.errors)} runs failed; the first, {run_id!r}: {error}. {again}"
    return f"Training was given up: {'; '.join(crew.died)}. {again}"


def _outcomes(plan: FamilyPlan, table: pd.DataFrame) -> tuple[RunOutcome, ...]:
    rows = {row["run_id"]: row for row in table.to_dict("records")}
    return tuple(
        RunOutcome(
            run_id=run.run_id,
            status=rows[run.run_id]["status"],
            final_loss=float(rows[run.run_id]["final_eval_loss"]),
        )
        for run in plan.runs
    )
