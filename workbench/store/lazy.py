"""Chosen runs whose records are Dask arrays, for what does not fit in memory (extra ``dask``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import ArgumentError, DataError
from workbench.schema import (
    coordinate_names,
    field_attrs,
    make_runs,
    record_names,
    row_bounds,
    run_blocks,
)
from workbench.store.chosen import Chosen, is_record
from workbench.store.generation import read_records

Chunks = int | Literal["auto"]
AUTO = 4_194_304
"""Records of a block, 32 MiB a column."""


def lazy_runs(chosen: Chosen, chunks: Chunks) -> xr.Dataset:
    """Return chosen runs with their records on Dask arrays.

    Parameters
    ----------
    chosen : Chosen
        The runs.
    chunks : int or "auto"
        Records of a block, about: blocks end where runs end.

    Returns
    -------
    Dataset (run, obs)

    Raises
    ------
    ArgumentError
        If `chunks` is not a positive number, or Dask is not installed.
    """
    if chunks != "auto" and (not isinstance(chunks, int) or chunks < 1):
        msg = f"chunks must be 'auto' or a number of records >= 1, found {chunks!r}."
        raise ArgumentError(msg)
    try:
        import dask.array as da
    except ImportError as error:
        msg = (
            "Runs in chunks need Dask. Install it with: pip install 'collapse-workbench[dask]', "
            "or leave chunks out."
        )
        raise ArgumentError(msg) from error
    records = AUTO if chunks == "auto" else chunks
    head, count = chosen.head, len(chosen.positions)
    consolidated, live = chosen.row_size[:count], chosen.row_size[count:]

    def column(name: str) -> Any:
        dtype = head[name].dtype
        parts = []
        if consolidated.sum():
            parts.append(_settled_column(chosen, name, consolidated, records))
        if live.sum() and chosen.live is not None:
            there = is_record(chosen.live, name)
            values = chosen.live[name].to_numpy() if there else np.full(int(live.sum()), np.nan)
            parts.append(da.from_array(values, chunks=(_blocks(live, records),)))
        parts = parts or [da.zeros(0, dtype=dtype)]
        return da.concatenate([part.astype(dtype) for part in parts])

    coords = {name: head[name].to_numpy() for name in coordinate_names(head)}
    runs = make_runs(coords, {"step": np.empty(0)}, row_size=chosen.row_size, attrs=head.attrs)
    data = {name: ("obs", column(name), field_attrs(name)) for name in record_names(head)}
    return runs.drop_vars("step").assign(data)


def _blocks(sizes: NDArray[np.int64], records: int) -> tuple[int, ...]:
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    return tuple(np.diff(bounds[run_blocks(bounds, records)]).tolist())


def _settled_column(chosen: Chosen, name: str, sizes: NDArray[np.int64], records: int) -> Any:
    import dask.array as da

    settled = chosen.settled
    assert settled is not None
    if not is_record(settled, name):
        return da.full(int(sizes.sum()), np.nan, chunks=(_blocks(sizes, records),))
    slim = settled.reset_coords()[["run_id", "row_size", name]]
    stored = _Column(slim, chosen.positions, name, int(sizes.sum()))
    meta = np.empty(0, stored.dtype)  # else Dask asks the column for an empty piece
    return da.from_array(stored, chunks=(_blocks(sizes, records),), asarray=False, meta=meta)


@dataclass(frozen=True)
class _Column:
    """One record variable of chosen runs in a generation, as an array Dask can cut.

    Parameters
    ----------
    runs : Dataset (run, obs)
        The opened generation: run_id, row_size and this variable.
    positions : ndarray of int64, shape (chosen,)
        Its chosen runs, increasing.
    name : str
        The variable.
    size : int
        Records of the chosen runs.
    """

    runs: xr.Dataset
    positions: NDArray[np.int64]
    name: str
    size: int

    ndim = 1

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.runs[self.name].dtype

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return (self.runs.attrs["path"], self.name, self.positions)

    def __getitem__(self, index: tuple[slice]) -> NDArray[np.generic]:
        start, stop, _ = index[0].indices(self.size)
        sizes = np.diff(row_bounds(self.runs))[self.positions]
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        first = int(np.searchsorted(bounds, start, side="right")) - 1
        last = int(np.searchsorted(bounds, stop, side="left"))
        values = read_records(self.runs, self.positions[first:last], self.name)
        folder = self.runs.attrs.get("folder")  # elsewhere reading what is gone fails by itself
        if folder is not None and not Path(folder).is_dir():  # fill values were read
            msg = (
                f"The curves {folder} were replaced by newer ones and removed after they were "
                "opened. Open the store again."
            )
            raise DataError(msg)
        return values[start - bounds[first] : stop - bounds[first]]
