"""Libraries that may crash, hang or eat memory on a damaged file: each in a process of its own.

Such a library is called by a script that imports nothing of the workbench, so that it starts in a
fraction of a second, and that leaves what it read as plain files in a folder.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import DataError
from workbench.io import apart_process


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Parameters
    ----------
    cpu_seconds, wall_seconds : int
        Time of computing, and in all.
    memory : int
        Bytes of address space, beyond those of the bare process.
    """

    cpu_seconds: int
    wall_seconds: int
    memory: int


def run_apart(script: Path, path: Path, folder: Path, limits: Limits) -> None:
    """Run a script with the arguments `path` and `folder`, under limits.

    Parameters
    ----------
    script : Path
        Calls the library and writes into the folder; its ``main`` takes both paths.
    path : Path
        What it reads.
    folder : Path
        An existing, empty folder.
    limits : Limits
        More than a sound file of this size needs.

    Raises
    ------
    DataError
        If it fails in any way; the message is one clause: what it said, or how it ended.
    """
    command = [sys.executable, "-P", apart_process.__file__, str(limits.cpu_seconds)]
    try:
        done = subprocess.run(
            [*command, str(limits.memory), str(script), str(path), str(folder)],
            capture_output=True,
            timeout=limits.wall_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        msg = "reading it does not end"
        raise DataError(msg) from None
    if done.returncode > 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise DataError(said[-1][:300])
    if done.returncode:
        msg = f"the library ended with signal {-done.returncode}, or reached a limit"
        raise DataError(msg)
