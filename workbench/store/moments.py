"""Read a store at one moment: now, undisturbed by what is published meanwhile, or before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import xarray as xr

from workbench.errors import DataError
from workbench.store.history import Moment, find, past, recorded
from workbench.store.registry import Registry, value_of
from workbench.store.snapshot import Snapshot, take_snapshot
from workbench.store.tier import CurveTier, Generation

_T = TypeVar("_T")


def kept(registry: Registry) -> list[Generation]:
    """Return the generations that can still be read, oldest first."""
    with registry.read() as connection:
        return list(recorded(connection))


def read_now(
    registry: Registry,
    curves: CurveTier,
    read: Callable[[Snapshot], _T],
    *,
    unsettled_only: bool = False,
    everything: bool = False,
) -> _T:
    """Return what `read` makes of the present moment, read again if it was overtaken.

    Parameters
    ----------
    registry, curves
        Of the store.
    read : callable of Snapshot
        May be called more than once.
    unsettled_only, everything : bool
        As for `take_snapshot`.
    """
    # Generation g is removed only after g + 2 was published. In a folder Zarr reads a missing
    # chunk as fill values, so what was read counts only if g + 1 was the newest at the end.
    while True:
        snapshot = take_snapshot(registry, unsettled_only=unsettled_only, everything=everything)
        failure: DataError | None = None
        try:
            found = read(snapshot)
        except DataError as error:
            failure = error
        with registry.read() as connection:
            newest = value_of(connection, "generation")
        overtaken = newest > snapshot.generation + 1
        if overtaken and (failure is not None or not curves.loud):
            continue
        if failure is not None:
            raise failure
        return found


def read_past(
    registry: Registry,
    curves: CurveTier,
    read: Callable[[Snapshot, xr.Dataset], _T],
    *,
    at: Moment,
    place: str,
    summarised: bool,
) -> _T:
    """Return what `read` makes of an earlier generation.

    Parameters
    ----------
    registry, curves
        Of the store.
    read : callable of (Snapshot, Dataset)
        The registry as that generation tells it, and the generation.
    at : int, str or datetime
        Which one; see `find`.
    place : str
        What messages call the store.
    summarised : bool
        As for `past`.

    Raises
    ------
    ArgumentError
        If `at` is no moment.
    DataError
        If it is not kept, or was removed while it was read.
    """
    entry = find(kept(registry), at, place=place)
    failure: DataError | None = None
    try:
        settled = curves.open(entry.generation, entry.snapshot)
        found = read(past(entry, settled, summarised=summarised), settled)
    except DataError as error:
        failure = error
    gone = entry not in kept(registry)
    if gone and (failure is not None or not curves.loud):
        msg = (
            f"Generation {entry.generation} of {place!r} was removed while it was read. See "
            "Store.history() for those that are kept."
        )
        raise DataError(msg)
    if failure is not None:
        raise failure
    return found
