"""Publish a new generation: build it aside, then make it the current one in a single transaction.

The registry's transaction is the one moment of truth: it names the generation, settles its runs and
drops the live points that went into the one before, all or nothing. Publishing is optimistic:
whoever finds that another generation came first builds again on top of it, so a killed process
leaves no lock.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
import xarray as xr

from workbench.errors import CollapseWarning, DataError
from workbench.store.history import record
from workbench.store.registry import Registry, bump, drop_folded, value_of
from workbench.store.snapshot import Snapshot, take_snapshot
from workbench.store.tier import Aside, CurveTier, Generation


@dataclass(frozen=True)
class Change:
    """What a publication does.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Everything the new generation holds.
    apply : callable of Connection -> bool
        Brings the registry in line within the transaction. False when the registry has moved on,
        and the change must be built again.
    """

    runs: xr.Dataset
    apply: Callable[[sa.Connection], bool]


class _OvertakenError(Exception):
    """Another publication, or a resumed run, came first."""


def publish(
    tier: CurveTier,
    registry: Registry,
    build: Callable[[Snapshot], Change | None],
    *,
    everything: bool = False,
) -> bool:
    """Build a change on the present state and publish it, again until no one came in between.

    Parameters
    ----------
    tier : CurveTier
        Where the store keeps its consolidated curves.
    registry : Registry
        The registry of the store.
    build : callable of Snapshot -> Change or None
        Computes the change; None when there is nothing to do.
    everything : bool
        As for `take_snapshot`.

    Returns
    -------
    bool
        Whether anything was published.
    """
    while True:
        snapshot = take_snapshot(registry, everything=everything)
        change = build(snapshot)
        if change is None:
            return False
        aside = tier.write(change.runs, snapshot.generation + 1)
        try:
            kept = _commit(tier, registry, snapshot, change, aside)
        except _OvertakenError:
            continue
        finally:
            tier.discard(aside)
        _clear_up(tier, aside, kept)
        return True


def _commit(
    tier: CurveTier, registry: Registry, snapshot: Snapshot, change: Change, aside: Aside
) -> tuple[Generation, ...]:
    with registry.write(durable=True) as connection:
        if value_of(connection, "generation", lock=True) != snapshot.generation:
            raise _OvertakenError
        bump(connection, "revision")
        drop_folded(connection)
        if not change.apply(connection):
            raise _OvertakenError
        bump(connection, "generation")
        kept = record(connection, tier, aside, n_runs=change.runs.sizes["run"])
        tier.publish(aside)
        return kept


def _clear_up(tier: CurveTier, aside: Aside, kept: tuple[Generation, ...]) -> None:
    try:
        tier.announce(aside)
        tier.tidy(kept)
    except DataError as error:  # the generation is published; the next one does this again
        msg = f"Generation {aside.number} is published, and clearing up after it failed: {error}"
        warnings.warn(msg, CollapseWarning, stacklevel=2)
