"""The rows by which a run exists: begin it, take it over, plan it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from workbench.errors import DataError
from workbench.store.attributes import clean_attributes
from workbench.store.batches import unpack
from workbench.store.registry import Registry, bump, clock, points, runs
from workbench.store.writer import RunWriter, check_family, check_run_id


def start_run(
    registry: Registry,
    run_id: str,
    *,
    family: str,
    attributes: Mapping[str, Any] | None,
    reopen: bool,
) -> RunWriter:
    """Begin a run or take it over; see ``Store.start_run``."""
    fresh = clean_attributes(attributes or {})
    check_run_id(run_id)
    check_family(family)

    def start(connection: sa.Connection, _again: bool) -> RunWriter:
        # Begun twice, it takes over from itself: an attempt without a point.
        token = bump(connection, "revision")
        row = _state(connection, run_id)
        attempt = 1 if row is None else row.attempt + 1
        writer = RunWriter(registry, run_id=run_id, attempt=attempt, token=token)
        if row is None:
            _insert(connection, run_id, family, "running", fresh, attempt=1, token=token)
            return writer
        if row.status == "done" and not reopen:
            msg = (
                f"Run {run_id!r} is done; its curve cannot be added to. Use another run_id, "
                "or read it with Store.runs()."
            )
            raise DataError(msg)
        taken = {"attempt": attempt, "token": token, "settled": False, "folded": None}
        state = {"family": family, "status": "running"}
        times = {"heartbeat": clock(), "updated": clock()}
        values = {"attributes": row.attributes | fresh, **taken, **state, **times}
        connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))
        return writer

    return registry.transact(start, durable=True)


def plan_run(
    registry: Registry, run_id: str, *, family: str, attributes: Mapping[str, Any] | None
) -> None:
    """Say that a run will come; see ``Store.plan_run``."""
    fresh = clean_attributes(attributes or {})
    check_run_id(run_id)
    check_family(family)

    def plan(connection: sa.Connection, _again: bool) -> None:
        bump(connection, "revision")
        row = _state(connection, run_id)
        if row is None:
            _insert(connection, run_id, family, "planned", fresh, attempt=0, token=0)
            return
        if row.status != "planned":
            msg = f"Run {run_id!r} is {row.status!r} and cannot be planned. Use another run_id."
            raise DataError(msg)
        values = {"attributes": fresh, "family": family, "updated": clock()}
        connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

    registry.transact(plan)


def last_step(registry: Registry, run_id: str) -> int | None:
    """Return the largest step a run has, consolidated or live; None without one."""
    with registry.read() as connection:
        settled = sa.select(runs.c.last_step).where(runs.c.run_id == run_id)
        packed = sa.select(points.c.packed).where(points.c.run_id == run_id)
        found = [connection.execute(settled).scalar()]
        live = connection.execute(packed).scalars().all()
    found += [int(unpack(batch)["step"].max(initial=-1)) for batch in live]
    return max((step for step in found if step is not None and step >= 0), default=None)


def _state(connection: sa.Connection, run_id: str) -> sa.Row[Any, Any, Any] | None:
    # Locked: its own writer may be ending it at this moment.
    columns = (runs.c.status, runs.c.attempt, runs.c.attributes)
    query = sa.select(*columns).where(runs.c.run_id == run_id).with_for_update()
    return connection.execute(query).first()


def _insert(
    connection: sa.Connection,
    run_id: str,
    family: str,
    status: str,
    attributes: dict[str, float | str],
    *,
    attempt: int,
    token: int,
) -> None:
    row = {"run_id": run_id, "family": family, "status": status, "attributes": attributes}
    beat = clock() if status == "running" else None
    times = {"heartbeat": beat, "created": clock(), "updated": clock()}
    state = {"attempt": attempt, "token": token, "settled": False, "n_records": 0}
    connection.execute(sa.insert(runs).values(**row, **times, **state))
