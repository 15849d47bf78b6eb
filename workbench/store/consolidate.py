"""What goes into a new generation: imported runs, and the points of runs that have ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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
    iter_runs,
    make_runs,
    record_names,
    run_names,
    take_runs,
)
from workbench.store.generation import digests, load_runs
from workbench.store.publish import Change, publish
from workbench.store.registry import Registry, clock, runs
from workbench.store.snapshot import (
    RunRow,
    Snapshot,
    assemble,
    join_runs,
    live_records,
    read_settled,
)
from workbench.store.table import summaries
from workbench.store.writer import ENDS


@dataclass(frozen=True)
class AddResult:
    """Names of the runs an import added, found unchanged, or restated.

    A run is restated when its records are those of the store and only run coordinates are new.
    """

    added: tuple[str, ...]
    unchanged: tuple[str, ...]
    restated: tuple[str, ...] = ()


def consolidate_change(root: Path, registry: Registry) -> int:
    """Move the points of ended runs into a new generation; return the number of runs moved."""
    moved: list[str] = []

    def build(snapshot: Snapshot) -> Change | None:
        moved.clear()
        settled = read_settled(root, snapshot)
        ended = [row for row in snapshot.rows if not row.settled and row.status in ENDS]
        ids = [row.run_id for row in ended]
        fresh = assemble(ended, live_records(snapshot, settled, only=ids))
        if fresh is None:
            return None
        moved.extend(run_names(fresh))
        facts = facts_of(fresh)
        state = {row.run_id: row for row in ended}

        def apply(connection: sa.Connection) -> bool:
            number = snapshot.generation + 1
            return all(_settle(connection, state[name], facts[name], number) for name in moved)

        return Change(join_runs([*_others(settled, moved), fresh]), apply)

    publish(root, registry, build)
    return len(moved)


def _settle(connection: sa.Connection, row: RunRow, facts: dict[str, Any], generation: int) -> bool:
    same = (runs.c.run_id == row.run_id) & (runs.c.token == row.token)
    update = sa.update(runs).where(same).values(**facts, folded=generation)
    return connection.execute(update).rowcount == 1  # else resumed in the meantime


def add_change(
    root: Path, registry: Registry, given: xr.Dataset, *, family: str | None
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
        settled = read_settled(root, snapshot)
        differing = [name for name, row in there.items() if row.digest != own[name]]
        again = _restated(settled, fresh, differing, {n: there[n].digest for n in differing})
        changed = () if again is None else tuple(run_names(again))
        held = set() if settled is None else {*run_names(settled)}
        lost = {name for name, row in there.items() if row.digest == own[name] and name not in held}
        added = tuple(name for name in own if name not in there or name in lost)
        same = tuple(name for name in there if name not in {*changed, *lost})
        result = AddResult(added, same, changed)
        if not added and again is None:
            return None
        new = take_runs(fresh, np.isin(run_names(fresh), added))
        rows = [row for row in rows_of(new) if row["run_id"] not in there]
        updates = [values for values in _new_values(new) if values["run_id"] in there]
        updates += [] if again is None else _new_values(again)

        def apply(connection: sa.Connection) -> bool:
            try:
                if rows:
                    connection.execute(sa.insert(runs).values(**_now("created", "updated")), rows)
            except IntegrityError:
                return False  # one of them was started in the meantime: look again
            return all(_update(connection, there[row["run_id"]], row) for row in updates)

        parts = [*_others(settled, changed), *([] if again is None else [again])]
        return Change(join_runs([*parts, *([new] if added else [])]), apply)

    _settle_first(root, registry, own)
    publish(root, registry, build)
    return result


def _settle_first(root: Path, registry: Registry, own: dict[str, str]) -> None:
    # An ended run has a digest to compare with once it is consolidated.
    ended = sa.select(runs.c.run_id).where(~runs.c.settled & runs.c.status.in_(ENDS))
    with registry.read() as connection:
        waiting = set(connection.execute(ended).scalars())
    if waiting & set(own):
        consolidate_change(root, registry)


def _require_settled(row: RunRow) -> None:
    if not row.settled:
        msg = (
            f"Run {row.run_id!r} is in the store already, as {row.status!r}; nothing was changed. "
            "Give the imported run another run_id, or import it into another store."
        )
        raise DataError(msg)


def _restated(
    settled: xr.Dataset | None, fresh: xr.Dataset, names: list[str], marks: dict[str, str | None]
) -> xr.Dataset | None:
    """Return stored runs with the coordinates an import states anew, None when none changes.

    What the import does not record stays as it is in the store.
    """
    if settled is None or not names:
        return None
    stored = load_runs(settled, np.flatnonzero(np.isin(run_names(settled), names)))
    order = [run_names(fresh).index(name) for name in run_names(stored)]
    stated = take_runs(fresh, order)
    _require_same_records(stored, stated)
    coords = {name: stored[name].to_numpy() for name in coordinate_names(stored)}
    for name in coordinate_names(stated):
        values = stated[name].to_numpy()
        number = np.issubdtype(values.dtype, np.number)
        recorded = ~np.isnan(values) if number else values.astype(str) != ""
        if recorded.any():
            coords[name] = np.where(recorded, values, coords.get(name, values))
    records = {name: stored[name].to_numpy() for name in record_names(stored)}
    merged = conform(make_runs(coords, records, row_size=stored["row_size"].to_numpy()))
    now = digests(merged)
    changed = np.array([now[name] != marks[name] for name in run_names(merged)])
    return take_runs(merged, changed) if changed.any() else None


def _require_same_records(stored: xr.Dataset, stated: xr.Dataset) -> None:
    both = zip(iter_runs(stored), iter_runs(stated), strict=True)
    for (name, old), (_, new) in both:
        same = int(old["row_size"]) == int(new["row_size"]) and all(
            np.array_equal(_record(old, column), _record(new, column), equal_nan=True)
            for column in {*record_names(stored), *record_names(stated)}
        )
        if not same:
            msg = (
                f"Run {name!r} is in the store already, with other records; nothing was changed. "
                "Give the imported run another run_id, or import it into another store."
            )
            raise DataError(msg)


def _record(run: xr.Dataset, column: str) -> NDArray[np.float64]:
    if column not in run.variables:
        return np.full(run.sizes["obs"], np.nan)
    return run[column].to_numpy().astype(np.float64)


def _update(connection: sa.Connection, row: RunRow, values: dict[str, Any]) -> bool:
    same = (runs.c.run_id == row.run_id) & (runs.c.token == row.token)
    update = sa.update(runs).where(same).values(**values, **_now("updated"))
    return connection.execute(update).rowcount == 1


def _now(*names: str) -> dict[str, Any]:
    return {name: clock() for name in names}


def _others(settled: xr.Dataset | None, moved: tuple[str, ...] | list[str]) -> list[xr.Dataset]:
    if settled is None:
        return []
    return [load_runs(settled, np.flatnonzero(~np.isin(run_names(settled), moved)))]


def rows_of(new: xr.Dataset) -> list[dict[str, Any]]:
    """Return the registry's rows of consolidated runs, but for its times."""
    state = {"attempt": 0, "token": 0, "heartbeat": None}
    return [row | state for row in _new_values(new)]


def _new_values(new: xr.Dataset) -> list[dict[str, Any]]:
    facts = facts_of(new)
    return [
        {
            "run_id": name,
            "family": str(family),
            "status": str(status),
            **facts[name],
        }
        for name, family, status in zip(
            facts, new["family"].to_numpy(), new["status"].to_numpy(), strict=True
        )
    ]


def facts_of(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return what the registry notes of consolidated runs, by run identifier."""
    marks, progress = digests(ds), summaries(ds)
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
