"""How far a family is: a bar with the time left, and the same as events for a dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.training.bars import TICK_SECONDS, open_bar
from workbench.training.plan import FamilyPlan, RunPlan
from workbench.training.report import Report


@dataclass(frozen=True)
class TrainEvent:
    """Where a family stands.

    Parameters
    ----------
    kind : {"started", "progress", "run", "finished"}
        ``run`` says that one run has ended, named by `run_id` with its `status`.
    family : str
        Name in the store.
    share : float
        Share of this call's work that is made, in [0, 1].
    runs_done, runs_total : int
        Runs of the family, those done before included.
    seconds : float
        Since the call.
    seconds_left : float or None
        Estimate; None until there is something to estimate from.
    run_id, status : str or None
        For ``run`` events.
    """

    kind: Literal["started", "progress", "run", "finished"]
    family: str
    share: float
    runs_done: int
    runs_total: int
    seconds: float
    seconds_left: float | None = None
    run_id: str | None = None
    status: str | None = None


class Tracker:
    """Adds up what the processes report.

    Parameters
    ----------
    plan : FamilyPlan
        The whole family.
    todo : sequence of RunPlan
        What this call trains.
    started : float
        ``time.monotonic()`` of the call.
    show : bool
        Draw a bar.
    on_event : callable, optional
        Gets a `TrainEvent`.
    """

    def __init__(
        self,
        plan: FamilyPlan,
        todo: Sequence[RunPlan],
        *,
        started: float,
        show: bool,
        on_event: Callable[[TrainEvent], None] | None,
    ) -> None:
        self._family, self._total = plan.spec.family, len(plan.runs)
        self._plans = {run.run_id: run for run in todo}
        self._steps = dict.fromkeys(self._plans, 0)
        self._resumed: dict[str, int] = {}
        self.open_runs = dict.fromkeys(self._plans)
        self.errors: dict[str, str] = {}
        self._done = self._total - len(todo)
        self._started, self._on_event = started, on_event
        self._ticked = started
        self._bar = open_bar(f"Training {self._family}", show=show and bool(todo))
        self._drawn = started
        self._emit("started")

    @property
    def steps_made(self) -> int:
        """Steps of all runs made by this call, without those that checkpoints had."""
        return sum(self._steps.values()) - sum(self._resumed.values())

    @property
    def share(self) -> float:
        """Share of the work made, weighted by what a step of each run costs."""
        return self._share(self._steps)

    def _share(self, steps: Mapping[str, int]) -> float:
        total = sum(run.cost for run in self._plans.values())
        made = sum(
            run.cost * steps[run_id] / run.total_steps for run_id, run in self._plans.items()
        )
        return made / total if total else 1.0

    def take(self, report: Report) -> None:
        """Take the report of a job."""
        if report.run_id not in self.open_runs:  # told again by a worker that took a job over
            return
        if report.resumed is not None:
            # A job that is taken over by another worker was resumed where it was first.
            self._resumed.setdefault(report.run_id, report.resumed)
        self._steps[report.run_id] = max(report.steps, self._steps[report.run_id])
        if report.status == "running":
            return
        self.open_runs.pop(report.run_id)
        self._done += report.status == "done"
        if report.error:
            self.errors[report.run_id] = report.error
        self._emit("run", run_id=report.run_id, status=report.status)

    def tick(self) -> None:
        """Refresh the bar and tell the listener, about twice a second."""
        now = time.monotonic()
        if now - self._ticked >= TICK_SECONDS:
            self._ticked = now
            if now - self._drawn >= self._bar.seconds:
                self._drawn = now
                self._draw()
            self._emit("progress")

    def finish(self) -> None:
        """Close the bar and tell the listener."""
        self._draw()
        self._bar.close()
        self._emit("finished")

    def seconds_left(self) -> float | None:
        """Return an estimate, from the pace of the whole call; None before the first steps."""
        share = self.share
        made = share - self._share(dict.fromkeys(self._plans, 0) | self._resumed)
        if made <= 0:
            return None
        return (time.monotonic() - self._started) * (1 - share) / made

    def _draw(self) -> None:
        left = self.seconds_left()
        time_left = "" if left is None else f", {left:.0f} s left"
        self._bar.draw(self.share, f"{self._done}/{self._total} runs{time_left}")

    def _emit(
        self,
        kind: Literal["started", "progress", "run", "finished"],
        *,
        run_id: str | None = None,
        status: str | None = None,
    ) -> None:
        if self._on_event is None:
            return
        event = TrainEvent(
            kind=kind,
            family=self._family,
            share=self.share,
            runs_done=self._done,
            runs_total=self._total,
            seconds=time.monotonic() - self._started,
            seconds_left=self.seconds_left(),
            run_id=run_id,
            status=status,
        )
        self._on_event(event)
