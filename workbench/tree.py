"""``open``: a store as one tree of datasets."""

from __future__ import annotations

import os

import xarray as xr

from workbench.curves import to_cube
from workbench.errors import DataError
from workbench.store import Address, open_store


def open(path: str | os.PathLike[str] | Address) -> xr.DataTree:
    """Open a store as a tree of three datasets.

    Parameters
    ----------
    path : path, str or Address
        Folder or URL of the store.

    Returns
    -------
    DataTree
        ``runs`` (run, obs): every run with all its records, consolidated and live;
        ``cube`` (model_size, tau, tpp, schedule, seed, progress): the same curves resampled, or
        empty with the reason in ``attrs["why_empty"]`` when two runs would share a cell;
        ``fits``: empty until fits are kept in stores.

    Raises
    ------
    ArgumentError
        If there is no store.
    DataError
        If it cannot be read.
    """
    store = open_store(path)
    runs = store.runs()
    try:
        cube = to_cube(runs) if runs.sizes["run"] else _empty("the store has no run with a loss")
    except DataError as error:
        cube = _empty(str(error))
    tree = {"runs": runs, "cube": cube, "fits": xr.Dataset()}
    return xr.DataTree.from_dict(tree, name=store.name.replace("/", "_"))


def _empty(why: str) -> xr.Dataset:
    return xr.Dataset(attrs={"why_empty": why})
