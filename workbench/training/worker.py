"""What a training process does: take the next job, train its rows, write their curves live.

Importing this module must not load torch: the environment it reads is set first.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Literal

import numpy as np

from workbench.store import Address, open_store
from workbench.store.writer import EndStatus, RunWriter
from workbench.training.plan import RunPlan
from workbench.training.spec import FamilySpec
from workbench.training.task import Task
from workbench.training.tasks import build_task

if TYPE_CHECKING:
    from workbench.training.engine import StepRecord

FLUSH_SECONDS = 1.0


@dataclass(frozen=True)
class Assignment:
    """What every process of a launch is given.

    Parameters
    ----------
    spec : FamilySpec
        The family.
    store : Address
        Where the store is opened; what it prints as holds no password.
    jobs : tuple of tuple of RunPlan
        Runs that train as rows of one batch, costliest job first.
    """

    spec: FamilySpec
    store: Address
    jobs: tuple[tuple[RunPlan, ...], ...]


@dataclass(frozen=True)
class Report:
    """What a process tells the launcher about one run.

    Parameters
    ----------
    run_id : str
        Which.
    steps : int
        Steps made so far.
    status : {"running", "done", "stopped", "failed"}
        Where it stands.
    final_loss : float, nats/token
        Held-out loss at the end; NaN before.
    error : str
        Why it failed, if it did.
    """

    run_id: str
    steps: int
    status: Literal["running", "done", "stopped", "failed"]
    final_loss: float = float("nan")
    error: str = ""


def work(
    assignment: Assignment, next_job: Synchronized[int], stop: Event, reports: Connection
) -> None:
    """Train jobs until none is left or `stop` is set; the body of a spawned process.

    Parameters
    ----------
    assignment : Assignment
        Jobs and where to write.
    next_job : Synchronized of int
        Counter that all processes draw from.
    stop : Event
        Set by the launcher to end early; unfinished runs are then marked stopped.
    reports : Connection
        Where `Report` goes.
    """
    # Ctrl-C reaches the whole process group; the launcher alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The processes share the cores with the dashboard that draws them: a waiting thread must
    # sleep, not spin.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch

    torch.set_num_threads(1)
    task = build_task(assignment.spec)
    if hasattr(os, "nice"):
        os.nice(5)  # a page being opened goes first
    while not stop.is_set():
        with next_job.get_lock():
            number = next_job.value
            next_job.value += 1
        if number >= len(assignment.jobs):
            return
        _train_job(assignment, assignment.jobs[number], task, stop, reports)


def _train_job(
    assignment: Assignment,
    plans: tuple[RunPlan, ...],
    task: Task,
    stop: Event,
    reports: Connection,
) -> None:
    from workbench.training.engine import train_rows

    spec = assignment.spec
    with _live_runs(assignment, plans, reports) as runs:
        flushed = time.monotonic()
        records = train_rows(
            plans,
            task,
            optimizer=spec.optimizer,
            evaluation=spec.evaluation,
            compute=spec.compute,
        )
        for record in records:
            for row, run in enumerate(runs):
                run.add(record, row)
            if time.monotonic() - flushed >= FLUSH_SECONDS:
                for run in runs:
                    run.flush()
                if stop.is_set() or _orphaned():
                    return
                flushed = time.monotonic()


def _orphaned() -> bool:
    parent = parent_process()
    return parent is not None and not parent.is_alive()


@contextmanager
def _live_runs(
    assignment: Assignment, plans: tuple[RunPlan, ...], reports: Connection
) -> Iterator[list[_LiveRun]]:
    """Open the runs in the store; when the block ends, whatever is unfinished is said to be so."""
    store = open_store(assignment.store)
    runs: list[_LiveRun] = []
    try:
        for plan in plans:
            writer = store.start_run(plan.run_id, family=assignment.spec.family)
            runs.append(_LiveRun(plan, writer, reports))
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
    finally:
        store.close()


@dataclass
class _LiveRun:
    """One run being written: points wait here for about a second, then go to the store."""

    plan: RunPlan
    writer: RunWriter
    reports: Connection
    open: bool = True
    _steps: int = 0
    _waiting: list[tuple[int, float, float]] = field(default_factory=list)
    _eval_loss: float = float("nan")

    def __post_init__(self) -> None:
        self._learning_rate = self.plan.peak_lr * self.plan.factors()

    def add(self, record: StepRecord, row: int) -> None:
        """Take the run's part of a step; at its last step the run ends."""
        if not self.open:
            return
        eval_loss = float(record.eval_loss[row])
        self._waiting.append((record.step, float(record.train_loss[row]), eval_loss))
        self._steps = record.step
        if not np.isnan(eval_loss):
            self._eval_loss = eval_loss
        if record.step == self.plan.total_steps:
            if np.isfinite(eval_loss):
                self.end("done")
            else:
                self.fail(f"the loss at the end is {eval_loss}: the run diverged")

    def flush(self) -> None:
        """Hand the waiting points to the store and tell the launcher."""
        if self.open and self._waiting:
            self._append()
            self.reports.send(Report(self.plan.run_id, self._steps, "running"))

    def end(self, status: EndStatus, error: str = "") -> None:
        """Write what waits, end the run in the store and tell the launcher."""
        if self._waiting:
            self._append()
        self.writer.finish(status)
        self.open = False
        self.reports.send(Report(self.plan.run_id, self._steps, status, self._eval_loss, error))

    def fail(self, error: str) -> None:
        """End as failed; if even that cannot be written, the launcher still hears of it."""
        if not self.open:
            return
        try:
            self.end("failed", error)
        except Exception as second:
            self.open = False
            what = f"{error}; and the store did not take the end of the run: {second}"
            self.reports.send(Report(self.plan.run_id, self._steps, "failed", error=what))

    def _append(self) -> None:
        step, train_loss, eval_loss = (
            np.array(column) for column in zip(*self._waiting, strict=True)
        )
        self.writer.append(
            step=step,
            tokens=step * self.plan.batch_size,
            train_loss=train_loss,
            eval_loss=eval_loss,
            learning_rate=self._learning_rate[step - 1],
        )
        self._waiting.clear()
