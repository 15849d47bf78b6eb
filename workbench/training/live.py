"""One run being written: its points wait for about a second, then go to the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workbench.store.writer import EndStatus, RunWriter
from workbench.training.plan import RunPlan
from workbench.training.report import Report

if TYPE_CHECKING:
    from workbench.training.engine import StepRecord

COLUMNS = {
    "train_loss": "train_loss",
    "eval_loss": "eval_loss",
    "grad_norm": "gradient_norm",
    "noise_trace": "noise_trace",
}
"""Names in the store, and in a step's record."""


@dataclass
class LiveRun:
    """Takes the records of a run and hands them to the store.

    Parameters
    ----------
    plan : RunPlan
        The run.
    writer : RunWriter
        From ``Store.start_run``.
    tell : callable
        Gets a `Report` whenever points have been written, and at the end.
    """

    plan: RunPlan
    writer: RunWriter
    tell: Callable[[Report], None]
    open: bool = True
    steps: int = 0
    _written: int = 0
    _waiting: list[tuple[int, list[float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._learning_rate = self.plan.peak_lr * self.plan.factors()

    def go_on(self, step: int, *, written: int) -> None:
        """Say where the run begins.

        Parameters
        ----------
        step : int
            Of the checkpoint it goes on from; 0 without one.
        written : int
            Points up to this step are in the store already, and are not written again.
        """
        self.steps, self._written = step, written
        self.tell(Report(self.plan.run_id, step, "running", resumed=step))

    def add(self, record: StepRecord, row: int) -> None:
        """Take the run's part of a step; at its last step the run ends."""
        if not self.open:
            return
        self.steps = record.step
        if record.step > self._written:
            values = [float(getattr(record, name)[row]) for name in COLUMNS.values()]
            self._waiting.append((record.step, values))
        if record.step == self.plan.total_steps:
            end = float(record.eval_loss[row])
            if np.isfinite(end):
                self.end("done")
            else:
                self.fail(f"the loss at the end is {end}: the run diverged")

    def flush(self) -> None:
        """Hand the waiting points to the store, or a sign of life, and tell the launcher.

        Raises
        ------
        DataError
            If another process has taken over the run.
        """
        if not self.open:
            return
        if self._waiting:
            self._append()
        else:
            self.writer.heartbeat()
        self.tell(Report(self.plan.run_id, self.steps, "running"))

    def end(self, status: EndStatus, error: str = "", *, reason: str | None = None) -> None:
        """Write what waits, end the run in the store and tell the launcher."""
        if self._waiting:
            self._append()
        if reason is not None:
            self.writer.describe({"stop_reason": reason})
        self.writer.finish(status)
        self.open = False
        self.tell(Report(self.plan.run_id, self.steps, status, error=error))

    def fail(self, error: str) -> None:
        """End as failed; if even that cannot be written, the launcher still hears of it."""
        if not self.open:
            return
        try:
            self.end("failed", error)
        except Exception as second:
            self.open = False
            what = f"{error}; and the store did not take the end of the run: {second}"
            self.tell(Report(self.plan.run_id, self.steps, "failed", error=what))

    def _append(self) -> None:
        step = np.array([step for step, _ in self._waiting])
        values = np.array([values for _, values in self._waiting]).T
        columns = zip(COLUMNS, values, strict=True)
        logged = {name: column for name, column in columns if not np.isnan(column).all()}
        self.writer.append(
            step=step,
            tokens=step * self.plan.batch_size,
            learning_rate=self._learning_rate[step - 1],
            **logged,
        )
        self._written = int(step[-1])
        self._waiting.clear()
