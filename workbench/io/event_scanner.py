"""The two ways through the records of an event file: compiled where numba is, else interpreted.

Both stop at a record that `event_record` must look at. To the interpreted one every record is such;
the compiled one takes plain scalars itself, ten to twenty times as fast, once it is loaded.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.io.crc32c import HEADER, checksum, tables
from workbench.io.event_log import EventLog

SMALL = 1 << 18  # below it loading the compiled scanner takes longer than reading without
MORE, SPECIAL, DAMAGED, LOST = 0, 1, 2, 3
FRAME = struct.Struct("<QI")


class Window(Protocol):
    """Part of a file, as array and view: records not yet taken stand in ``data[at:end]``."""

    data: NDArray[np.uint8]
    view: memoryview
    at: int
    end: int


def has_kernel() -> bool:
    """Tell whether the compiled scanner can be used: whether numba is installed."""
    return _kernel() is not None


def repays_kernel(size: int) -> bool:
    """Tell whether a file of `size` bytes is read sooner with the compiled scanner."""
    return (size >= SMALL or bool(_kernel.cache_info().currsize)) and has_kernel()


@cache
def _kernel() -> Any:
    """Return the module of the compiled scanner, or None where numba is not installed."""
    try:
        from workbench.io import event_kernel
    except ImportError:
        return None
    return event_kernel


def scan_plainly(window: Window) -> int:
    """Check the next record and say what it is: never taken, but `SPECIAL` if it is whole."""
    view, at, left = window.view, window.at, window.end - window.at
    if left < HEADER:
        return MORE
    length, check = FRAME.unpack_from(view, at)
    if checksum(bytes(view[at : at + 8])) != check:
        return LOST
    if length > left - HEADER - 4:
        return MORE
    stop = at + HEADER + length
    stored = int.from_bytes(view[stop : stop + 4], "little")
    return SPECIAL if checksum(bytes(view[at + HEADER : stop])) == stored else DAMAGED


class CompiledScan:
    """The compiled scanner, with the tags it knows so far and room for what it finds.

    Parameters
    ----------
    log : EventLog
        Receives scalars; the tags that others entered there are known from the next call on.
    """

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self._known = 0
        self._slots = np.full(64, -1, np.int32)
        self._tags = np.empty(1024, np.uint8)
        self._bounds = np.zeros(64, np.int64)
        self._out: list[NDArray[Any]] = [np.empty(0)]

    def __call__(self, window: Window) -> int:
        """Take records up to the first that is not plain, move the window there and say why."""
        for tag in self.log.tags[self._known :]:
            self._learn(tag)
        room = (window.end - window.at) // 7 + 1  # a scalar takes seven bytes at least
        if len(self._out[0]) < room:
            kinds = (np.int32, np.int64, np.float64, np.float64)
            self._out = [np.empty(room, kind) for kind in kinds]
        names = self._slots, self._tags, self._bounds
        window.at, count, reason = _kernel().scan(
            window.data, window.at, window.end, tables(), *names, tuple(self._out)
        )
        self.log.extend(*(column[:count] for column in self._out))
        return int(reason)

    def _learn(self, tag: bytes) -> None:
        number, first = self._known, int(self._bounds[self._known])
        last = first + len(tag)
        if last > len(self._tags):
            self._tags = np.concatenate([self._tags, np.empty(last + 1024, np.uint8)])
        self._tags[first:last] = np.frombuffer(tag, np.uint8)
        self._bounds[number + 1] = last
        self._known += 1
        if 2 * self._known < len(self._slots):
            self._enter(number)
            return
        self._slots = np.full(4 * len(self._slots), -1, np.int32)
        self._bounds = np.concatenate([self._bounds, np.zeros(3 * len(self._bounds), np.int64)])
        for each in range(self._known):
            self._enter(each)

    def _enter(self, number: int) -> None:
        first, last = int(self._bounds[number]), int(self._bounds[number + 1])
        names = self._slots, self._tags, self._bounds
        self._slots[_kernel().tag_slot(*names, self._tags, first, last)] = number
