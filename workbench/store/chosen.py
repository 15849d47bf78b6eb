"""The runs a reader asked for: their coordinates at once, their records when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.schema import (
    Filter,
    coordinate_names,
    make_runs,
    matching,
    record_names,
    run_blocks,
    select_runs,
    take_runs,
)
from workbench.store.generation import load_runs
from workbench.store.snapshot import (
    Snapshot,
    assemble,
    empty_runs,
    join_runs,
    live_records,
)


@dataclass(frozen=True)
class Chosen:
    """Runs that meet the filters, consolidated ones first.

    Parameters
    ----------
    head : Dataset (run, obs)
        Their coordinates, with every record variable but no record.
    row_size : ndarray of int64, shape (run,)
        Their records.
    settled : Dataset (run, obs) or None
        The opened generation the first of them lie in.
    positions : ndarray of int64, shape (consolidated,)
        Where they lie in it, increasing.
    live : Dataset (run, obs) or None
        The others, in memory.
    """

    head: xr.Dataset
    row_size: NDArray[np.int64]
    settled: xr.Dataset | None
    positions: NDArray[np.int64]
    live: xr.Dataset | None

    @property
    def bounds(self) -> NDArray[np.int64]:
        """Return record offsets as `row_bounds` does, shape (run + 1,)."""
        return np.concatenate([[0], np.cumsum(self.row_size)])

    def read(self, first: int = 0, last: int | None = None) -> xr.Dataset:
        """Return the runs ``first:last`` with their records, Dataset (run, obs) in memory.

        Raises
        ------
        DataError
            If their records cannot be read.
        """
        count = len(self.positions)
        last = len(self.row_size) if last is None else last
        parts = []
        if self.settled is not None and first < min(last, count):
            parts.append(load_runs(self.settled, self.positions[first : min(last, count)]))
        if self.live is not None and last > max(first, count):
            parts.append(take_runs(self.live, np.arange(max(first, count), last) - count))
        records = {name: _joined(parts, name, self.head[name]) for name in record_names(self.head)}
        coords = {name: self.head[name].to_numpy()[first:last] for name in self._coordinates}
        row_size = self.row_size[first:last]
        return make_runs(coords, records, row_size=row_size, attrs=self.head.attrs)

    def blocks(self, records: int) -> Iterator[xr.Dataset]:
        """Yield the runs in blocks of about `records` records, each a Dataset (run, obs)."""
        edges = run_blocks(self.bounds, records).tolist()
        for first, last in pairwise(edges):
            yield self.read(first, last)

    @property
    def _coordinates(self) -> list[str]:
        return coordinate_names(self.head)


def _joined(parts: Sequence[xr.Dataset], name: str, like: xr.DataArray) -> NDArray[np.generic]:
    columns = [
        part[name].to_numpy() if is_record(part, name) else np.full(part.sizes["obs"], np.nan)
        for part in parts
    ]
    return columns[0] if len(columns) == 1 else np.concatenate([like.to_numpy(), *columns])


def is_record(runs: xr.Dataset, name: str) -> bool:
    """Tell whether `name` is a record variable of `runs`; in other runs it may be a coordinate."""
    return name in runs.variables and runs[name].dims == ("obs",)


def choose(
    snapshot: Snapshot,
    settled: xr.Dataset | None,
    *,
    where: Sequence[Filter | str],
    statuses: tuple[str, ...] | None,
) -> Chosen:
    """Find the runs that meet the filters, reading no records but those of live runs.

    Returns
    -------
    Chosen
        Without runs when there are none and no filter asks for any.

    Raises
    ------
    DataError
        If no run meets `where`.
    ArgumentError
        If a filter names an unknown coordinate.
    """
    live = assemble(snapshot.rows, live_records(snapshot, settled))
    positions = np.empty(0, np.int64)
    heads, sizes = [], [positions]
    if settled is not None:
        growing = np.isin(settled["run_id"].to_numpy(), [*snapshot.unsettled])
        positions = np.flatnonzero(~growing & (settled["row_size"].to_numpy() > 0))
        heads.append(_head(settled, positions))
        sizes.append(settled["row_size"].to_numpy()[positions])
    if live is not None:
        heads.append(_head(live, np.arange(live.sizes["run"])))
        sizes.append(live["row_size"].to_numpy())
    head = join_runs(heads)
    if where:
        select_runs(head, where)
    keep = matching(head, where)
    if statuses is not None:
        keep &= np.isin(head["status"].to_numpy().astype(str), statuses)
    if not keep.any():
        return Chosen(empty_runs(), np.empty(0, np.int64), None, np.empty(0, np.int64), None)
    count = len(positions)
    row_size = np.concatenate(sizes)[keep]
    head = head if keep.all() else take_runs(head, keep)
    chosen = None if live is None else take_runs(live, keep[count:])
    return Chosen(head, row_size, settled, positions[keep[:count]], chosen)


def _head(ds: xr.Dataset, positions: NDArray[np.int64]) -> xr.Dataset:
    coords = {name: ds[name].to_numpy() for name in coordinate_names(ds)}
    if len(positions) < ds.sizes["run"]:
        coords = {name: values[positions] for name, values in coords.items()}
    records = {name: np.empty(0, ds[name].dtype) for name in record_names(ds)}
    return make_runs(coords, records, row_size=np.zeros(len(positions)))
