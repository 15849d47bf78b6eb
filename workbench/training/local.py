"""The processes of this machine as a crew: one torch thread each, one device each."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from workbench.training.report import Assignment, Device, Job, Report
from workbench.training.worker import work

POLL_SECONDS = 0.2
MOST_DEATHS = 3
"""A job that so many processes have died over is given up: it would end them for ever."""


@dataclass(frozen=True)
class LocalLauncher:
    """Trains with processes of this machine.

    Parameters
    ----------
    environments : sequence of mapping of str to str
        Variables of each process; their number is the number of processes.
    device : {"cpu", "cuda"}
        Where they compute.
    memory : int or None
        Of the smallest device [bytes], where it is known.
    """

    environments: Sequence[Mapping[str, str]]
    device: Device = "cpu"
    memory: int | None = None

    @property
    def workers(self) -> int:
        """Number of processes."""
        return len(self.environments)

    def start(self, assignment: Assignment, jobs: Sequence[Job]) -> LocalCrew:
        """Start the processes; they must be able to import the caller's main module."""
        return LocalCrew(assignment, jobs, self.environments)


@dataclass
class _Member:
    """A process, what it is at, and the environment that one in its place is given."""

    process: SpawnProcess
    environment: Mapping[str, str]
    job: Job | None = None


class LocalCrew:
    """Spawned processes, each with its own line: one that dies cannot block the others.

    A process that is killed is replaced, and its job goes on from its checkpoint.
    """

    def __init__(
        self,
        assignment: Assignment,
        jobs: Sequence[Job],
        environments: Sequence[Mapping[str, str]],
    ) -> None:
        self.died: list[str] = []
        self._assignment = assignment
        self._waiting = deque(jobs)
        self._members: dict[Connection, _Member] = {}
        self._deaths: Counter[str] = Counter()
        self._stopping = False
        for environment in environments[: len(jobs)]:
            self._hire(environment)

    @property
    def working(self) -> bool:
        """Whether any process is still there."""
        return bool(self._members)

    def reports(self) -> list[Report]:
        """Return what came in; waits a moment when nothing has."""
        found: list[Report] = []
        for ready in wait(list(self._members), timeout=POLL_SECONDS):
            assert isinstance(ready, Connection)
            try:
                said = ready.recv()
            except (EOFError, OSError):
                self._leave(ready)
                continue
            if said is None:
                self._occupy(ready)
            else:
                found.append(said)
        return found

    def stop(self) -> None:
        """Let every process write a checkpoint and end."""
        self._stopping = True
        for line in self._members:
            self._send(line, None)

    def terminate(self) -> None:
        """End the processes at once."""
        self._stopping = True
        for member in self._members.values():
            member.process.terminate()

    def _hire(self, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        own, other = context.Pipe()
        process = context.Process(
            target=work, args=(self._assignment, dict(environment), other), daemon=True
        )
        with deaf_children():
            process.start()
        other.close()
        self._members[own] = _Member(process, environment)

    def _occupy(self, line: Connection) -> None:
        """Give a free process its next job, or let it go."""
        member = self._members[line]
        member.job = self._waiting.popleft() if self._waiting and not self._stopping else None
        self._send(line, member.job)

    def _leave(self, line: Connection) -> None:
        member = self._members.pop(line)
        member.process.join()
        line.close()
        code, lost = member.process.exitcode, member.job
        if not code or self._stopping or (lost is None and not self._waiting):
            return
        over = "" if lost is None else lost.runs[0].run_id
        self._deaths[over] += 1
        given_up = self._deaths[over] >= MOST_DEATHS
        if given_up:
            self.died.append(
                f"{MOST_DEATHS} processes ended before their work was done, the last with exit "
                f"code {code} (a negative code is the signal that killed it, often for lack of "
                "memory)"
            )
        elif lost is not None:
            self._waiting.appendleft(lost)
        if self._waiting and not (given_up and lost is None):
            self._hire(member.environment)

    def _send(self, line: Connection, what: Job | None) -> None:
        with suppress(OSError):  # a process that has just died is noticed by its silence
            line.send(what)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Start children deaf to Ctrl-C: it reaches the whole group, but only this process decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it lifts the mask when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
