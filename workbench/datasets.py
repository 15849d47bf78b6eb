"""Named data: for now the quickstart family that ships with the workbench."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import xarray as xr

from workbench.errors import DataError
from workbench.schema import conform

_NAME = "quickstart.nc"


def quickstart_path() -> Path:
    """Return the file of the shipped family: in the installed package, or in the checkout.

    Raises
    ------
    DataError
        If neither holds it.
    """
    packaged = Path(str(files("workbench"))) / "data" / _NAME
    checkout = Path(str(files("workbench"))).parent / "data" / _NAME
    for path in (packaged, checkout):
        if path.is_file():
            return path
    msg = f"The quickstart family is missing at {checkout}. Install the package again."
    raise DataError(msg)


def load_quickstart() -> xr.Dataset:
    """Return the shipped family as ragged runs (run, obs), made by our own trainer."""
    with xr.open_dataset(quickstart_path(), engine="netcdf4") as ds:
        return conform(ds.load(), source=_NAME)
