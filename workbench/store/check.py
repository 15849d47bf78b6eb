"""Verify a store: every batch, every count, every curve, every file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.schema import iter_runs, run_names, take_runs
from workbench.store.batches import unpack
from workbench.store.digest import digests
from workbench.store.generation import load_runs
from workbench.store.snapshot import RunRow, Snapshot, attempts_of, join_runs, read_settled
from workbench.store.table import SUMMARY, summaries
from workbench.store.tier import CurveTier, Generation


def find_problems(
    tier: CurveTier, snapshot: Snapshot, kept: Sequence[Generation]
) -> tuple[str, ...]:
    """Return what is wrong with a store, one sentence per problem; empty when it is sound.

    Parameters
    ----------
    tier : CurveTier
        Where its consolidated curves lie.
    snapshot : Snapshot
        Its registry at one moment, everything in it.
    kept : sequence of Generation
        The generations it says are kept.

    Returns
    -------
    tuple of str
    """
    rows = {row.run_id: row for row in snapshot.rows}
    return (
        *_tails(snapshot, rows),
        *curve_problems(tier, snapshot),
        *_place(tier, kept),
    )


def _tails(snapshot: Snapshot, rows: dict[str, RunRow]) -> list[str]:
    problems = []
    for run_id, batches in snapshot.tails.items():
        row = rows.get(run_id)
        if row is None:
            problems.append(f"points of run {run_id!r}, which is not in the registry.")
            continue
        if row.settled and row.folded is None:
            problems.append(f"run {run_id!r} is consolidated and still has live points.")
        foreign = sorted({a for a, _ in batches if not 1 <= a <= row.attempt})
        if foreign:
            problems.append(f"points of run {run_id!r} of attempt {foreign[0]}, never started.")
        for attempt, packed in batches:
            try:
                unpack(packed)
            except DataError as error:
                problems.append(f"run {run_id!r}, attempt {attempt}: {error}")
    return problems


def curve_problems(tier: CurveTier, snapshot: Snapshot) -> list[str]:
    """Return in what the consolidated curves are not those the registry speaks of."""
    rows = {row.run_id: row for row in snapshot.rows}
    expected = {run_id: row for run_id, row in rows.items() if row.digest is not None}
    broken: list[str] = []
    try:
        settled = read_settled(tier, snapshot)
    except DataError as error:
        broken.append(str(error))
        try:
            settled = tier.open(snapshot.generation, snapshot.curves, damaged=True)
        except DataError:
            return broken
    if settled is None:
        return [f"run {run_id!r} should be consolidated and is not." for run_id in expected]
    held, unread = readable(settled)
    problems = [*broken, *unread]
    found, sums = digests(held), summaries(held)
    there = {*run_names(settled)}
    problems += [
        f"run {name!r} is consolidated but not in the registry." for name in there - rows.keys()
    ]
    problems += [
        f"run {name!r} should be consolidated and is not." for name in expected if name not in there
    ]
    for name, row in expected.items():
        if name in found:
            problems += _differences(row, found[name], sums[name])
    problems += [
        f"run {name!r} has live points that its consolidated curve lacks."
        for name in unfolded(snapshot, held)
    ]
    return problems


def readable(settled: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Read the records of an opened generation, and say which runs of it are damaged.

    Returns
    -------
    tuple of (Dataset (run, obs), list of str)
        The runs that can be read, in memory; one sentence for each of the others.
    """
    try:
        return load_runs(settled, np.arange(settled.sizes["run"])), []
    except DataError:
        parts, problems = [], []
    for position in range(settled.sizes["run"]):
        try:
            parts.append(load_runs(settled, np.array([position])))
        except DataError as error:
            problems.append(str(error))
    return join_runs(parts), problems


def unfolded(snapshot: Snapshot, held: xr.Dataset) -> list[str]:
    """Return the runs with points that count as taken into their curve and are not in it.

    Parameters
    ----------
    snapshot : Snapshot
        With the points of settled runs.
    held : Dataset (run, obs)
        The consolidated curves.
    """
    folded = {row.run_id for row in snapshot.rows if row.settled and row.folded is not None}
    waiting = np.isin(run_names(held), list(folded & set(snapshot.tails)))
    if not waiting.any():
        return []
    both = iter_runs(take_runs(held, waiting))
    return [name for name, run in both if not _holds(run, snapshot.tails[name])]


def _holds(run: xr.Dataset, batches: Sequence[tuple[int, bytes]]) -> bool:
    try:
        logged = attempts_of(batches)
    except DataError:
        return True  # said elsewhere
    steps = run["step"].to_numpy()
    place = np.searchsorted(steps, logged["step"])
    if (place >= len(steps)).any():
        return False
    return all(
        _agree(values, run[column].to_numpy()[place] if column in run.variables else None)
        for column, values in logged.items()
    )


def _agree(logged: NDArray[np.generic], curve: NDArray[np.generic] | None) -> bool:
    known = ~np.isnan(logged.astype(np.float64))
    return not known.any() if curve is None else bool((logged[known] == curve[known]).all())


def _differences(row: RunRow, digest: str, sums: dict[str, Any]) -> Iterator[str]:
    if digest != row.digest:
        yield f"the consolidated curve of run {row.run_id!r} is not what was written."
    for name in SUMMARY:
        noted, real = getattr(row, name), sums[name]
        if name == "n_records" and noted != real:
            yield f"run {row.run_id!r} has {real} records, expected {noted}."
        elif noted != real:
            yield f"run {row.run_id!r} has {name} {real}, the registry says {noted}."


def _place(tier: CurveTier, kept: Sequence[Generation]) -> tuple[str, ...]:
    try:
        return tier.problems(kept)
    except DataError as error:
        return (str(error),)
