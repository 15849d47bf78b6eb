"""Publish a new generation: build it aside, then make it the current one in a single transaction.

The registry's transaction is the one moment of truth: it names the generation, settles its runs and
drops the live points that went into the one before, all or nothing. Publishing is optimistic:
whoever finds that another generation came first builds again on top of it, so a killed process
leaves no lock.
``CURRENT`` names the same generation for tools that read Zarr and not the registry.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import xarray as xr

from workbench.store.generation import (
    generation_path,
    point_to,
    remove_generations,
    sync_path,
    write_generation,
)
from workbench.store.registry import Registry, bump, drop_folded, value_of
from workbench.store.snapshot import Snapshot, take_snapshot

_ABANDONED_SECONDS = 24 * 3600


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
    root: Path,
    registry: Registry,
    build: Callable[[Snapshot], Change | None],
    *,
    everything: bool = False,
) -> bool:
    """Build a change on the present state and publish it, again until no one came in between.

    Parameters
    ----------
    root : Path
        The store.
    registry : Registry
        Its registry.
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
        partial = write_generation(root, change.runs)
        try:
            number = _commit(root, registry, snapshot, change, partial)
        except _OvertakenError:
            continue
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        point_to(root, number)
        _tidy(root, number)
        return True


def _commit(
    root: Path, registry: Registry, snapshot: Snapshot, change: Change, partial: Path
) -> int:
    with registry.write(durable=True) as connection:
        if value_of(connection, "generation", lock=True) != snapshot.generation:
            raise _OvertakenError
        bump(connection, "revision")
        drop_folded(connection)
        if not change.apply(connection):
            raise _OvertakenError
        number = bump(connection, "generation")
        target = generation_path(root, number)
        if target.exists():  # left by a process that was killed before it committed
            shutil.rmtree(target)
        partial.rename(target)
        sync_path(root)
        return number


def _tidy(root: Path, number: int) -> None:
    remove_generations(root, before=number - 1)  # the last one stays for readers in the middle
    for path in root.glob("*.partial"):
        if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
