"""``open``: a store as one tree of datasets."""

from __future__ import annotations

import os

import xarray as xr

from workbench.curves import to_cube
from workbench.errors import DataError
from workbench.schema import LOSSES, LossName, run_names
from workbench.store import Address, Store, open_store
from workbench.store.history import Moment
from workbench.store.lazy import Chunks


def open(
    path: str | os.PathLike[str] | Address,
    *,
    chunks: Chunks | None = None,
    at: Moment | None = None,
) -> xr.DataTree:
    """Open a store as a tree of three datasets.

    Parameters
    ----------
    path : path, str or Address
        Folder or URL of the store.
    chunks : int or "auto", optional
        Leave records on disk, as Dask arrays in blocks of about this many records; the loss of the
        cube is then a Dask array too, and nothing is read before it is asked for.
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
    store = open_store(path)
    runs = store.runs(chunks=chunks, at=at)
    loss = None if chunks is None else _loss_of(store, runs, at)
    try:
        cube = (
            to_cube(runs, loss=loss)
            if runs.sizes["run"]
            else _empty("the store has no run with a loss")
        )
    except DataError as error:
        cube = _empty(str(error))
    tree = {"runs": runs, "cube": cube, "fits": xr.Dataset()}
    return xr.DataTree.from_dict(tree, name=store.name.replace("/", "_"))


def _loss_of(store: Store, runs: xr.Dataset, at: Moment | None) -> LossName | None:
    """Choose as `default_loss` does, by what the store knows of each run without its records."""
    present = [loss for loss in LOSSES if loss in runs.variables]
    if len(present) < 2:
        return None
    table = store.table(at=at).set_index("run_id").loc[run_names(runs)]
    return next((n for n in present if table[f"final_{n}"].notna().all()), present[-1])


def _empty(why: str) -> xr.Dataset:
    return xr.Dataset(attrs={"why_empty": why})
