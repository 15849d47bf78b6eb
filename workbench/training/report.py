"""What launchers, jobs and the progress bar say to one another; free of torch and of Dask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from workbench.errors import ArgumentError
from workbench.store import Address
from workbench.training.plan import RunPlan
from workbench.training.spec import FamilySpec
from workbench.training.task import Task

Device = Literal["cpu", "cuda"]
WantedDevice = Literal["auto", "cpu", "cuda"]
LauncherName = Literal["local", "dask"]


@dataclass(frozen=True)
class Pace:
    """When a checkpoint is due.

    Parameters
    ----------
    seconds : float or None
        After so many seconds since the last one.
    steps : int or None
        After every so many steps of the batch.

    Raises
    ------
    ArgumentError
        If there were less than no seconds or less than one step between them.
    """

    seconds: float | None = 30.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and not self.seconds >= 0:
            msg = f"checkpoint seconds must not be negative, found {self.seconds!r}."
            raise ArgumentError(msg)
        if self.steps is not None and self.steps < 1:
            msg = f"checkpoint steps must be at least 1, found {self.steps!r}."
            raise ArgumentError(msg)

    def due(self, step: int, seconds: float) -> bool:
        """Tell whether one is due at a step, so many seconds after the last."""
        timed = self.seconds is not None and seconds >= self.seconds
        return timed or (self.steps is not None and step % self.steps == 0)


@dataclass(frozen=True)
class Assignment:
    """What every worker of a launch is given.

    Parameters
    ----------
    spec : FamilySpec
        The family.
    store : Address
        Where the store is opened; what it prints as holds no password.
    checkpoints : Path
        Folder of this family's checkpoints, which every worker reaches.
    pace : Pace
        When they are written.
    device : {"cpu", "cuda"}
        Where a worker computes; of several CUDA devices it sees its own only.
    task : Task or None
        A task of the user; None for the one that the spec names.
    """

    spec: FamilySpec
    store: Address
    checkpoints: Path
    pace: Pace = field(default_factory=Pace)
    device: Device = "cpu"
    task: Task | None = None


@dataclass(frozen=True)
class Job:
    """Runs that train as rows of one batch.

    Parameters
    ----------
    runs : tuple of RunPlan
        The rows.
    source : Path or None
        A checkpoint of another job that these runs can go on from.
    """

    runs: tuple[RunPlan, ...]
    source: Path | None = None

    @property
    def cost(self) -> float:
        """Time it takes from the first step, in arbitrary units."""
        return sum(run.cost for run in self.runs)


@dataclass(frozen=True)
class Report:
    """What a job tells the launcher about one run.

    Parameters
    ----------
    run_id : str
        Which.
    steps : int
        Steps made so far.
    status : {"running", "done", "stopped", "failed"}
        Where it stands.
    resumed : int or None
        Where a job took the run on, that the steps before it are not counted as made now.
    error : str
        Why it failed, if it did.
    """

    run_id: str
    steps: int
    status: Literal["running", "done", "stopped", "failed"]
    resumed: int | None = None
    error: str = ""


class Crew(Protocol):
    """Workers that train the jobs they were started with; what a launcher makes."""

    @property
    def working(self) -> bool:
        """Whether there is anything left to wait for."""

    def reports(self) -> Sequence[Report]:
        """Return what came in; waits a moment when nothing has."""

    def stop(self) -> None:
        """Ask the jobs to write a checkpoint and end, and begin no other."""

    def terminate(self) -> None:
        """End the jobs at once."""

    @property
    def died(self) -> Sequence[str]:
        """Why jobs were given up, one sentence each."""


class Launcher(Protocol):
    """A place where jobs can be trained."""

    @property
    def workers(self) -> int:
        """How many jobs it trains at once."""

    @property
    def device(self) -> Device:
        """Where its workers compute."""

    @property
    def memory(self) -> int | None:
        """Of the smallest of their devices [bytes]; None when it is not known."""

    def start(self, assignment: Assignment, jobs: Sequence[Job]) -> Crew:
        """Start training `jobs`, costliest first."""
