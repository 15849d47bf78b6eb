"""Kernels built by the system's C++ compiler on first use, kept by what they were made of."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

SOURCE = Path(__file__).with_name("transformer.cpp")
# No -ffast-math: sums keep their order and NaN stays NaN.
_FLAGS = (
    "-O3",
    "-march=native",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
)


class BuildError(Exception):
    """The kernels cannot be compiled here; the text says why."""


@lru_cache
def load_kernels(**constants: int | str) -> ctypes.CDLL:
    """Compile the kernels for one model, unless that was done before, and load them.

    Parameters
    ----------
    **constants
        Compile-time constants by name, see ``transformer.cpp``.

    Returns
    -------
    CDLL

    Raises
    ------
    BuildError
        If there is no C++ compiler, or it fails.
    """
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if not compiler:
        msg = "no C++ compiler was found (c++, g++ or what CXX names)"
        raise BuildError(msg)
    # What the compiler says of itself and of this processor: a shared home serves unlike machines.
    machine = _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])
    defines = [f"-D{name}={value}" for name, value in sorted(constants.items())]
    made_of = "\0".join([SOURCE.read_text("utf-8"), machine, *_FLAGS, *defines])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:32]
    target = _cache_folder() / f"transformer-{digest}.so"
    if not target.exists():
        _compile([compiler, *_FLAGS, *defines, str(SOURCE)], target)
    return ctypes.CDLL(str(target))


def _compile(command: list[str], target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / target.name
            _run([*command, "-o", str(made)])
            made.replace(target)  # whole or not at all: processes build side by side
    except OSError as error:
        msg = f"compiled kernels cannot be kept in {target.parent}: {error}"
        raise BuildError(msg) from error


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "collapse-workbench" / "kernels"


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        msg = f"{command[0]} failed: {lines[0] if lines else error}"
        raise BuildError(msg) from error
    return done.stdout
