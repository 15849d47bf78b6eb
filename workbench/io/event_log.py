"""What event files hold: scalars as columns in the order they were written, and the rest beside."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.io.event_record import Event


class Point(NamedTuple):
    """The scalars of a log as columns of shape (point,), in the order they were written."""

    tag: NDArray[np.int32]
    step: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    value: NDArray[np.float64]

    def at(self, chosen: NDArray[Any] | slice) -> Point:
        """Return the points that a mask, positions or a slice choose, in that order."""
        tag, step, wall, value = self
        return Point(tag[chosen], step[chosen], wall[chosen], value[chosen])


class EventLog:
    """What one or several event files of a run hold.

    Attributes
    ----------
    tags : list of bytes
        Tags of scalars in the order they appear; a point gives its number.
    restarts : list of (point count, step)
        What came before the count and lies at the step or later is void.
    texts : dict of tag to list of str
        Text summaries, without repetitions.
    hparams : dict of str to value
        Of the hparams plug-in; the last session counts.
    left_out : Counter of str
        What was not taken, by kind.
    notes : list of str
        Damage that was met.
    first_time : float
        Wall time of the first record that has one; infinite without any.
    """

    def __init__(self) -> None:
        self.tags: list[bytes] = []
        self.restarts: list[tuple[int, int]] = []
        self.texts: dict[str, list[str]] = {}
        self.hparams: dict[str, Any] = {}
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []
        self.first_time = math.inf
        self._columns: tuple[array[Any], ...] = array("i"), array("q"), array("d"), array("d")
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return the number of scalars."""
        return len(self._columns[0])

    @property
    def points(self) -> Point:
        """The scalars."""
        tag, step, wall, value = (np.frombuffer(own, own.typecode) for own in self._columns)
        return Point(tag, step, wall, value)

    def take(self, event: Event) -> None:
        """Take one record."""
        if self.first_time == math.inf and math.isfinite(event.wall_time):
            self.first_time = event.wall_time
        if event.restarts:
            self.restarts.append((len(self), event.step))
        for tag, value in event.scalars:
            item = self._number(tag), event.step, event.wall_time, value
            for own, one in zip(self._columns, item, strict=True):
                own.append(one)
        for name, said in event.texts:
            known = self.texts.setdefault(name, [])
            if said not in known[-1:]:
                known.append(said)
        self.hparams.update(event.hparams)
        self.left_out.update(event.left_out)

    def _number(self, tag: bytes) -> int:
        number = self._numbers.get(tag)
        if number is None:
            number = self._numbers[tag] = len(self.tags)
            self.tags.append(tag)
        return number

    def extend(self, *columns: NDArray[Any]) -> None:
        """Take many scalars: tag numbers, steps, wall times and values."""
        if self.first_time == math.inf and np.isfinite(columns[2]).any():
            self.first_time = float(columns[2][np.isfinite(columns[2])][0])
        for own, more in zip(self._columns, columns, strict=True):
            own.frombytes(np.ascontiguousarray(more, own.typecode).data.cast("B"))

    def join(self, later: EventLog) -> None:
        """Take over what a file that was started later holds."""
        numbers = [self._number(tag) for tag in later.tags]
        self.restarts += [(len(self) + count, step) for count, step in later.restarts]
        tag, *rest = later.points
        self.extend(np.asarray(numbers, np.int32)[tag], *rest)
        for name, said in later.texts.items():
            self.texts.setdefault(name, []).extend(said)
        self.hparams.update(later.hparams)
        self.left_out.update(later.left_out)
        self.notes += later.notes
        self.first_time = min(self.first_time, later.first_time)
