"""One consistent moment of a store, and the runs it adds up to: consolidated plus live tail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa
import xarray as xr
from numpy.typing import NDArray

from workbench.schema import (
    LOSSES,
    concat_runs,
    conform,
    coordinate_names,
    make_runs,
    record_names,
    row_bounds,
    run_names,
)
from workbench.store.batches import Records, join, overlay, unpack
from workbench.store.generation import load_runs
from workbench.store.registry import (
    Registry,
    clock,
    generations,
    points,
    revision_of,
    runs,
    value_of,
)
from workbench.store.tier import CurveTier

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
    """The registry at one moment.

    Parameters
    ----------
    revision, generation : int
        Its counters.
    curves : str or None
        The immutable snapshot that holds the generation, where its place has such a thing.
    rows : tuple of RunRow
        The runs, in the order they came; only those that are not settled when no more was asked.
    tails : dict of str to tuple of (attempt, packed)
        Live batches of each run.
    now : float
        The moment, by the registry's clock [s since 1970].
    """

    revision: int
    generation: int
    curves: str | None
    rows: tuple[RunRow, ...]
    tails: dict[str, tuple[tuple[int, bytes], ...]]
    now: float = 0.0

    @property
    def unsettled(self) -> set[str]:
        """The runs of which there is more, or other, than in the consolidated curves."""
        return {row.run_id for row in self.rows if not row.settled}

    def lost(self, row: RunRow) -> bool:
        """Tell whether a run says it is running and has not been heard of for `LEASE_SECONDS`."""
        return row.status == "running" and (
            row.heartbeat is not None and self.now - row.heartbeat > LEASE_SECONDS
        )


def lost_runs(registry: Registry) -> frozenset[str]:
    """Return the runs that say they are running and were not heard of for `LEASE_SECONDS`."""

    def ask(connection: sa.Connection) -> frozenset[str]:
        now = connection.execute(sa.select(clock())).scalar_one()
        silent = runs.c.heartbeat < now - LEASE_SECONDS
        asked = sa.select(runs.c.run_id).where(runs.c.status == "running", silent)
        return frozenset(map(str, connection.execute(asked).scalars()))

    return registry.query(ask)


def take_snapshot(
    registry: Registry, *, unsettled_only: bool = False, everything: bool = False
) -> Snapshot:
    """Read the registry, with all live points, in one transaction.

    Parameters
    ----------
    registry : Registry
        Of the store.
    unsettled_only : bool
        Leave the rows of settled runs out: the consolidated curves say what they say.
    everything : bool
        Read the points of settled runs as well, and those of runs that are not in the registry.
    """
    return registry.query(lambda connection: _snapshot(connection, unsettled_only, everything))


def _snapshot(connection: sa.Connection, unsettled_only: bool, everything: bool) -> Snapshot:
    names = [runs.c[name] for name in RunRow.__dataclass_fields__]
    now = connection.execute(sa.select(clock())).scalar_one()
    revision, generation = revision_of(connection), value_of(connection, "generation")
    newest = sa.select(generations.c.snapshot).where(generations.c.generation == generation)
    curves = connection.execute(newest).scalar()
    asked = sa.select(*names).order_by(runs.c.created, runs.c.run_id)
    rows = connection.execute(asked.where(~runs.c.settled) if unsettled_only else asked).all()
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
    known = tuple(RunRow(*row) for row in rows)
    return Snapshot(revision, generation, curves, known, tails, now)


def read_settled(tier: CurveTier, snapshot: Snapshot) -> xr.Dataset | None:
    """Open the consolidated runs of a snapshot, records unread; None before the first ones."""
    return tier.open(snapshot.generation, snapshot.curves) if snapshot.generation else None


def live_records(
    snapshot: Snapshot, settled: xr.Dataset | None, *, only: Iterable[str] | None = None
) -> dict[str, Records]:
    """Return the records of the runs that are not settled: consolidated part under live attempts.

    Parameters
    ----------
    snapshot : Snapshot
        The registry. The tails that are read are taken out of it, so that a consolidation never
        holds every point packed and unpacked at once.
    settled : Dataset (run, obs) or None
        Its opened generation.
    only : iterable of str, optional
        Leave out the other runs.

    Returns
    -------
    dict of str to dict of str to ndarray of shape (record,)
        By run identifier; runs without a record are left out.
    """
    wanted = snapshot.unsettled & (snapshot.unsettled if only is None else set(only))
    out = _consolidated(settled, wanted)
    for run_id in wanted & set(snapshot.tails):
        live = attempts_of(snapshot.tails.pop(run_id))
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
    if not len(chosen):
        return {}
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

    Parameters
    ----------
    rows : sequence of RunRow
        The runs.
    records : dict of str to dict of str to ndarray of shape (record,)
        From `live_records`; the columns that are put end to end are taken out of it.

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
    ragged = put_together(coords, [records[row.run_id] for row in kept])
    return conform(ragged, source="the live runs")


def put_together(coords: dict[str, NDArray[np.generic]], parts: Sequence[Records]) -> xr.Dataset:
    """Build ragged runs from run coordinates and the records of each run in the same order."""
    sizes = [len(part["step"]) for part in parts]
    columns = {
        name: np.concatenate(
            [part.pop(name, np.full(n, np.nan)) for part, n in zip(parts, sizes, strict=True)]
        )
        for name in dict.fromkeys(name for part in parts for name in part)
    }
    return make_runs(*_apart(coords, columns), row_size=sizes)


def column(values: Sequence[Any]) -> NDArray[np.generic]:
    """Turn the values of one attribute over runs into an array; None is NaN, or "" among text."""
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values], dtype=str)
    return np.array([np.nan if value is None else float(value) for value in values])


def _apart(
    coords: dict[str, NDArray[np.generic]], columns: dict[str, NDArray[np.generic]]
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]:
    # A dataset has one variable a name: where a hyper-parameter is called like a record, it yields.
    # Names with a slash were once accepted; Zarr would put them into a group that nobody reads.
    flat = {name.replace("/", "_"): values for name, values in columns.items()}
    heads = {name.replace("/", "_"): values for name, values in coords.items()}
    return {f"run_{n}" if n in flat else n: v for n, v in heads.items()}, flat


def _has_loss(records: Records) -> bool:
    present = [records[loss] for loss in LOSSES if loss in records]
    return any(np.isfinite(values).any() for values in present)


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
