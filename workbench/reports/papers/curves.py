"""Where the public curves are that some figures need: the user's own copies, in one folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.laws import PFLOP
from workbench.schema import conform

PICKLES: Mapping[str, str] = {
    "qiu_c5m": "c5m.pkl",
    "qiu_c5m_const": "c5m_const.pkl",
    "qiu_c5m_schedules": "c5m_schedules.pkl",
    "qiu_mlp": "mlp.pkl",
    "qiu_mlp_const": "mlp_const.pkl",
    "qiu_mlp_schedules": "mlp_schedules.pkl",
    "qiu_chess": "chess.pkl",
    "qiu_chess_const": "chess_const.pkl",
}
"""The curves of Qiu et al. and the files of their repository, which states no licence."""


@dataclass(frozen=True)
class Curves:
    """A file with curves.

    Parameters
    ----------
    name : str
        What figures call it.
    path : Path
        NetCDF file of the workbench, or pickle of the authors.
    """

    name: str
    path: Path

    def sha256(self) -> str:
        """Return the hash of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def read(self) -> xr.Dataset:
        """Return the runs; nothing in the file is ever run."""
        if self.path.suffix == ".nc":
            with xr.open_dataset(self.path, engine="netcdf4") as ds:
                return conform(ds.load(), source=self.path.name)
        return _of_pickle(self.path)


def _of_pickle(path: Path) -> xr.Dataset:
    """Return the runs of an authors' table on the token axis its compute stands for.

    Steps disagree with compute in some of them, which every published run has to its end.
    """
    from workbench.io import read

    runs = read(path, settings={"total_steps": "last"}).runs
    if "opt_C" in runs.coords:
        runs = runs.rename(opt_C="horizon_compute_pflop")
    if "compute_pflop" not in runs.variables:
        return runs
    ends = np.cumsum(runs["row_size"].to_numpy())
    size = np.repeat(runs["model_size"].to_numpy(), runs["row_size"].to_numpy())
    tokens = PFLOP * runs["compute_pflop"].to_numpy() / (6 * size)
    coords = {"tokens_total": ("run", tokens[ends - 1]), "tpp": ("run", np.full(len(ends), np.nan))}
    return conform(runs.assign(tokens=("obs", tokens)).assign_coords(coords), source=path.name)


def find_curves(folder: str | os.PathLike[str], name: str) -> Curves:
    """Return the file of some curves in a folder: ``NAME.nc``, or the authors' pickle.

    Raises
    ------
    ArgumentError
        If the folder is none.
    DataError
        If it has no such file; says which names would do.
    """
    root = Path(folder)
    if not root.is_dir():
        msg = f"{os.fspath(folder)} is not a folder. Name the one with {name}.nc."
        raise ArgumentError(msg)
    places = [root / f"{name}.nc"]
    if name in PICKLES:
        places += [root / PICKLES[name], root / "logs" / PICKLES[name]]
    for path in places:
        if path.is_file():
            return Curves(name, path)
    wanted = " or ".join(str(path.relative_to(root)) for path in places)
    msg = f"The curves {name} are not in {os.fspath(folder)}: put {wanted} there."
    raise DataError(msg)
