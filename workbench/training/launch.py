"""Train a family with the processes of this machine, one torch thread each."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd

from workbench.errors import ArgumentError, DataError
from workbench.store import Address, Store, open_store
from workbench.training.plan import CHUNK_TOKENS, FamilyPlan, RunPlan, plan_family
from workbench.training.progress import Tracker, TrainEvent
from workbench.training.spec import FamilySpec, parse_spec
from workbench.training.tasks import build_task
from workbench.training.worker import Assignment, Report, work

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 10.0
"""After Ctrl-C processes end by themselves within this time, or are ended."""


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
    processes: int | None = None,
    resume: bool = True,
    progress: bool = True,
    on_event: Callable[[TrainEvent], None] | None = None,
    stop: threading.Event | None = None,
) -> TrainResult:
    """Train the runs of a family that are not done yet, writing them live into a store.

    Processes are spawned, so a script must call this under ``if __name__ == "__main__":``.

    Parameters
    ----------
    spec : FamilySpec
        From `load_spec`.
    store_path : path, str or Address
        Folder or URL of the store; made when it is missing.
    family : str, optional
        Name in the store, instead of the spec's own.
    processes : int, optional
        Training processes; by default one per core this process may use.
    resume : bool
        Go on with a family that the store knows: runs that are done are kept, the others start
        again from their first step. False raises when the store has any of the runs.
    progress : bool
        Show a progress bar with the time left on stderr.
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
        If the spec cannot be planned, `processes` is below 1, torch is not installed, or
        ``resume=False`` and the store has runs of this name.
    DataError
        If the store holds runs of the same name with other settings, or a process died.
    KeyboardInterrupt
        On Ctrl-C, after the processes have stopped and unfinished runs are marked stopped.
    """
    started = time.monotonic()
    if family is not None:
        spec = parse_spec(spec.model_dump() | {"family": family})
    plan = plan_family(spec)
    _check_call(processes)
    with closing(open_store(store_path, create=True)) as store:
        todo = _unfinished(plan, store.table(), resume=resume)
        tracker = Tracker(plan, todo, started=started, show=progress, on_event=on_event)
        if todo:
            _register(store, plan, todo)
            _run_processes(store, plan, todo, tracker, processes, stop or threading.Event())
            store.consolidate()
        outcomes = _outcomes(plan, store.table())
    seconds = time.monotonic() - started
    tracker.finish()
    return TrainResult(spec.family, outcomes, tracker.steps_made / seconds, seconds)


def jobs_of(runs: Sequence[RunPlan], *, processes: int) -> tuple[tuple[RunPlan, ...], ...]:
    """Group runs into jobs: rows of one batch, as many as stay in the cache, costliest job first.

    A group is split further when there would be fewer jobs than processes.
    """
    groups: dict[tuple[object, ...], list[RunPlan]] = {}
    for run in runs:
        groups.setdefault(run.batch_key, []).append(run)
    jobs: list[tuple[RunPlan, ...]] = []
    for members in groups.values():
        fitting = max(1, CHUNK_TOKENS // members[0].batch_size)
        rows = min(fitting, math.ceil(len(members) / processes))
        jobs += [tuple(members[i : i + rows]) for i in range(0, len(members), rows)]
    return tuple(sorted(jobs, key=lambda job: -sum(run.cost for run in job)))


def _check_call(processes: int | None) -> None:
    if processes is not None and processes < 1:
        msg = f"processes must be at least 1, found {processes}."
        raise ArgumentError(msg)
    if find_spec("torch") is None:
        msg = (
            "Training needs torch, which is not installed: pip install 'collapse-workbench[train]'"
        )
        raise ArgumentError(msg)


def _unfinished(plan: FamilyPlan, table: pd.DataFrame, *, resume: bool) -> list[RunPlan]:
    known = {row["run_id"]: row for row in table.to_dict("records")}
    present = [run for run in plan.runs if run.run_id in known]
    if present and not resume:
        msg = (
            f"The store already has {len(present)} runs of family {plan.spec.family!r}. Resume "
            "them, or choose another family name."
        )
        raise ArgumentError(msg)
    for run in present:
        _check_same(run, known[run.run_id])
    done = {run_id for run_id, row in known.items() if row["status"] == "done"}
    return [run for run in plan.runs if run.run_id not in done]


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


def _register(store: Store, plan: FamilyPlan, todo: Sequence[RunPlan]) -> None:
    """Say in the store which runs will come, so that they are seen before they start."""
    entropy = build_task(plan.spec).entropy
    known_loss = {"irreducible_loss": entropy} if math.isfinite(entropy) else {}
    known = set(store.table()["run_id"])
    for run in todo:
        if run.run_id not in known:
            attributes = run.coordinates() | known_loss
            store.plan_run(run.run_id, family=plan.spec.family, attributes=attributes)


def _run_processes(
    store: Store,
    plan: FamilyPlan,
    todo: Sequence[RunPlan],
    tracker: Tracker,
    processes: int | None,
    stop: threading.Event,
) -> None:
    count = min(processes or available_cores(), len(todo))
    assignment = Assignment(plan.spec, store.address, jobs_of(todo, processes=count))
    crew = _Crew(assignment, count)
    interrupted = False
    patience = math.inf
    while crew.working:
        try:
            if stop.is_set():
                crew.stop.set()
            if time.monotonic() > patience:
                crew.terminate()
            for report in crew.reports():
                tracker.take(report)
            tracker.tick()
        except KeyboardInterrupt:
            if interrupted:
                crew.terminate()
            interrupted = True
            patience = time.monotonic() + _PATIENCE_SECONDS
            crew.stop.set()
        except BaseException:
            # A listener that raises must not leave processes training behind its back.
            crew.terminate()
            raise
    _close_open_runs(store, plan, tracker, asked=interrupted or stop.is_set())
    if interrupted:
        tracker.finish()
        raise KeyboardInterrupt
    if crew.died or tracker.errors:
        tracker.finish()
        raise DataError(_why(crew, tracker))


def _close_open_runs(store: Store, plan: FamilyPlan, tracker: Tracker, *, asked: bool) -> None:
    """Mark what no process will finish any more; taking a run over also locks its writer out."""
    table = store.table()
    # A process may have been killed after it finished a run and before it said so.
    done = set(table["run_id"][table["status"] == "done"])
    for run_id in tracker.open_runs:
        if run_id not in done:
            writer = store.start_run(run_id, family=plan.spec.family)
            writer.finish("stopped" if asked else "failed")


def _why(crew: _Crew, tracker: Tracker) -> str:
    again = "Run the same command again: finished runs are kept."
    if tracker.errors:
        run_id, error = next(iter(tracker.errors.items()))
        return f"{len(tracker.errors)} runs failed; the first, {run_id!r}: {error}. {again}"
    codes = ", ".join(map(str, crew.died))
    return (
        f"A training process ended before its work was done (exit code {codes}; a negative code is "
        f"the signal that killed it, often for lack of memory). {again}"
    )


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


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start children deaf to Ctrl-C: it reaches the whole group, but only this process decides."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Crew:
    """The spawned processes: each has its own pipe, so one that dies cannot block the others."""

    def __init__(self, assignment: Assignment, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.stop = context.Event()
        # Kept here: the processes open it by name while they start.
        self._next_job = context.Value("q", 0)
        self.died: list[int] = []
        self._members: dict[Connection, SpawnProcess] = {}
        with _without_interrupts():
            for number in range(count):
                self._start(context, assignment, number)

    def _start(self, context: SpawnContext, assignment: Assignment, number: int) -> None:
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(
            target=work,
            args=(assignment, self._next_job, self.stop, writer),
            name=f"train-{number}",
            daemon=True,
        )
        process.start()
        writer.close()
        self._members[reader] = process

    @property
    def working(self) -> bool:
        """Whether any process is still there."""
        return bool(self._members)

    def reports(self) -> list[Report]:
        """Return what came in; waits a moment when nothing has."""
        found: list[Report] = []
        for ready in wait(list(self._members), timeout=_POLL_SECONDS):
            assert isinstance(ready, Connection)
            try:
                found.append(ready.recv())
            except EOFError:
                self._leave(ready)
        return found

    def terminate(self) -> None:
        """End the processes at once."""
        for process in self._members.values():
            process.terminate()

    def _leave(self, reader: Connection) -> None:
        process = self._members.pop(reader)
        process.join()
        reader.close()
        if process.exitcode:
            self.died.append(process.exitcode)
