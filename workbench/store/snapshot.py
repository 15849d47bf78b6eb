"""One consistent moment of a store, and the runs it adds up to: consolidated plus live tail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import xarray as xr
from numpy.typing import NDArray

from workbench.schema import (
    LOSSES,
    Filter,
    concat_runs,
    conform,
    coordinate_names,
    make_runs,
    matching,
    record_names,
    row_bounds,
    run_names,
    select_runs,
    take_runs,
)
from workbench.store.batches import Records, join, overlay, unpack
from workbench.store.generation import load_runs, open_generation
from workbench.store.registry import Registry, clock, points, revision_of, runs, value_of

LEASE_SECONDS = 120.0
"""A running run that was not heard of for so long counts as lost.

Twice as long as a writer may have to wait for the registry; recorders give a sign of life every ten
seconds.
"""


@dataclass(frozen=True)
class RunRow:
    """What the registry says of one run; see the table of the same columns."""

    run_id: str
    family: str
    status: str
    attributes: dict[str, Any]
    attempt: int
    token: int
    settled: bool
    folded: int | None
    digest: str | None
    n_records: int
    last_step: int | None
    final_train_loss: float | None
    final_eval_loss: float | None
    heartbeat: float | None

    @property
    def coordinates(self) -> dict[str, Any]:
        """Run coordinates by name."""
        own = {"run_id": self.run_id, "family": self.family, "status": self.status}
        return own | self.attributes


@dataclass(frozen=True)
class Snapshot:
    """The registry at one moment; `tails` holds each run's live batches as (attempt, packed).

    `now` is that moment by the registry's clock [s since 1970].
    """

    revision: int
    generation: int
    rows: tuple[RunRow, ...]
    tails: dict[str, tuple[tuple[int, bytes], ...]]
    now: float

    def lost(self, row: RunRow) -> bool:
        """Tell whether a run says it is running and has not been heard of for `LEASE_SECONDS`."""
        return row.status == "running" and (
            row.heartbeat is not None and self.now - row.heartbeat > LEASE_SECONDS
        )


def take_snapshot(registry: Registry, *, everything: bool = False) -> Snapshot:
    """Read the registry, with all live points, in one transaction.

    Parameters
    ----------
    registry : Registry
        Of the store.
    everything : bool
        Read the points of settled runs as well, and those of runs that are not in the registry.
    """
    return registry.query(lambda connection: _snapshot(connection, everything))


def _snapshot(connection: sa.Connection, everything: bool) -> Snapshot:
    names = [runs.c[name] for name in RunRow.__dataclass_fields__]
    now = connection.execute(sa.select(clock())).scalar_one()
    counters = revision_of(connection), value_of(connection, "generation")
    rows = connection.execute(sa.select(*names).order_by(runs.c.created, runs.c.run_id)).all()
    key = (points.c.run_id, points.c.attempt, points.c.sequence)
    query = sa.select(*key, points.c.packed).order_by(*key)
    if not everything:
        open_runs = sa.select(runs.c.run_id).where(~runs.c.settled)
        query = query.where(points.c.run_id.in_(open_runs))
    batches = connection.execute(query).all()
    tails = {
        run_id: tuple((batch.attempt, batch.packed) for batch in group)
        for run_id, group in groupby(batches, key=lambda batch: str(batch.run_id))
    }
    known = tuple(RunRow(**row._mapping) for row in rows)
    return Snapshot(*counters, known, tails, now)


def read_settled(root: Path, snapshot: Snapshot) -> xr.Dataset | None:
    """Open the consolidated runs of a snapshot, records on disk; None before the first ones."""
    return open_generation(root, snapshot.generation) if snapshot.generation else None


def live_records(
    snapshot: Snapshot, settled: xr.Dataset | None, *, only: Iterable[str] | None = None
) -> dict[str, Records]:
    """Return the records of the runs that are not settled: consolidated part under live attempts.

    Parameters
    ----------
    snapshot : Snapshot
        The registry.
    settled : Dataset (run, obs) or None
        Its opened generation.
    only : iterable of str, optional
        Leave out the other runs.

    Returns
    -------
    dict of str to dict of str to ndarray of shape (record,)
        By run identifier; runs without a record are left out.
    """
    wanted = {row.run_id for row in snapshot.rows if not row.settled}
    wanted &= set(only) if only is not None else wanted
    out = _consolidated(settled, wanted)
    for run_id in wanted & set(snapshot.tails):
        live = attempts_of(snapshot.tails[run_id])
        out[run_id] = overlay(out[run_id], live) if run_id in out else live
    return out


def attempts_of(batches: Sequence[tuple[int, bytes]]) -> Records:
    """Return the records of a run's live batches: each attempt over the one before."""
    groups = groupby(batches, key=lambda batch: batch[0])
    attempts = [join([unpack(packed) for _, packed in group]) for _, group in groups]
    return reduce(overlay, attempts)


