"""What a training process does: take a job, train it, ask for the next; ends with its launcher.

Importing this module must not load torch: the environment it reads is set first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from functools import lru_cache
from multiprocessing.connection import Connection

from workbench.training.job import train_job
from workbench.training.report import Assignment, Job, Report
from workbench.training.spec import FamilySpec
from workbench.training.task import Task
from workbench.training.tasks import build_task


def work(assignment: Assignment, environment: Mapping[str, str], line: Connection) -> None:
    """Train the jobs that come over the line until None comes or the line is cut.

    Parameters
    ----------
    assignment : Assignment
        What all jobs share.
    environment : mapping of str to str
        Variables of this process alone, such as the device it may see.
    line : Connection
        To the launcher: `Report` and, whenever this process is free, None go out; `Job` or None
        come in. Nothing is shared that a killed process could leave locked.
    """
    # Ctrl-C reaches the whole process group; the launcher alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    prepare_torch()
    if hasattr(os, "nice"):
        os.nice(5)  # a page being opened goes first
    launcher = _Line(line)
    while (job := launcher.next_job()) is not None:
        perform(assignment, job, tell=launcher.tell, halted=launcher.halted)


def perform(
    assignment: Assignment,
    job: Job,
    *,
    tell: Callable[[Report], None],
    halted: Callable[[], bool],
) -> None:
    """Train a job; whatever goes wrong is told of its runs, and raises nothing."""
    try:
        task = assignment.task or task_of(assignment.spec)
        train_job(assignment, job, task, tell=tell, halted=halted)
    except Exception as error:
        for run in job.runs:
            tell(Report(run.run_id, 0, "failed", error=f"{type(error).__name__}: {error}"))


def prepare_torch() -> None:
    """Load torch so that it leaves the other cores to the other workers."""
    # The workers share the cores with the dashboard that draws them: a waiting thread must sleep,
    # not spin.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(1)


@lru_cache(maxsize=1)
def task_of(spec: FamilySpec) -> Task:
    """Return the task of a family; making one takes seconds, and every job asks for it."""
    return build_task(spec)


class _Line:
    """The worker's end of the line to its launcher."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._over = False

    def next_job(self) -> Job | None:
        """Say that this process is free, and wait for a job; None when there is no more."""
        if self._over:
            return None
        try:
            self._line.send(None)
            job: Job | None = self._line.recv()
        except (EOFError, OSError):
            return None
        return job

    def tell(self, report: Report) -> None:
        """Send a report; a launcher that is gone has no use for it."""
        try:
            self._line.send(report)
        except OSError:
            self._over = True

    def halted(self) -> bool:
        """Tell whether the launcher wants an end, or is gone."""
        try:
            if self._line.poll():
                self._line.recv()
                self._over = True
        except (EOFError, OSError):
            self._over = True
        return self._over
