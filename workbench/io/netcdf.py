"""NetCDF files of ragged runs, read by a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from workbench.errors import DataError
from workbench.io import netcdf_process
from workbench.io.foreign import foreign_library

_WALL_SECONDS = 120
_CPU_SECONDS, _BYTES_A_SECOND = 5, 5_000_000
_MEMORY, _EXPANSION = 2 << 30, 100


def open_netcdf(path: Path) -> xr.Dataset:
    """Read a NetCDF 3 or 4 file into memory, decoded as xarray does it, but for times.

    Seconds since 1970 are numbers in the schema.

    Parameters
    ----------
    path : Path
        The file; only its root group is read.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the library cannot read it, crashes, or needs more time or memory than a sound file of
        this size does.
    """
    size = path.stat().st_size
    limits = [_CPU_SECONDS + size // _BYTES_A_SECOND, _MEMORY + _EXPANSION * size]
    with tempfile.TemporaryDirectory(prefix="workbench-netcdf-") as folder:
        command = [sys.executable, "-P", netcdf_process.__file__, str(path), folder]
        try:
            done = subprocess.run(
                [*command, *map(str, limits)],
                capture_output=True,
                timeout=_WALL_SECONDS + size // _BYTES_A_SECOND,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DataError(_refusal(path, "reading it does not end")) from None
        if done.returncode > 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise DataError(_refusal(path, said[-1][:300]))
        if done.returncode:
            why = f"the NetCDF library ended with signal {-done.returncode}, or reached a limit"
            raise DataError(_refusal(path, why))
        with foreign_library(path):
            return xr.decode_cf(_collect(Path(folder)), decode_times=False)


def _refusal(path: Path, why: str) -> str:
    return f"{path} cannot be read: {why}. It is damaged or cut; export it again."


def _collect(folder: Path) -> xr.Dataset:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    variables = {
        each["name"]: xr.Variable(
            each["dims"], np.load(folder / f"{number}.npy", allow_pickle=False), each["attrs"]
        )
        for number, each in enumerate(index["variables"])
    }
    return xr.Dataset(variables, attrs=index["attrs"])
