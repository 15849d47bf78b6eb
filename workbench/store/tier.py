"""Where consolidated curves lie: one small interface, whatever keeps them.

A generation is written aside, under a name no reader looks at. It becomes part of the store in the
registry's transaction and nowhere else: that names its number and, where the place has such a
thing, the immutable snapshot that holds it. So the registry and the curves cannot disagree; what a
killed process wrote aside is never read, and is removed once a later generation has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import xarray as xr


class Generation(NamedTuple):
    """One state of the consolidated curves, as the registry names it.

    Parameters
    ----------
    generation : int
        Its number, from 1.
    time : datetime
        When it was published, with an offset (UTC).
    n_runs : int
        Runs it holds.
    snapshot : str or None
        Identifier of the immutable snapshot that holds it; None in a folder.
    """

    generation: int
    time: datetime
    n_runs: int
    snapshot: str | None


class Found(NamedTuple):
    """A generation that is there, published or not.

    Parameters
    ----------
    generation : int
        Its number.
    snapshot : str or None
        As in `Generation`.
    """

    generation: int
    snapshot: str | None = None


class Mended(NamedTuple):
    """What was mended about a place of curves.

    Parameters
    ----------
    done : tuple of str
        One sentence for each thing done.
    gone : tuple of int
        Earlier generations that are lost, which the registry need not name any more.
    """

    done: tuple[str, ...]
    gone: tuple[int, ...]


class Aside(NamedTuple):
    """A generation written and not yet published.

    Parameters
    ----------
    number : int
        The number it gets if no other generation comes first.
    name : str
        Where it lies.
    snapshot : str or None
        As in `Generation`.
    """

    number: int
    name: str
    snapshot: str | None = None


class CurveTier(Protocol):
    """A place that keeps generations of consolidated curves.

    Every method raises `DataError` when the place cannot be reached, or holds something damaged.
    """

    @property
    def place(self) -> str:
        """What messages call the place; without credentials."""

    @property
    def loud(self) -> bool:
        """Whether reading what has been removed fails, rather than giving fill values."""

    def write(self, runs: xr.Dataset, number: int) -> Aside:
        """Write runs (run, obs) aside, durably, to become generation `number`."""

    def publish(self, aside: Aside) -> None:
        """Put a generation in its place; called in the registry's transaction, before it ends."""

    def discard(self, aside: Aside) -> None:
        """Drop what was not published; called after `publish` as well, and harmless then."""

    def announce(self, aside: Aside) -> None:
        """Tell tools that do not read the registry which generation is the newest."""

    def open(self, generation: int, snapshot: str | None, *, damaged: bool = False) -> xr.Dataset:
        """Open a generation (run, obs): run coordinates in memory, records still there.

        `damaged` opens one that is not whole: what it gives may be fill values.
        """

    def kept(self, generations: Sequence[Generation]) -> tuple[Generation, ...]:
        """Return those to keep of the generations, oldest first; the last two always."""

    def tidy(self, kept: Sequence[Generation]) -> None:
        """Remove generations up to the last of `kept` that are not among them."""

    def problems(self, generations: Sequence[Generation]) -> tuple[str, ...]:
        """Return what is wrong but for the newest generation, which is read; one sentence each.

        `generations` are those that the registry keeps, oldest first.
        """

    def found(self, generations: Sequence[Generation]) -> tuple[Found, ...]:
        """Return the generations that can be looked into for lost curves, newest first."""

    def set_aside(self, generation: int) -> str | None:
        """Keep a damaged generation from being removed; say so, or None where it stays anyway."""

    def mend(self, generations: Sequence[Generation], *, sound: bool) -> Mended:
        """Do again what killed processes left undone: announce the newest, remove leftovers.

        Called while nobody publishes. `sound` says that no curve is missing; without it nothing
        that may hold one is removed.
        """
