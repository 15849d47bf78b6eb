"""Choose who trains: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import get_args

from workbench.errors import ArgumentError
from workbench.training.local import LocalLauncher, available_cores
from workbench.training.preflight import choose_device, find_gpus, machine_memory
from workbench.training.report import Device, Launcher, LauncherName, WantedDevice


def open_launcher(
    name: LauncherName,
    *,
    scheduler: str | None,
    processes: int | None,
    device: WantedDevice,
) -> AbstractContextManager[Launcher]:
    """Return a launcher that gives back what it has opened when its block ends.

    Parameters
    ----------
    name : {"local", "dask"}
        Which.
    scheduler : str or None
        For ``"dask"``; see `workbench.training.train_family`.
    processes : int or None
        Workers to start; by default one per core, or per CUDA device.
    device : {"auto", "cpu", "cuda"}
        Where they compute.

    Raises
    ------
    ArgumentError
        If the choice cannot be.
    """
    if processes is not None and processes < 1:
        msg = f"processes must be at least 1, found {processes}."
        raise ArgumentError(msg)
    if name not in get_args(LauncherName):
        msg = f"launcher must be local or dask, found {name!r}."
        raise ArgumentError(msg)
    if name == "local":
        if scheduler is not None:
            msg = f"scheduler {scheduler!r} is for --launcher dask; the local one has none."
            raise ArgumentError(msg)
        return nullcontext(local_launcher(processes, choose_device(device)))
    from workbench.training.dask_launcher import dask_launcher

    return dask_launcher(scheduler=scheduler, processes=processes, device=device)


def local_launcher(processes: int | None, device: Device) -> LocalLauncher:
    """Return a launcher of processes on this machine, each with a device of its own.

    Raises
    ------
    ArgumentError
        If there are fewer devices than processes.
    """
    if device == "cpu":
        count = processes or available_cores()
        return LocalLauncher(({},) * count, device, machine_memory())
    gpus = find_gpus()
    if processes is not None and processes > len(gpus):
        msg = (
            f"processes {processes} is more than the {len(gpus)} CUDA devices of this machine: a "
            "worker has one of its own. Leave processes away."
        )
        raise ArgumentError(msg)
    used = gpus[:processes]
    environments = tuple({"CUDA_VISIBLE_DEVICES": gpu.name} for gpu in used)
    return LocalLauncher(environments, device, min(gpu.memory for gpu in used))
