"""Which generations a store can still read, and which of them a moment in the past means."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.schema import coordinate_names, run_names
from workbench.store.generation import load_runs
from workbench.store.registry import generations
from workbench.store.snapshot import RunRow, Snapshot
from workbench.store.table import SUMMARY, summaries
from workbench.store.tier import Aside, CurveTier, Generation

Moment = int | str | datetime


def recorded(connection: sa.Connection) -> tuple[Generation, ...]:
    """Return the generations that are kept, oldest first."""
    rows = connection.execute(sa.select(generations).order_by(generations.c.generation))
    return tuple(
        Generation(row.generation, datetime.fromtimestamp(row.time, UTC), row.n_runs, row.snapshot)
        for row in rows
    )


def record(
    connection: sa.Connection, tier: CurveTier, aside: Aside, *, n_runs: int
) -> tuple[Generation, ...]:
    """Add a generation to the registry in the transaction that publishes it; return those to keep.

    The others leave the registry here, before `CurveTier.tidy` removes them, so that no reader
    begins with one that is going.
    """
    earlier = recorded(connection)
    # Clocks of several machines differ; the times of generations must rise with their numbers.
    now = max([time.time(), *(entry.time.timestamp() for entry in earlier[-1:])])
    moment = datetime.fromtimestamp(now, UTC)
    kept = tier.kept((*earlier, Generation(aside.number, moment, n_runs, aside.snapshot)))
    oldest = sa.delete(generations).where(
        generations.c.generation.not_in([entry.generation for entry in kept])
    )
    connection.execute(oldest)
    row = {"generation": aside.number, "time": now, "n_runs": n_runs, "snapshot": aside.snapshot}
    connection.execute(sa.insert(generations), row)
    return kept


def find(kept: Sequence[Generation], at: Moment, *, place: str) -> Generation:
    """Return the generation that a moment means.

    Parameters
    ----------
    kept : sequence of Generation
        Oldest first.
    at : int, str or datetime
        A generation's number, the identifier of its snapshot, or a date and time, which means the
        last generation published until then. Without an offset it is UTC.
    place : str
        For messages.

    Raises
    ------
    ArgumentError
        If `at` is none of these.
    DataError
        If that generation is not kept; the message says which are.
    """
    wanted = _meant(kept, at)
    if isinstance(wanted, datetime):
        found = [entry for entry in kept if entry.time <= wanted][-1:]
        what = f"No generation published until {wanted.isoformat(timespec='seconds')}"
    else:
        found = [entry for entry in kept if wanted in (entry.generation, entry.snapshot)]
        what = f"Generation {wanted}"
    if not found:
        msg = f"{what} is not kept in {place}. {_there(kept)}"
        raise DataError(msg)
    return found[0]


def _meant(kept: Sequence[Generation], at: Moment) -> int | str | datetime:
    if isinstance(at, datetime):
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    if isinstance(at, str):
        text = at.strip()
        if any(text == entry.snapshot for entry in kept):
            return text
        if text.isdecimal():
            return int(text)
        try:
            return _meant(kept, datetime.fromisoformat(text))
        except ValueError:
            return _snapshot_of(text, at)
    if isinstance(at, int | np.integer) and not isinstance(at, bool):
        return int(at)
    return _snapshot_of("", at)


def _snapshot_of(text: str, at: object) -> str:
    if text.isalnum() and text.isascii() and text.isupper():
        return text
    msg = (
        f"at={at!r} is no moment of a store. Give the number of a generation, the identifier of a "
        "snapshot, or a date and time such as 2026-03-31T12:00."
    )
    raise ArgumentError(msg)


def _there(kept: Sequence[Generation]) -> str:
    if not kept:
        return "It keeps none yet; they come with an import, or when ended runs are consolidated."
    first, last = kept[0], kept[-1]
    span = f"{first.generation}" if len(kept) == 1 else f"{first.generation} to {last.generation}"
    times = " to ".join(
        dict.fromkeys(entry.time.isoformat(timespec="seconds") for entry in (first, last))
    )
    return f"Kept are generation {span}, published {times}; leave at= away for the present state."


def past(generation: Generation, settled: xr.Dataset, *, summarised: bool) -> Snapshot:
    """Return the registry as an opened generation tells it: its runs, all of them settled.

    Parameters
    ----------
    generation : Generation
        Which one.
    settled : Dataset (run, obs)
        The same, opened.
    summarised : bool
        Say where each run stands; this reads its records.
    """
    names = coordinate_names(settled)
    columns = {name: settled[name].to_numpy().tolist() for name in names}
    sums: dict[str, dict[str, Any]] = {}
    if summarised:
        sums = summaries(load_runs(settled, np.arange(len(columns["run_id"]))))
    rows = []
    for i, run_id in enumerate(run_names(settled)):
        known = {n: v[i] for n, v in columns.items() if v[i] == v[i] and v[i] != ""}
        own = {name: str(known.pop(name, "")) for name in ("run_id", "family", "status")}
        progress = sums.get(run_id, dict.fromkeys(SUMMARY, None) | {"n_records": 0})
        fixed: dict[str, Any] = {"attempt": 0, "token": 0, "settled": True}
        fixed |= dict.fromkeys(("folded", "digest", "heartbeat"))
        rows.append(RunRow(**{**own, **fixed, **progress, "attributes": known}))
    return Snapshot(0, generation.generation, generation.snapshot, tuple(rows), {})