def _consolidated(settled: xr.Dataset | None, wanted: set[str]) -> dict[str, Records]:
    if settled is None or not wanted:
        return {}
    names = np.array(run_names(settled))
    chosen = np.flatnonzero(np.isin(names, list(wanted)) & (settled["row_size"].to_numpy() > 0))
    loaded = load_runs(settled, chosen)
    bounds = row_bounds(loaded)
    return {
        str(names[position]): {
            name: loaded[name].to_numpy()[bounds[i] : bounds[i + 1]]
            for name in record_names(loaded)
        }
        for i, position in enumerate(chosen)
    }


def assemble(rows: Sequence[RunRow], records: dict[str, Records]) -> xr.Dataset | None:
    """Build schema runs from registry rows; runs without a finite loss yet are left out.

    Returns
    -------
    Dataset (run, obs) or None
        None when no run is left.
    """
    kept = [row for row in rows if row.run_id in records and _has_loss(records[row.run_id])]
    if not kept:
        return None
    coordinates = [row.coordinates for row in kept]
    coords = {
        name: column([each.get(name) for each in coordinates])
        for name in dict.fromkeys(name for each in coordinates for name in each)
    }
    parts = [records[row.run_id] for row in kept]
    sizes = [len(part["step"]) for part in parts]
    columns = {
        name: np.concatenate([part.get(name, np.full(len(part["step"]), np.nan)) for part in parts])
        for name in dict.fromkeys(name for part in parts for name in part)
    }
    return conform(make_runs(*_apart(coords, columns), row_size=sizes), source="the live runs")


def column(values: Sequence[Any]) -> NDArray[np.generic]:
    """Turn the values of one attribute over runs into an array; None is NaN, or "" among text."""
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values], dtype=str)
    return np.array([np.nan if value is None else float(value) for value in values])


def _apart(
    coords: dict[str, NDArray[np.generic]], columns: dict[str, NDArray[np.generic]]
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
    # A dataset has one variable a name: where a hyper-parameter is called like a record, it yields.
    return {f"run_{n}" if n in columns else n: v for n, v in coords.items()}, columns


def _has_loss(records: Records) -> bool:
    present = [records[loss] for loss in LOSSES if loss in records]
    return any(np.isfinite(values).any() for values in present)


def select(
    snapshot: Snapshot,
    settled: xr.Dataset | None,
    *,
    where: Sequence[Filter | str],
    statuses: tuple[str, ...] | None,
) -> xr.Dataset:
    """Return the runs that meet the filters, reading no other records than theirs.

    Returns
    -------
    Dataset (run, obs)
        Without runs when there are none and no filter asks for any.

    Raises
    ------
    DataError
        If no run meets `where`.
    ArgumentError
        If a filter names an unknown coordinate.
    """
    live = assemble(snapshot.rows, live_records(snapshot, settled))
    complete = {row.run_id for row in snapshot.rows if row.settled}
    heads, positions = [], np.empty(0, np.int64)
    if settled is not None:
        own = np.isin(run_names(settled), list(complete)) & (settled["row_size"].to_numpy() > 0)
        positions = np.flatnonzero(own)
        heads.append(_head(settled, positions))
    if live is not None:
        heads.append(_head(live, np.arange(live.sizes["run"])))
    if not heads:
        heads.append(empty_runs())
    head = concat_runs(heads)
    if where:
        select_runs(head, where)
    keep = matching(head, where)
    if statuses is not None:
        keep &= np.isin(head["status"].to_numpy().astype(str), statuses)
    parts = []
    if settled is not None and keep[: len(positions)].any():
        parts.append(load_runs(settled, positions[keep[: len(positions)]]))
    if live is not None and keep[len(positions) :].any():
        parts.append(take_runs(live, keep[len(positions) :]))
    return join_runs(parts)


def _head(ds: xr.Dataset, positions: NDArray[np.int64]) -> xr.Dataset:
    coords = {name: ds[name].to_numpy()[positions] for name in coordinate_names(ds)}
    return make_runs(coords, {"step": np.empty(0)}, row_size=np.zeros(len(positions)))


def join_runs(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join ragged datasets that may disagree on what a name is.

    A coordinate called like a record of another part becomes ``run_NAME``; one that is a number
    here and text there becomes text.
    """
    if not parts:
        return empty_runs()
    taken = {name for part in parts for name in record_names(part)}
    renamed = [
        part.rename({n: f"run_{n}" for n in coordinate_names(part) if n in taken}) for part in parts
    ]
    texts = {
        name for part in renamed for name in coordinate_names(part) if part[name].dtype.kind == "U"
    }
    return concat_runs([_with_texts(part, texts) for part in renamed])


def _with_texts(part: xr.Dataset, texts: set[str]) -> xr.Dataset:
    numeric = [n for n in coordinate_names(part) if n in texts and part[n].dtype.kind == "f"]
    return part.assign_coords(
        {
            name: ("run", np.array(["" if v != v else repr(v) for v in part[name].values.tolist()]))
            for name in numeric
        }
    )


def empty_runs() -> xr.Dataset:
    """Return a dataset of no runs that keeps the schema."""
    none = np.empty(0)
    return conform(
        make_runs(
            {"run_id": none.astype(str), "status": none.astype(str), "family": none.astype(str)},
            {"step": none, **{loss: none for loss in LOSSES}},
            row_size=none,
        )
    )
