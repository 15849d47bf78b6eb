"""Train with the workers of a Dask cluster: of this machine, at an address, or queued by SLURM.

The scheduler gives a job whose worker died to another one, which goes on from its checkpoint. Start
workers with one thread each, and where they compute on CUDA with one device each, for example with
dask-cuda or ``CUDA_VISIBLE_DEVICES=1 dask worker tcp://host:8786 --nthreads 1``. Over several
machines the store is a database, and its checkpoints lie in a folder that all of them reach.

For SLURM, ``~/.config/dask/jobqueue.yaml`` says what a job is given, as dask-jobqueue documents::

    jobqueue:
      slurm: {cores: 1, processes: 1, memory: 8GB, walltime: "04:00:00", queue: gpu,
              job_extra_directives: ["--gpus=1"]}
"""

from __future__ import annotations

import logging
import platform
import queue
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.errors import ArgumentError, DataError
from workbench.training.local import POLL_SECONDS, available_cores, deaf_children
from workbench.training.preflight import choose_device, find_gpus
from workbench.training.report import Assignment, Device, Job, Report, WantedDevice
from workbench.training.worker import perform, prepare_torch

SLURM = "slurm"
CONNECT_SECONDS = 10.0
WORKER_SECONDS = 60.0
"""A cluster without a worker for so long has none."""


@contextmanager
def dask_launcher(
    *, scheduler: str | None, processes: int | None, device: WantedDevice
) -> Iterator[DaskLauncher]:
    """Connect to a cluster, or start one; it is left, or ended, when the block ends.

    Parameters
    ----------
    scheduler : str or None
        Address such as ``tcp://host:8786``, or ``"slurm"``; None starts workers on this machine.
    processes : int or None
        Workers to start, where they are started here.
    device : {"auto", "cpu", "cuda"}
        Where they compute; ``auto`` is CUDA where every worker has it.

    Raises
    ------
    ArgumentError
        If Dask is not installed, or the choice cannot be.
    DataError
        If the scheduler cannot be reached, or has no workers.
    """
    distributed = _require("distributed", extra="dask")
    with ExitStack() as stack:
        target: Any = scheduler
        if scheduler is None:
            target = stack.enter_context(_own_cluster(distributed, processes, device))
        elif scheduler == SLURM:
            target = stack.enter_context(slurm_cluster(jobs=processes or 1))
        elif processes is not None:
            msg = f"processes {processes}: the cluster at {scheduler} has workers of its own."
            raise ArgumentError(msg)
        client = stack.enter_context(_connected(distributed, target))
        if scheduler != SLURM:
            _await_worker(client, scheduler)
        else:
            client.wait_for_workers(1)  # as long as the queue takes
        workers = max(processes or 1, sum(client.nthreads().values()))
        yield DaskLauncher(client, workers, *_devices(client, device))


def slurm_cluster(*, jobs: int, **settings: Any) -> Any:
    """Return a cluster whose workers SLURM starts; a context manager.

    Parameters
    ----------
    jobs : int
        Jobs to queue.
    **settings
        As for ``dask_jobqueue.SLURMCluster``; what is not given comes from its configuration.

    Raises
    ------
    ArgumentError
        If dask-jobqueue is not installed or not told what a job is given.
    """
    jobqueue = _require("dask_jobqueue", extra="cluster")
    from dask import config

    for name in ("cores", "memory"):
        if settings.get(name) is None and config.get(f"jobqueue.slurm.{name}", None) is None:
            msg = (
                f"SLURM is not told the {name} of a worker. Say so under jobqueue: slurm: in "
                "~/.config/dask/jobqueue.yaml."
            )
            raise ArgumentError(msg)
    cluster = jobqueue.SLURMCluster(**settings)
    cluster.scale(jobs=jobs)
    return cluster


@dataclass(frozen=True)
class DaskLauncher:
    """Trains with the workers of a cluster; made by `dask_launcher`.

    Parameters
    ----------
    client : distributed.Client
        Connected to its scheduler.
    workers : int
        How many jobs it trains at once.
    device : {"cpu", "cuda"}
        Where its workers compute.
    memory : int or None
        Of the smallest of their devices [bytes], where it is known.
    """

    client: Any
    workers: int
    device: Device
    memory: int | None

    def start(self, assignment: Assignment, jobs: Sequence[Job]) -> DaskCrew:
        """Submit the jobs.

        Raises
        ------
        ArgumentError
            If the workers cannot reach the store or the checkpoints.
        """
        assignment.checkpoints.mkdir(parents=True, exist_ok=True)
        seen = _ask(self.client, _probe, str(assignment.checkpoints))
        blind = next((name for name, (_, sees) in seen.items() if not sees), None)
        elsewhere = {host for host, _ in seen.values()} - {platform.node()}
        if assignment.store.url is None and elsewhere:
            msg = (
                f"The store {assignment.store} is in a folder, which only one machine may write; "
                f"there are workers on {', '.join(sorted(elsewhere))}. Use a store on PostgreSQL."
            )
            raise ArgumentError(msg)
        if blind is not None:
            msg = (
                f"Worker {blind} does not see the folder {assignment.checkpoints}. Name one that "
                "every worker reaches with --checkpoints FOLDER."
            )
            raise ArgumentError(msg)
        return DaskCrew(self.client, assignment, jobs)


