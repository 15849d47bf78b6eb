"""The compiled scanner of event files; imported only where numba is installed.

It walks the records of a window, checks both checksums, and takes the scalars that writers write
by the million: a tag that is known, with a simple value or a float tensor of one element. Any other
record it hands back, so that what a record means is decided in one place, `event_record`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numba.core.options import DefaultOptions

MORE, SPECIAL, DAMAGED, LOST = 0, 1, 2, 3


# Nothing here makes or returns an array, so that counting references to them, by atomic
# instructions at every call, would be two thirds of the time. The option is not numba's public
# promise: without it everything runs as well, only slower.
_OPTIONS: dict[str, Any] = {"nogil": True, "forceinline": True}
if hasattr(DefaultOptions, "_nrt"):
    _OPTIONS["_nrt"] = False


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call and keep the code; not kept where no folder can be written."""
    try:
        kept: Callable[..., Any] = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        kept = njit(**_OPTIONS)(function)
    return kept


@_compiled
def _u32(data: Any, at: int) -> Any:
    return (
        np.int64(data[at])
        | np.int64(data[at + 1]) << 8
        | np.int64(data[at + 2]) << 16
        | np.int64(data[at + 3]) << 24
    )


@_compiled
def _float(data: Any, at: int) -> Any:
    return np.float64(np.uint32(_u32(data, at)).view(np.float32))


@_compiled
def _double(data: Any, at: int) -> Any:
    return np.uint64(_u32(data, at) | _u32(data, at + 4) << 32).view(np.float64)


@_compiled
def _masked_crc(table: Any, data: Any, at: int, end: int) -> Any:
    crc = np.int64(0xFFFFFFFF)
    while end - at >= 8:
        crc ^= _u32(data, at)
        crc = (
            np.int64(table[7, crc & 255])
            ^ np.int64(table[6, crc >> 8 & 255])
            ^ np.int64(table[5, crc >> 16 & 255])
            ^ np.int64(table[4, crc >> 24])
            ^ np.int64(table[3, data[at + 4]])
            ^ np.int64(table[2, data[at + 5]])
            ^ np.int64(table[1, data[at + 6]])
            ^ np.int64(table[0, data[at + 7]])
        )
        at += 8
    while at < end:
        crc = crc >> 8 ^ np.int64(table[0, (crc ^ np.int64(data[at])) & 255])
        at += 1
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF


@_compiled
def _varint(data: Any, at: int, end: int) -> Any:
    """Return the value and the position after it; position -1 when it has no end."""
    value = np.uint64(0)
    shift = np.uint64(0)
    for _ in range(10):
        if at >= end:
            return np.int64(0), -1
        byte = data[at]
        at += 1
        value |= np.uint64(byte & 127) << shift
        if byte < 128:
            return np.int64(value), at
        shift += np.uint64(7)
    return np.int64(0), -1


@_compiled
def _size(data: Any, at: int, end: int) -> Any:
    """Return where a field of bytes starts and ends; -1 when it does not fit."""
    size, start = _varint(data, at, end)
    if start < 0 or size < 0 or size > end - start:
        return -1, -1
    return start, start + size


@_compiled
def tag_slot(slots: Any, tags: Any, bounds: Any, data: Any, at: int, end: int) -> Any:
    """Return where in the hash table a tag stands, or the free place where it would."""
    code = np.uint32(2166136261)
    for i in range(at, end):
        code = np.uint32((code ^ data[i]) * np.uint32(16777619))
    mask = len(slots) - 1
    slot = np.int64(code) & mask
    while slots[slot] >= 0:
        start = bounds[slots[slot]]
        if bounds[slots[slot] + 1] - start == end - at:
            same = True
            for i in range(end - at):
                if tags[start + i] != data[at + i]:
                    same = False
                    break
            if same:
                return slot
        slot = slot + 1 & mask
    return slot


