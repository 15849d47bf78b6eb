"""What goes into a new generation: imported runs, and the points of runs that have ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import xarray as xr
from sqlalchemy.exc import IntegrityError

from workbench.errors import DataError
from workbench.schema import conform, coordinate_names, run_names, take_runs
from workbench.store.generation import digests, load_runs
from workbench.store.publish import Change, publish
from workbench.store.registry import Registry, points, runs
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
    """Names of the runs an import added, and of those that were there already, unchanged."""

    added: tuple[str, ...]
    unchanged: tuple[str, ...]


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
        facts = _facts(fresh)
        state = {row.run_id: row for row in ended}

        def apply(connection: sa.Connection) -> bool:
            return all(_settle(connection, state[name], facts[name]) for name in moved)

        return Change(join_runs([*_others(settled, moved), fresh]), apply)

    publish(root, registry, build)
    return len(moved)


def _settle(connection: sa.Connection, row: RunRow, facts: dict[str, Any]) -> bool:
    same = (runs.c.run_id == row.run_id) & (runs.c.token == row.token)
    update = sa.update(runs).where(same).values(**facts)
    if connection.execute(update).rowcount != 1:
        return False  # resumed in the meantime
    connection.execute(sa.delete(points).where(points.c.run_id == row.run_id))
    return True


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
        for name, row in there.items():
            _require_same(row, own[name])
        added = tuple(name for name in own if name not in there)
        result = AddResult(added, tuple(there))
        if not added:
            return None
        new = take_runs(fresh, np.isin(run_names(fresh), added))
        rows = _new_rows(new)

        def apply(connection: sa.Connection) -> bool:
            try:
                connection.execute(sa.insert(runs), rows)
            except IntegrityError:
                return False  # one of them was started in the meantime: look again
            return True

        return Change(join_runs([*_others(read_settled(root, snapshot), ()), new]), apply)

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


def _require_same(row: RunRow, digest: str) -> None:
    if row.settled and row.digest == digest:
        return
    state = "with other content" if row.settled else f"as {row.status!r}"
    msg = (
        f"Run {row.run_id!r} is in the store already, {state}; nothing was changed. Give the "
        "imported run another run_id, or import it into another store."
    )
    raise DataError(msg)


def _others(settled: xr.Dataset | None, moved: tuple[str, ...] | list[str]) -> list[xr.Dataset]:
    if settled is None:
        return []
    return [load_runs(settled, np.flatnonzero(~np.isin(run_names(settled), moved)))]


def _new_rows(new: xr.Dataset) -> list[dict[str, Any]]:
    now = time.time()
    state = {"attempt": 0, "token": 0, "heartbeat": None, "created": now, "updated": now}
    facts = _facts(new)
    return [
        {"run_id": name, "family": str(family), "status": str(status), **state, **facts[name]}
        for name, family, status in zip(
            facts, new["family"].to_numpy(), new["status"].to_numpy(), strict=True
        )
    ]


def _facts(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
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