class DaskCrew:
    """Jobs on a cluster; what they tell comes as events, how they ended as results."""

    def __init__(self, client: Any, assignment: Assignment, jobs: Sequence[Job]) -> None:
        from distributed import Event

        self.died: list[str] = []
        self._client = client
        self._topic = f"workbench-{uuid.uuid4().hex}"
        self._over = Event(self._topic, client=client)
        self._said: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        client.subscribe_topic(self._topic, lambda event: self._said.put(event[1]["report"]))
        self._futures = {
            client.submit(
                dask_job,
                assignment,
                job,
                self._topic,
                key=f"{assignment.spec.family}-{number}-{self._topic}",
                priority=len(jobs) - number,
                pure=False,
            )
            for number, job in enumerate(jobs)
        }

    @property
    def working(self) -> bool:
        """Whether any job is not over."""
        return bool(self._futures)

    def reports(self) -> list[Report]:
        """Return what came in; waits a moment when nothing has."""
        found: list[Report] = []
        with suppress(queue.Empty):
            found.append(Report(**self._said.get(timeout=POLL_SECONDS)))
            while True:
                found.append(Report(**self._said.get_nowait()))
        for future in [future for future in self._futures if future.done()]:
            self._futures.discard(future)
            if future.status == "finished":
                found += [Report(**said) for said in future.result()]
            elif future.status == "error":
                error = future.exception()
                self.died.append(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return found

    def stop(self) -> None:
        """Let every job write a checkpoint and end."""
        self._over.set()

    def terminate(self) -> None:
        """Give the jobs up; one that is running is locked out of its runs when they are closed."""
        self._client.cancel(list(self._futures), force=True)
        self._futures.clear()


def dask_job(assignment: Assignment, job: Job, topic: str) -> list[dict[str, Any]]:
    """Train a job on a worker.

    Parameters
    ----------
    assignment : Assignment
        What all jobs share.
    job : Job
        The runs.
    topic : str
        Of the events that tell of it, and name of the event that asks for an end.

    Returns
    -------
    list of dict
        The last `Report` of every run, should its event be lost.
    """
    from distributed import Event, get_worker

    worker, over = get_worker(), Event(topic)
    last: dict[str, dict[str, Any]] = {}

    def tell(report: Report) -> None:
        said = asdict(report)
        worker.log_event(topic, {"report": said})
        if report.status != "running":
            last[report.run_id] = said

    if not over.is_set():
        prepare_torch()
        if assignment.device == "cuda":
            _require_one_device()
        perform(assignment, job, tell=tell, halted=over.is_set)
    return list(last.values())


def _require_one_device() -> None:
    import torch

    count = torch.cuda.device_count()
    if count != 1:
        msg = (
            f"A worker sees {count} CUDA devices and should have one of its own: start one worker "
            "per device, with dask-cuda or CUDA_VISIBLE_DEVICES."
        )
        raise DataError(msg)


def _require(module: str, *, extra: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError:
        msg = (
            f"This launcher needs {module}, which is not installed: "
            f"pip install 'collapse-workbench[{extra}]'"
        )
        raise ArgumentError(msg) from None


@contextmanager
def _own_cluster(distributed: Any, processes: int | None, device: WantedDevice) -> Iterator[Any]:
    """Start workers on this machine, one thread each, and one device each."""
    chosen = choose_device(device)
    if chosen == "cpu":
        environments: list[dict[str, str]] = [{}] * (processes or available_cores())
    else:
        environments = [{"CUDA_VISIBLE_DEVICES": gpu.name} for gpu in find_gpus()[:processes]]
    workers = {
        number: {
            "cls": distributed.Nanny,
            "options": {"nthreads": 1, "env": environment, "silence_logs": logging.ERROR},
        }
        for number, environment in enumerate(environments)
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": ":0"},
    }
    # Threads inherit the mask: workers started anew later are deaf as well.
    with (
        deaf_children(),
        distributed.SpecCluster(
            workers=workers, scheduler=scheduler, silence_logs=logging.ERROR
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _connected(distributed: Any, target: Any) -> Iterator[Any]:
    try:
        client = distributed.Client(target, set_as_default=False, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        msg = (
            f"The Dask scheduler {target} cannot be reached: {error}. Look whether it runs: "
            "dask scheduler"
        )
        raise DataError(msg) from error
    with client:
        yield client


def _await_worker(client: Any, scheduler: str | None) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        msg = (
            f"The Dask scheduler {scheduler} has no workers. Start some: "
            f"dask worker {scheduler} --nthreads 1"
        )
        raise DataError(msg) from error


def _devices(client: Any, wanted: WantedDevice) -> tuple[Device, int | None]:
    """Return where the workers compute, and the memory of their smallest device."""
    if wanted == "cpu":
        return "cpu", None
    memories = [[gpu.memory for gpu in gpus] for gpus in _ask(client, find_gpus).values()]
    if memories and all(memories):
        return "cuda", min(min(each) for each in memories)
    if wanted == "cuda":
        msg = "device 'cuda' is not there: a worker of the cluster has no CUDA device."
        raise ArgumentError(msg)
    return "cpu", None


def _ask(client: Any, question: Callable[..., Any], *given: Any) -> dict[str, Any]:
    """Return the answer of every worker; `DataError` where one has not this workbench."""
    try:
        answers: dict[str, Any] = client.run(question, *given)
    except ModuleNotFoundError as error:
        msg = (
            f"A worker of the cluster cannot import {error.name}. Install the same "
            "collapse-workbench[train,dask] there."
        )
        raise DataError(msg) from error
    return answers


def _probe(folder: str) -> tuple[str, bool]:
    """Return the worker's machine and whether it sees a folder."""
    return platform.node(), Path(folder).is_dir()
