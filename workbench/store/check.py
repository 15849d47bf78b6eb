"""Verify a store: every batch, every count, every curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.errors import DataError
from workbench.schema import run_names
from workbench.store.batches import unpack
from workbench.store.digest import digests
from workbench.store.generation import load_runs
from workbench.store.snapshot import RunRow, Snapshot, read_settled
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
        Its registry at one moment.
    kept : sequence of Generation
        The generations it says are kept.

    Returns
    -------
    tuple of str
    """
    rows = {row.run_id: row for row in snapshot.rows}
    return (*_tails(snapshot, rows), *_generation(tier, snapshot, rows), *_past(tier, kept))


def _tails(snapshot: Snapshot, rows: dict[str, RunRow]) -> list[str]:
    problems = []
    for run_id, batches in snapshot.tails.items():
        row = rows.get(run_id)
        if row is None:
            problems.append(f"points of run {run_id!r}, which is not in the registry.")
            continue
        if row.settled:
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


def _generation(tier: CurveTier, snapshot: Snapshot, rows: dict[str, RunRow]) -> list[str]:
    expected = {run_id: row for run_id, row in rows.items() if row.digest is not None}
    try:
        settled = read_settled(tier, snapshot)
        if settled is None:
            return [f"run {run_id!r} should be consolidated and is not." for run_id in expected]
        held = load_runs(settled, np.arange(settled.sizes["run"]))
    except DataError as error:
        return [str(error)]
    found = digests(held)
    problems = [
        f"run {name!r} is consolidated but not in the registry."
        for name in found
        if name not in rows
    ]
    problems += [
        f"run {name!r} should be consolidated and is not." for name in expected if name not in found
    ]
    sizes = dict(zip(run_names(held), held["row_size"].to_numpy().tolist(), strict=True))
    for name, row in expected.items():
        if name in found and found[name] != row.digest:
            problems.append(f"the consolidated curve of run {name!r} is not what was written.")
        if name in found and sizes[name] != row.n_records:
            problems.append(f"run {name!r} has {sizes[name]} records, expected {row.n_records}.")
    return problems


def _past(tier: CurveTier, kept: Sequence[Generation]) -> tuple[str, ...]:
    try:
        return tier.problems(kept[:-1])  # the last one has been read
    except DataError as error:
        return (str(error),)
