"""``open``: a store as one tree of datasets."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import xarray as xr

from workbench.curves import to_cube
from workbench.errors import DataError
from workbench.store import open_store


def open(path: str | os.PathLike[str], *, at: int | str | datetime | None = None) -> xr.DataTree:
    """Open a store as a tree of three datasets.

    Parameters
    ----------
    path : path
        Folder of the store.
    at : int, str or datetime, optional
        Open an earlier state of the consolidated curves: a generation's number, a snapshot's
        identifier, or a date and time (UTC without an offset). ``Store.history`` lists them.

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
        If there is no store, or `at` is no moment.
    DataError
        If it cannot be read, or `at` is not kept.
    """
    runs = open_store(path).runs(at=at)
    try:
        cube = to_cube(runs) if runs.sizes["run"] else _empty("the store has no run with a loss")
    except DataError as error:
        cube = _empty(str(error))
    tree = {"runs": runs, "cube": cube, "fits": xr.Dataset()}
    return xr.DataTree.from_dict(tree, name=Path(path).name)


def _empty(why: str) -> xr.Dataset:
    return xr.Dataset(attrs={"why_empty": why})
