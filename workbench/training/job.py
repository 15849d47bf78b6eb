"""The job: claim runs, resume them, log them, look for stop decisions, finish; safe to do again.

Claiming locks out whoever wrote these runs before. A job goes on from the newest checkpoint that is
whole, of the same numbers, and not ahead of the store; what the store has beyond it is made again
and not written again. So a job that was killed anywhere, any number of times, leaves the curves
that an undisturbed one leaves, each step once.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from workbench.errors import CollapseWarning, DataError
from workbench.store import Store, open_store
from workbench.training.checkpoint import (
    Checkpoint,
    JobCheckpoints,
    Row,
    State,
    fingerprint,
    job_name,
    read_checkpoint,
)
from workbench.training.live import LiveRun
from workbench.training.plan import RunPlan
from workbench.training.report import Assignment, Device, Job, Report
from workbench.training.task import Task

if TYPE_CHECKING:
    from workbench.training.engine import RowBatch

FLUSH_SECONDS = 1.0
_WITHDRAWN = "withdrawn: "


def train_job(
    assignment: Assignment,
    job: Job,
    task: Task,
    *,
    tell: Callable[[Report], None],
    halted: Callable[[], bool],
) -> None:
    """Train the runs of a job that are not done yet.

    Parameters
    ----------
    assignment : Assignment
        What all jobs of the launch share.
    job : Job
        The runs.
    task : Task
        What they learn.
    tell : callable
        Gets a `Report` when a run is taken on, about once a second, and when it ends.
    halted : callable
        Asked once a second; true ends the job early, with a checkpoint and its runs stopped.
    """
    with (
        closing(open_store(assignment.store)) as store,
        _claimed(store, assignment, job, tell) as runs,
    ):
        worker = _Worker(assignment, job, task, store, halted)
        worker.obey(runs)
        waiting = [run for run in runs if run.open]
        while waiting and not worker.stopping:
            part = worker.train(waiting)
            waiting = [run for run in waiting if run.open and run not in part]
        if not worker.stopping:
            worker.checkpoints.clear()


@contextmanager
def _claimed(
    store: Store, assignment: Assignment, job: Job, tell: Callable[[Report], None]
) -> Iterator[list[LiveRun]]:
    """Take the runs over; when the block ends, whatever is unfinished is said to be so."""
    runs: list[LiveRun] = []
    try:
        for plan, fresh in _not_done(store, job, tell):
            writer = store.start_run(plan.run_id, family=assignment.spec.family, attributes=fresh)
            runs.append(LiveRun(plan, writer, tell))
        yield runs
    except Exception as error:
        # Whatever went wrong, these runs will not go on, and the launcher must hear why.
        for run in runs:
            run.fail(f"{type(error).__name__}: {error}")
        if not runs:
            raise
    else:
        for run in runs:
            if run.open:
                run.end("stopped")


def _not_done(
    store: Store, job: Job, tell: Callable[[Report], None]
) -> Iterator[tuple[RunPlan, dict[str, str] | None]]:
    """Yield the plans still to be trained, each with run coordinates to state anew."""
    known = {row["run_id"]: row for row in store.table().to_dict("records")}
    for plan in job.runs:
        row = known.get(plan.run_id, {})
        if row.get("status") == "done":  # finished by a worker that died before it said so
            tell(Report(plan.run_id, plan.total_steps, "done", resumed=plan.total_steps))
            continue
        yield plan, _withdrawn(row.get("stop_reason"))


def this_machine(device: Device) -> str:
    """Return what numbers follow from beside the plan: library and processor."""
    import torch

    cuda = device == "cuda"
    model = torch.cuda.get_device_name() if cuda else torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__} on {device} ({model})"


def _withdrawn(reason: object) -> dict[str, str] | None:
    """Return how a run says that it was to be stopped once and is trained on."""
    if not isinstance(reason, str) or not reason or reason.startswith(_WITHDRAWN):
        return None
    return {"stop_reason": f"{_WITHDRAWN}{reason}"}


class _Worker:
    """Trains parts of a job: the rows that go on from one checkpoint, or from the first step."""

    def __init__(
        self,
        assignment: Assignment,
        job: Job,
        task: Task,
        store: Store,
        halted: Callable[[], bool],
    ) -> None:
        self.assignment, self.job, self.task = assignment, job, task
        self._store, self._halted = store, halted
        self._marks = {run.run_id: fingerprint(assignment.spec, run) for run in job.runs}
        self.checkpoints = JobCheckpoints(assignment.checkpoints / job_name(self._marks.values()))
        self.checkpoints.tidy()
        self.stopping = False

    def train(self, waiting: Sequence[LiveRun]) -> list[LiveRun]:
        """Train those of the waiting runs that start from one point; return them."""
        from workbench.training.engine import RowBatch

        known = {run.plan.run_id: self._store.last_step(run.plan.run_id) or 0 for run in waiting}
        found, state = self._resumable(known)
        rows = {name: Row(self._marks[name], floor) for name, floor in known.items()}
        if found is not None:
            rows = {name: found.rows[name] for name in self._usable(found, known)}
        part = [run for run in waiting if run.plan.run_id in rows]
        spec = self.assignment.spec
        plans = [run.plan for run in part]
        batch = RowBatch(
            plans,
            self.task,
            optimizer=spec.optimizer,
            evaluation=spec.evaluation,
            compute=spec.compute,
            device=self.assignment.device,
        )
        if state:
            batch.restore(state)
        self.checkpoints.drop_after(batch.step)
        if found is None:
            self._save(batch, rows)
        for run in part:
            name = run.plan.run_id
            # What an attempt that was given up left in the store does not say how far this one got.
            trusted = known[name] > rows[name].floor
            run.go_on(batch.step, written=known[name] if trusted else batch.step)
        self._advance(batch, part, rows)
        return part

    def obey(self, runs: Sequence[LiveRun], batch: RowBatch | None = None) -> None:
        """End the runs that were decided to stop; the others do not notice."""
        open_runs = {run.plan.run_id: run for run in runs if run.open}
        for name, reason in self._store.stops.reasons(list(open_runs)).items():
            if batch is not None:
                batch.leave([name])
            open_runs[name].end("stopped", reason=reason)

    def _advance(self, batch: RowBatch, part: list[LiveRun], rows: dict[str, Row]) -> None:
        flushed = saved = time.monotonic()
        while batch.active:
            record = batch.advance()
            for row, run in enumerate(part):
                run.add(record, row)
            now = time.monotonic()
            due = self.assignment.pace.due(batch.step, now - saved)
            if not due and now - flushed < FLUSH_SECONDS:
                continue
            flushed = now
            for run in part:
                run.flush()
            self.obey(part, batch)
            self.stopping = self._halted()
            # After the flush: a checkpoint is never ahead of the store.
            if batch.active and (due or self.stopping):
                self._save(batch, rows)
                saved = now
            if self.stopping:
                return

    def _save(self, batch: RowBatch, rows: dict[str, Row]) -> None:
        state: State = batch.state() if batch.step else {}
        going = {name: rows[name] for name in batch.active}
        try:
            self.checkpoints.save(
                state, step=batch.step, rows=going, made_by=this_machine(self.assignment.device)
            )
        except DataError as error:
            warnings.warn(f"{error} Training goes on.", CollapseWarning, stacklevel=2)

    def _resumable(self, known: dict[str, int]) -> tuple[Checkpoint | None, State]:
        """Return the newest checkpoint that resumes any of the runs, with its numbers."""
        found = list(self.checkpoints.newest())
        if self.job.source is not None and self.job.source.exists():
            found.append(read_checkpoint(self.job.source))
        for checkpoint in sorted(found, key=lambda checkpoint: -checkpoint.step):
            if not self._usable(checkpoint, known):
                continue
            try:
                state = checkpoint.load()
            except DataError as error:
                warnings.warn(f"{error} An older one is used.", CollapseWarning, stacklevel=2)
                continue
            here = this_machine(self.assignment.device)
            if checkpoint.made_by != here:
                warnings.warn(
                    f"Checkpoint {checkpoint.path} was made by {checkpoint.made_by}, this is "
                    f"{here}: the runs go on, but perhaps not bit for bit.",
                    CollapseWarning,
                    stacklevel=2,
                )
            return checkpoint, state
        return None, {}

    def _usable(self, checkpoint: Checkpoint, known: dict[str, int]) -> list[str]:
        """Return the runs it resumes: the same numbers, and not ahead of the store."""
        return [
            name
            for name, last in known.items()
            if name in checkpoint.rows
            and checkpoint.rows[name].fingerprint == self._marks[name]
            and checkpoint.step <= last
        ]
