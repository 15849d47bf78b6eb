"""Repair what `find_problems` finds, where the store still holds what is needed.

Nothing that was acknowledged is dropped. A curve counts as found again only when its content
matches the sha256 in the registry; an older part of a curve is put back where nothing better is
left, and the store goes on saying that the rest is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa
import xarray as xr

from workbench.errors import DataError
from workbench.schema import run_names, take_runs
from workbench.store.check import curve_problems, readable, unfolded
from workbench.store.consolidate import consolidate_change, facts_of, rows_of
from workbench.store.digest import digests
from workbench.store.history import recorded
from workbench.store.publish import Change, publish
from workbench.store.registry import Registry, bump, clock, generations, runs, value_of
from workbench.store.snapshot import Snapshot, assemble, join_runs, live_records, take_snapshot
from workbench.store.table import SUMMARY
from workbench.store.tier import CurveTier, Found
from workbench.text import plural


@dataclass(frozen=True)
class Repair:
    """What a repair did, and what is left.

    Parameters
    ----------
    repaired : tuple of str
        One sentence for each thing it did.
    problems : tuple of str
        What is still wrong.
    """

    repaired: tuple[str, ...]
    problems: tuple[str, ...]


def repair_store(tier: CurveTier, registry: Registry) -> tuple[str, ...]:
    """Repair what can be repaired; return one sentence for each thing done.

    Parameters
    ----------
    tier : CurveTier
        Where its consolidated curves lie.
    registry : Registry
        Of the same store.

    Returns
    -------
    tuple of str

    Raises
    ------
    DataError
        If the registry cannot be read or written.
    """
    done = _correct_rows(tier, registry)
    freed = _free_points(tier, registry)
    done += [*freed, *_rebuild(tier, registry)]
    done += _correct_rows(tier, registry)  # some may have come back with their curves
    if freed and (moved := consolidate_change(tier, registry)):
        done.append(f"Points of {plural(moved, 'run')} are folded into the consolidated curves.")
    return (*done, *_clear_up(tier, registry))


def _free_points(tier: CurveTier, registry: Registry) -> list[str]:
    """Let points count again that are in no curve, though the registry says so."""
    snapshot = take_snapshot(registry, everything=True)
    here = _read(tier, _newest(snapshot))
    lacking = {} if here is None else unfolded(snapshot, here)
    marks = {} if here is None else digests(here)
    beside = [
        row.run_id
        for row in snapshot.rows
        if row.settled
        and row.run_id in snapshot.tails
        and (row.folded is None or (row.run_id in lacking and marks[row.run_id] == row.digest))
    ]
    behind = {
        row.run_id: max(attempt for attempt, _ in snapshot.tails[row.run_id])
        for row in snapshot.rows
        if any(attempt > row.attempt for attempt, _ in snapshot.tails.get(row.run_id, ()))
    }
    if not beside and not behind:
        return []
    with registry.write(durable=True) as connection:
        value_of(connection, "generation", lock=True)
        bump(connection, "revision")
        for name in beside:
            own = sa.update(runs).where(runs.c.run_id == name)
            connection.execute(own.values(settled=False, folded=None))
        for name, attempt in behind.items():
            own = sa.update(runs).where((runs.c.run_id == name) & (runs.c.attempt < attempt))
            connection.execute(own.values(attempt=attempt))
    return [
        *(f"Live points of run {name!r} count again beside its curve." for name in beside),
        *(f"The attempts of run {name!r} are those of its points." for name in behind),
    ]


def _rebuild(tier: CurveTier, registry: Registry) -> list[str]:
    """Publish a generation with every curve that is missing now and can be had elsewhere."""
    done: list[str] = []
    before = 0

    def build(snapshot: Snapshot) -> Change | None:
        nonlocal before
        done.clear()
        before = snapshot.generation
        wanted = {row.run_id: row.digest for row in snapshot.rows if row.digest is not None}
        if not before:
            return None
        newest = _newest(snapshot)
        with registry.read() as connection:
            kept = recorded(connection)
        others = [entry for entry in tier.found(kept) if entry != newest]
        sources = [_read(tier, entry, wanted) for entry in (newest, *others)]
        present = digests(sources[0]) if sources[0] is not None else {}
        if all(present.get(name) == mark for name, mark in wanted.items()):
            return None
        best = _best(wanted, [source for source in sources if source is not None])
        best = _best(wanted, [part for part in (_from_points(snapshot, best), best) if part])
        new = digests(best) if best is not None else {}
        if best is None or new == present:
            return None
        done.extend(_sentences(wanted, present, new))
        # The generation is locked: what was built on it holds, whichever run is resumed meanwhile.
        return Change(best, lambda _connection: True)

    publish(tier, registry, build, everything=True)
    if done and curve_problems(tier, take_snapshot(registry)):
        kept_aside = tier.set_aside(before)
        done += [] if kept_aside is None else [kept_aside]
    return done


def _newest(snapshot: Snapshot) -> Found:
    return Found(snapshot.generation, snapshot.curves)


def _read(
    tier: CurveTier, entry: Found, wanted: Mapping[str, str] | None = None
) -> xr.Dataset | None:
    """Read what can be read of a generation; of a damaged one the curves that are as `wanted`."""
    if not entry.generation:
        return None
    try:
        return readable(tier.open(*entry))[0]
    except DataError:
        if wanted is None:
            return None
    try:
        held = readable(tier.open(*entry, damaged=True))[0]
    except DataError:
        return None
    exact = np.array([wanted.get(n) == mark for n, mark in digests(held).items()], dtype=bool)
    return take_runs(held, exact) if exact.any() else None


def _best(wanted: Mapping[str, str], sources: Sequence[xr.Dataset]) -> xr.Dataset | None:
    """Take of each run the curve that was written, else that of the first source that has one."""
    marks = [digests(source) for source in sources]
    chosen: dict[str, int] = {}
    for number, source in enumerate(marks):
        for name, mark in source.items():
            old = chosen.get(name)
            exact = wanted.get(name) == mark
            if old is None or (exact and marks[old][name] != mark):
                chosen[name] = number
    parts = [
        take_runs(source, np.array([chosen[name] == number for name in marks[number]], dtype=bool))
        for number, source in enumerate(sources)
        if number in chosen.values()
    ]
    return join_runs(parts) if parts else None


def _from_points(snapshot: Snapshot, best: xr.Dataset | None) -> xr.Dataset | None:
    """Make the curves again whose points the lost generation had taken in."""
    marks = {} if best is None else digests(best)
    lost = [
        replace(row, settled=False)
        for row in snapshot.rows
        if row.settled and row.folded is not None and marks.get(row.run_id) != row.digest
    ]
    found = replace(snapshot, rows=tuple(lost))
    under = None if best is None else best.assign_attrs(path="the generation being built")
    return assemble(lost, live_records(found, under))


def _sentences(
    wanted: dict[str, str], present: dict[str, str], chosen: dict[str, str]
) -> list[str]:
    said = []
    for name, mark in chosen.items():
        if present.get(name) == mark:
            continue
        whole = wanted.get(name) == mark
        what = "is back as it was written" if whole else "is back in an older state"
        said.append(f"The curve of run {name!r} {what}.")
    return said


def _correct_rows(tier: CurveTier, registry: Registry) -> list[str]:
    """Bring rows of the registry in line with curves that are as they were written."""
    while True:
        snapshot = take_snapshot(registry)
        here = _read(tier, _newest(snapshot))
        if here is None:
            return []
        known = {row.run_id: row for row in snapshot.rows}
        facts = facts_of(here, digests(here))
        lost = [name for name in facts if name not in known]
        wrong = {
            name: {key: facts[name][key] for key in SUMMARY}
            for name, row in known.items()
            if name in facts
            and row.digest == facts[name]["digest"]
            and any(getattr(row, key) != facts[name][key] for key in SUMMARY)
        }
        if not lost and not wrong:
            return []
        missing = take_runs(here, np.isin(run_names(here), lost))
        again = rows_of(missing, digests(missing)) if lost else []
        if _write_rows(registry, snapshot.generation, again, wrong):
            return [
                *(f"Run {name!r} is in the registry again." for name in lost),
                *(
                    f"The registry states the records of run {name!r} as they are."
                    for name in wrong
                ),
            ]


def _write_rows(
    registry: Registry,
    generation: int,
    again: list[dict[str, Any]],
    wrong: dict[str, dict[str, Any]],
) -> bool:
    with registry.write(durable=True) as connection:
        if value_of(connection, "generation", lock=True) != generation:
            return False
        bump(connection, "revision")
        if again:
            times = {"created": clock(), "updated": clock()}
            connection.execute(sa.insert(runs).values(**times), again)
        for name, values in wrong.items():
            connection.execute(sa.update(runs).where(runs.c.run_id == name).values(**values))
    return True


def _clear_up(tier: CurveTier, registry: Registry) -> list[str]:
    """Let the place of the curves name the newest generation, and remove leftovers."""
    sound = not curve_problems(tier, take_snapshot(registry))
    with registry.write() as connection:  # locked: nobody is publishing at this moment
        value_of(connection, "generation", lock=True)
        done, gone = tier.mend(recorded(connection), sound=sound)
        connection.execute(sa.delete(generations).where(generations.c.generation.in_(gone)))
    return [*done, *(f"Generation {number} is gone, and not named any more." for number in gone)]
