"""NetCDF files of ragged runs, read by a process of its own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from workbench.errors import DataError
from workbench.io import netcdf_process
from workbench.io.apart import Limits, run_apart
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
    limits = Limits(
        cpu_seconds=_CPU_SECONDS + size // _BYTES_A_SECOND,
        wall_seconds=_WALL_SECONDS + size // _BYTES_A_SECOND,
        memory=_MEMORY + _EXPANSION * size,
    )
    with tempfile.TemporaryDirectory(prefix="workbench-netcdf-") as folder:
        try:
            run_apart(Path(netcdf_process.__file__), path, Path(folder), limits)
        except DataError as error:
            msg = f"{path} cannot be read: {error}. It is damaged or cut; export it again."
            raise DataError(msg) from error
        with foreign_library(path):
            return xr.decode_cf(_collect(Path(folder)), decode_times=False)


def _collect(folder: Path) -> xr.Dataset:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    variables = {
        each["name"]: xr.Variable(
            each["dims"], np.load(folder / f"{number}.npy", allow_pickle=False), each["attrs"]
        )
        for number, each in enumerate(index["variables"])
    }
    return xr.Dataset(variables, attrs=index["attrs"])
