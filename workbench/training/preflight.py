"""What must hold before anything trains: a device, room in its memory, room on the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from workbench.errors import ArgumentError
from workbench.training.checkpoint import KEPT
from workbench.training.plan import RunPlan
from workbench.training.report import Device, Job, WantedDevice

BYTES_PER_PARAMETER = 24
"""Weights, two moments, gradient and what an update holds beside them, in float32."""

BYTES_PER_POINT = 100
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_ASK = (
    "import json, torch; n = torch.cuda.device_count(); "
    "print(json.dumps([torch.cuda.get_device_properties(i).total_memory for i in range(n)]))"
)


@dataclass(frozen=True)
class Gpu:
    """A CUDA device that this process may use.

    Parameters
    ----------
    name : str
        How ``CUDA_VISIBLE_DEVICES`` calls it.
    memory : int
        In bytes.
    """

    name: str
    memory: int


def require_torch() -> None:
    """Raise `ArgumentError` unless what training needs is installed."""
    for name in ("torch", "safetensors"):
        if find_spec(name) is None:
            msg = (
                f"Training needs {name}, which is not installed: "
                "pip install 'collapse-workbench[train]'"
            )
            raise ArgumentError(msg)


@lru_cache(maxsize=1)
def find_gpus() -> tuple[Gpu, ...]:
    """Return the CUDA devices there are; asked in another process, which frees them again."""
    if shutil.which("nvidia-smi") is None and not Path("/dev/nvidiactl").exists():
        return ()
    asked = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, check=False
    )
    memories: list[int] = json.loads(asked.stdout) if asked.returncode == 0 else []
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(len(memories))) if stated is None else stated.split(",")
    return tuple(Gpu(name.strip(), memory) for name, memory in zip(names, memories, strict=False))


def choose_device(wanted: WantedDevice) -> Device:
    """Return where to train: ``auto`` takes CUDA devices where there are any.

    Raises
    ------
    ArgumentError
        If CUDA is asked for and there is no such device.
    """
    if wanted not in get_args(WantedDevice):
        msg = f"device must be auto, cpu or cuda, found {wanted!r}."
        raise ArgumentError(msg)
    if wanted == "cpu":
        return "cpu"
    found = bool(find_gpus())
    if wanted == "cuda" and not found:
        msg = (
            "device 'cuda' is not there: this machine has no CUDA device that torch can use. Use "
            "--device cpu, or install a torch built for the device's driver."
        )
        raise ArgumentError(msg)
    return "cuda" if found else "cpu"


def require_memory(runs: Sequence[RunPlan], *, memory: int | None) -> None:
    """Raise `ArgumentError` when a model is too large for one device.

    Parameters
    ----------
    runs : sequence of RunPlan
        What is to be trained.
    memory : int or None
        Of the smallest device [bytes]; None when it is not known.
    """
    largest = max(runs, key=lambda run: run.model_size, default=None)
    if largest is None or memory is None:
        return
    needed = BYTES_PER_PARAMETER * largest.model_size
    if needed > memory:
        msg = (
            f"Run {largest.run_id!r} has {largest.model_size:,} parameters, which need at least "
            f"{readable(needed)}; a device has {readable(memory)}. Runs are spread over devices, a "
            "model is never split: leave out this size, or use a larger device."
        )
        raise ArgumentError(msg)


def machine_memory() -> int | None:
    """Return the memory of this machine [bytes]; None where it cannot be asked."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def require_room(folder: Path, jobs: Sequence[Job], *, workers: int) -> None:
    """Raise `ArgumentError` when the disk has no room for checkpoints and curves.

    Parameters
    ----------
    folder : Path
        Of the checkpoints; need not exist yet.
    jobs : sequence of Job
        What is to be trained.
    workers : int
        Jobs that train at once, each with its checkpoints.
    """
    sizes = sorted((_checkpoint_bytes(job) for job in jobs), reverse=True)
    points = sum(run.total_steps for job in jobs for run in job.runs)
    needed = sum(sizes[:workers]) + BYTES_PER_POINT * points
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        msg = (
            f"Checkpoints and curves of this family need about {readable(needed)} in {folder}, "
            f"where {readable(free)} are free. Make room, or name another place with --checkpoints."
        )
        raise ArgumentError(msg)


def readable(size: float) -> str:
    """Return a number of bytes as people read it, such as 1.2 GB."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"


def _checkpoint_bytes(job: Job) -> int:
    # Weights and two moments; the ones kept, and one being written.
    return (KEPT + 1) * 3 * 4 * sum(run.model_size for run in job.runs)