@_compiled
def _float_tensor(data: Any, at: int, end: int) -> Any:
    """Return whether a tensor is one float or double written plainly, and its value."""
    dtype = np.int64(0)
    kind = 0  # 4: a float was found, 8: a double, 1: raw bytes of either
    found = np.int64(0)
    size = np.int64(0)
    while at < end:
        key = data[at]
        at += 1
        if key == 0x08 or key == 0x18:  # dtype, version
            value, at = _varint(data, at, end)
            if at < 0:
                return False, 0.0
            dtype = value if key == 0x08 else dtype
        elif key == 0x12:  # shape: only the empty one
            if at >= end or data[at] != 0:
                return False, 0.0
            at += 1
        elif key == 0x22 or key == 0x2A or key == 0x32:  # content, packed floats, packed doubles
            start, stop = _size(data, at, end)
            if start < 0 or kind != 0:
                return False, 0.0
            kind = 1 if key == 0x22 else 4 if key == 0x2A else 8
            found, size, at = start, stop - start, stop
        elif key == 0x2D or key == 0x31:  # one float, one double
            size = np.int64(4 if key == 0x2D else 8)
            if end - at < size or kind != 0:
                return False, 0.0
            kind, found, at = 4 if key == 0x2D else 8, np.int64(at), at + int(size)
        else:
            return False, 0.0
    if dtype == 1 and size == 4 and (kind == 1 or kind == 4):
        return True, _float(data, found)
    if dtype == 2 and size == 8 and (kind == 1 or kind == 8):
        return True, _double(data, found)
    return False, 0.0


@_compiled
def _value(data: Any, at: int, end: int, slots: Any, tags: Any, bounds: Any) -> Any:
    """Return the number of a summary value's tag and its scalar; number -1 for any other value."""
    start, stop = np.int64(0), np.int64(0)
    value, kinds = 0.0, 0
    while at < end:
        key = data[at]
        at += 1
        if key == 0x15:  # simple_value
            if end - at < 4:
                return -1, 0.0
            value = _float(data, at)
            at += 4
            kinds += 1
        elif key == 0x0A or key == 0x42 or key == 0x4A or key == 0x3A:
            inner, after = _size(data, at, end)
            if inner < 0:
                return -1, 0.0
            if key == 0x0A:  # tag; metadata and node name are passed over
                start, stop = inner, after
            elif key == 0x42:  # tensor
                plain, value = _float_tensor(data, inner, after)
                if not plain:
                    return -1, 0.0
                kinds += 1
            at = after
        else:
            return -1, 0.0
    if kinds != 1 or start == stop:
        return -1, 0.0
    return slots[tag_slot(slots, tags, bounds, data, start, stop)], value


@_compiled
def _event(
    data: Any, at: int, end: int, slots: Any, tags: Any, bounds: Any, out: Any, count: int
) -> Any:
    """Return the count after a record's scalars, or -1 when it holds anything else."""
    which, steps, walls, values = out
    first = count
    wall = 0.0
    step = np.int64(0)
    while at < end:
        key = data[at]
        at += 1
        if key == 0x09:  # wall_time
            if end - at < 8:
                return -1
            wall = _double(data, at)
            at += 8
        elif key == 0x10:
            step, at = _varint(data, at, end)
            if at < 0:
                return -1
        elif key == 0x2A:  # summary
            at, stop = _size(data, at, end)
            if at < 0:
                return -1
            while at < stop:
                if data[at] != 0x0A:
                    return -1
                start, after = _size(data, at + 1, stop)
                if start < 0:
                    return -1
                tag, value = _value(data, start, after, slots, tags, bounds)
                if tag < 0:
                    return -1
                which[count], values[count] = tag, value
                count += 1
                at = after
        else:
            return -1
    if count == first:
        return -1
    for i in range(first, count):
        steps[i], walls[i] = step, wall
    return count


@_compiled
def scan(
    data: Any, at: int, end: int, table: Any, slots: Any, tags: Any, bounds: Any, out: Any
) -> Any:
    """Take the plain records from a position on.

    Parameters
    ----------
    data : ndarray of uint8
        The window; records stand in ``data[at:end]``.
    table : ndarray of uint32, shape (8, 256)
        Of the checksum.
    slots, tags, bounds : ndarray
        Hash table of tag numbers, the tags' bytes one after another, and where each starts.
    out : tuple of ndarray
        Receives tag numbers, steps, wall times and values, one for every seven bytes at most.

    Returns
    -------
    position, count, reason : tuple of int
        Where the first record not taken starts, the number of scalars, and why it stopped:
        `MORE` bytes are needed, a `SPECIAL` record, a `DAMAGED` one, or `LOST`, a length that
        is damaged.
    """
    count = np.int64(0)
    while True:
        if end - at < 12:
            return at, count, MORE
        if _masked_crc(table, data, at, at + 8) != _u32(data, at + 8):
            return at, count, LOST
        high = _u32(data, at + 4)
        length = _u32(data, at) | high << 32
        if high >> 30 or length > end - at - 16:
            return at, count, MORE
        start = at + 12
        stop = start + length
        if _masked_crc(table, data, start, stop) != _u32(data, stop):
            return at, count, DAMAGED
        after = _event(data, start, stop, slots, tags, bounds, out, count)
        if after < 0:
            return at, count, SPECIAL
        count, at = after, stop + 4
