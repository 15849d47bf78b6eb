"""What goes into a new generation: imported runs, and the points of runs that have ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
import xarray as xr
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError

from workbench.errors import DataError
from workbench.schema import (
    conform,
    coordinate_names,
    record_names,
    row_bounds,
    run_names,
    take_runs,
)
from workbench.store.batches import Records
from workbench.store.digest import digests
from workbench.store.generation import load_runs
from workbench.store.growth import grow
from workbench.store.publish import Change, publish
from workbench.store.registry import Registry, clock, runs
from workbench.store.snapshot import (
    RunRow,
    Snapshot,
    assemble,
    join_runs,
    live_records,
    put_together,
    read_settled,
)
from workbench.store.table import summaries
from workbench.store.tier import CurveTier
from workbench.store.writer import ENDS


@dataclass(frozen=True)
class AddResult:
    """Names of the runs an import added, found unchanged, restated, or grown.

    A run is restated when its records are those of the store and only run coordinates are new; it
    has grown when the import brought more records of it, or those of a later attempt.
    """

    added: tuple[str, ...]
    unchanged: tuple[str, ...]
    restated: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()


def consolidate_change(tier: CurveTier, registry: Registry) -> int:
    """Move the points of ended runs into a new generation; return the number of runs moved."""
    moved: list[str] = []

    def build(snapshot: Snapshot) -> Change | None:
        moved.clear()
        settled = read_settled(tier, snapshot)
        ended = [row for row in snapshot.rows if not row.settled and row.status in ENDS]
        ids = [row.run_id for row in ended]
        fresh = assemble(ended, live_records(snapshot, settled, only=ids))
        if fresh is None:
            return None
        moved.extend(run_names(fresh))
        facts = facts_of(fresh, digests(fresh))
        tokens = {row.run_id: row.token for row in ended}

        def apply(connection: sa.Connection) -> bool:
            known = {name: tokens[name] for name in moved}
            return _settle(connection, known, facts, snapshot.generation + 1)

        return Change(join_runs([*_others(settled, moved), fresh]), apply)

    publish(tier, registry, build)
    return len(moved)


def _settle(
    connection: sa.Connection,
    tokens: dict[str, int],
    facts: dict[str, dict[str, Any]],
    generation: int,
) -> bool:
    """State what the generation holds of runs that it took in; False when one was resumed.

    Their points stay until a later one is published; see ``registry.drop_folded``.
    """
    return _update(connection, tokens, {n: facts[n] | {"folded": generation} for n in tokens})


def _update(
    connection: sa.Connection, tokens: dict[str, int], values: dict[str, dict[str, Any]]
) -> bool:
    """Update rows that still have the given tokens; False when a row has moved on."""
    same = (runs.c.run_id == sa.bindparam("known_id")) & (runs.c.token == sa.bindparam("known"))
    rows = [values[name] | {"known_id": name, "known": token} for name, token in tokens.items()]
    if rows:
        columns: dict[str, Any] = {name: sa.bindparam(name) for name in next(iter(values.values()))}
        columns |= _now("updated")
        connection.execute(sa.update(runs).where(same).values(columns), rows)
    # How many rows a statement with many parameters changed, not every driver counts.
    now = connection.execute(sa.select(runs.c.run_id, runs.c.token)).all()
    found = {run_id: token for run_id, token in now if run_id in tokens}
    return found == tokens


def add_change(
    tier: CurveTier, registry: Registry, given: xr.Dataset, *, family: str | None
) -> AddResult:
    """Add complete runs in one new generation; see ``Store.add_runs``."""
    fresh = conform(given, source="the import")
    if family is not None:
        fresh["family"] = ("run", np.full(fresh.sizes["run"], family), fresh["family"].attrs)
    own = digests(fresh)
    result = AddResult((), ())

    def build(snapshot: Snapshot) -> Change | None:
        nonlocal result
        there = {row.run_id: row for row in snapshot.rows if row.run_id in own}
        for row in there.values():
            _require_settled(row)
        settled = read_settled(tier, snapshot)
        differing = [name for name, row in there.items() if row.digest != own[name]]
        marks = {name: there[name].digest for name in differing}
        again, grown = _restated(settled, fresh, differing, marks)
        changed = () if again is None else tuple(run_names(again))
        held = set() if settled is None else {*run_names(settled)}
        lost = {name for name, row in there.items() if row.digest == own[name] and name not in held}
        added = tuple(name for name in own if name not in there or name in lost)
        same = tuple(name for name in there if name not in {*changed, *lost})
        restated = tuple(name for name in changed if name not in grown)
        result = AddResult(added, same, restated, grown)
        if not added and again is None:
            return None
        new = fresh if len(added) == len(own) else take_runs(fresh, _among(fresh, added))
        rows = [row for row in rows_of(new, own) if row["run_id"] not in there]
        updates = {n: v for n, v in _new_values(new, own).items() if n in lost}
        updates |= {} if again is None else _new_values(again, digests(again))
        tokens = {name: there[name].token for name in updates}

        def apply(connection: sa.Connection) -> bool:
            try:
                if rows:
                    connection.execute(sa.insert(runs).values(**_now("created", "updated")), rows)
            except IntegrityError:
                return False  # one of them was started in the meantime: look again
            return _update(connection, tokens, updates)

        parts = [*_others(settled, changed), *([] if again is None else [again])]
        return Change(join_runs([*parts, *([new] if added else [])]), apply)

    _settle_first(tier, registry, own)
    publish(tier, registry, build)
    return result


def _settle_first(tier: CurveTier, registry: Registry, own: dict[str, str]) -> None:
    # An ended run has a digest to compare with once it is consolidated.
    ended = sa.select(runs.c.run_id).where(~runs.c.settled & runs.c.status.in_(ENDS))
    with registry.read() as connection:
        waiting = set(connection.execute(ended).scalars())
    if waiting & set(own):
        consolidate_change(tier, registry)


def _require_settled(row: RunRow) -> None:
    if not row.settled:
        msg = (
            f"Run {row.run_id!r} is in the store already, as {row.status!r}; nothing was changed. "
            "Give the imported run another run_id, or import it into another store; a log that "
            "is still being followed is finished with: workbench import LOG --follow."
        )
        raise DataError(msg)


def _restated(
    settled: xr.Dataset | None, fresh: xr.Dataset, names: list[str], marks: dict[str, str | None]
) -> tuple[xr.Dataset | None, tuple[str, ...]]:
    """Return stored runs as an import states them anew, None when none changes; and which grew.

    What the import does not record stays as it is in the store.
    """
    if settled is None or not names:
        return None, ()
    stored = load_runs(settled, np.flatnonzero(_among(settled, names)))
    position = {name: i for i, name in enumerate(run_names(fresh))}
    order = [position[name] for name in run_names(stored)]
    stated = take_runs(fresh, order)
    old, new = _records(stored), _records(stated)
    records = {name: grow(name, old[name], new[name]) for name in old}
    grown = tuple(name for name in old if records[name] is not old[name])
    coords = {name: stored[name].to_numpy() for name in coordinate_names(stored)}
    for name in coordinate_names(stated):
        values = stated[name].to_numpy()
        number = np.issubdtype(values.dtype, np.number)
        recorded = ~np.isnan(values) if number else values.astype(str) != ""
        if recorded.any():
            coords[name] = np.where(recorded, values, coords.get(name, values))
    merged = conform(put_together(coords, list(records.values())))
    now = digests(merged)
    changed = np.array([now[name] != marks[name] for name in run_names(merged)])
    return (take_runs(merged, changed) if changed.any() else None), grown


def _records(ds: xr.Dataset) -> dict[str, Records]:
    bounds = row_bounds(ds)
    columns = {name: ds[name].to_numpy() for name in record_names(ds)}
    return {
        run_id: {name: values[bounds[i] : bounds[i + 1]] for name, values in columns.items()}
        for i, run_id in enumerate(run_names(ds))
    }


def _among(ds: xr.Dataset, names: Iterable[str]) -> NDArray[np.bool_]:
    chosen = set(names)
    return np.array([name in chosen for name in run_names(ds)], dtype=bool)


def _now(*names: str) -> dict[str, Any]:
    return {name: clock() for name in names}


def _others(settled: xr.Dataset | None, moved: tuple[str, ...] | list[str]) -> list[xr.Dataset]:
    if settled is None:
        return []
    return [load_runs(settled, np.flatnonzero(~_among(settled, moved)))]


def rows_of(new: xr.Dataset, marks: dict[str, str]) -> list[dict[str, Any]]:
    """Return the registry's rows of consolidated runs, but for its times.

    Parameters
    ----------
    new : Dataset (run, obs)
        The runs.
    marks : dict of str to str
        Their `digests`.
    """
    state = {"attempt": 0, "token": 0, "heartbeat": None}
    return [row | state for row in _new_values(new, marks).values()]


def _new_values(new: xr.Dataset, marks: dict[str, str]) -> dict[str, dict[str, Any]]:
    facts = facts_of(new, marks)
    return {
        name: {
            "run_id": name,
            "family": str(family),
            "status": str(status),
            **facts[name],
        }
        for name, family, status in zip(
            facts, new["family"].to_numpy(), new["status"].to_numpy(), strict=True
        )
    }


def facts_of(ds: xr.Dataset, marks: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what the registry notes of consolidated runs, by run identifier; see `rows_of`."""
    progress = summaries(ds)
    names = [n for n in coordinate_names(ds) if n not in ("run_id", "family", "status")]
    columns = {name: ds[name].to_numpy().tolist() for name in names}
    return {
        run_id: {
            "settled": True,
            "digest": marks[run_id],
            "attributes": {n: v[i] for n, v in columns.items() if v[i] == v[i] and v[i] != ""},
            **progress[run_id],
        }
        for i, run_id in enumerate(run_names(ds))
    }
