"""TensorBoard event files: records, their checksums, and what can be saved of a damaged file.

A record is its length (u8), the masked checksum of the length, the record, and its masked checksum.
Where a record is damaged but its length is not, the next one is known to follow. Where the length
is damaged too, reading goes on at the next place where both checksums of a record agree (by chance
once in 2⁶⁴ positions), so that no value is ever made up. Files are read through a window.
"""

from __future__ import annotations

import os
from io import BufferedReader
from pathlib import Path

import numpy as np

from workbench.errors import DataError
from workbench.io.crc32c import HEADER, checksum, extend, header_positions, masked
from workbench.io.event_log import EventLog
from workbench.io.event_record import parse_event
from workbench.io.event_scanner import (
    DAMAGED,
    FRAME,
    MORE,
    SPECIAL,
    CompiledScan,
    has_kernel,
    repays_kernel,
    scan_plainly,
)
from workbench.io.wire import WireError

WINDOW = 1 << 23
LARGEST = 1 << 25  # a record beyond it holds images or a graph, and is not taken into memory
_CHUNK = 1 << 20


def starts_as_events(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes holds events."""
    if len(head) < HEADER:
        return False
    _, check = FRAME.unpack_from(head)
    return b"brain.Event:" in head[HEADER:64] and checksum(head[:8]) == check


def read_events(path: Path, *, compiled: bool | None = None) -> EventLog:
    """Read one event file.

    Parameters
    ----------
    path : Path
        A file, of any size.
    compiled : bool, optional
        Whether to use the compiled scanner, which needs numba; by default where numba is installed
        and the file is large enough to repay loading it. What is read is the same.

    Returns
    -------
    EventLog

    Raises
    ------
    DataError
        If the compiled scanner is asked for and numba is not installed.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if compiled is None:
            compiled = repays_kernel(size)
        elif compiled and not has_kernel():
            msg = "the compiled scanner needs numba: pip install 'collapse-workbench[fast]'."
            raise DataError(msg)
        log = EventLog()
        reading = _Reading(file, size, log, path)
        scan = CompiledScan(log) if compiled else scan_plainly
        while reading.go_on(scan(reading)):
            pass
    return log


class _Reading:
    """A window that slides over a file: records not yet taken stand in ``data[at:end]``."""

    def __init__(self, file: BufferedReader, size: int, log: EventLog, path: Path) -> None:
        self.file, self.size, self.log, self.path = file, size, log, path
        self.data = np.empty(min(WINDOW, size), np.uint8)
        self.view = self.data.data.toreadonly()
        self.start = self.at = self.end = 0
        # Bytes that may be checked in vain: a crafted file could have each checked for every other.
        self.patience = 4 * size + LARGEST

    def go_on(self, reason: int) -> bool:
        """Do what a scan stopped for; return False at the end of the file."""
        if reason == SPECIAL:
            length, _ = FRAME.unpack_from(self.view, self.at)
            first = self.at + HEADER
            self._take(self.view[first : first + length])
            self.at = first + length + 4
            return True
        if reason == MORE:
            return self._fill() or self._pass_over() or self._resume(self.at + 1, "torn")
        return self._pass_damage(reason)

    def _take(self, record: memoryview) -> None:
        try:
            event = parse_event(record)
        except WireError:
            self.log.left_out["record beyond decoding"] += 1
            return
        self.log.take(event)

    def _fill(self) -> bool:
        """Move on in the file; return False when the window already holds what there is."""
        rest = self.end - self.at
        if self.start + self.end >= self.size:
            return False
        if rest == len(self.data):
            needed = FRAME.unpack_from(self.view, self.at)[0] + HEADER + 4
            if needed > min(LARGEST, self.size - self.start - self.at):
                return False
            self.data = np.concatenate([self.data, np.empty(needed - rest, np.uint8)])
            self.view = self.data.data.toreadonly()
        self.data[:rest] = self.data[self.at : self.end].copy()
        self.start, self.at, self.end = self.start + self.at, 0, rest
        self.file.seek(self.start + rest)
        got = self.file.readinto(self.data.data[rest:])
        self.end += got
        if not got:
            self.size = self.start + self.end  # it became shorter meanwhile
        return bool(got)

    def _pass_over(self) -> bool:
        """Pass over a whole record too large to take, or one with a damaged end."""
        found = self._record_at(self.start + self.at)
        if found is None:
            return False
        self.log.left_out["record over 32 MiB"] += 1
        self._seek(found)
        return True

    def _pass_damage(self, reason: int) -> bool:
        """Go on behind a damaged record."""
        if reason == DAMAGED:
            length, _ = FRAME.unpack_from(self.view, self.at)
            self.patience -= length
            if self.patience < 0:
                self._say_damage(self.start + self.at, self.size)
                return False
            after = self.start + self.at + HEADER + length + 4
            header = self._bytes_at(after, HEADER)
            if len(header) < HEADER or _header_fits(header):
                self.log.left_out["record with a wrong checksum"] += 1
                self._seek(after)
                return True
        return self._resume(self.at + 1, "damaged")

    def _resume(self, at: int, how: str) -> bool:
        """Go on at the next whole record from a place in the window; False when there is none."""
        damage, step = self.start + self.at, 256
        position = self.start + at
        while position + HEADER + 4 <= self.size and self.patience > 0:
            chunk = np.frombuffer(self._bytes_at(position, step + HEADER - 1), np.uint8)
            for found in header_positions(chunk).tolist():
                if self._record_at(position + found) is not None:
                    self._say_damage(damage, position + found)
                    self._seek(position + found)
                    return True
            position += step
            step = min(2 * step, _CHUNK)
        if how == "torn" and damage < self.size:
            self.log.left_out["record without an end, taken as still being written"] += 1
        elif damage < self.size:
            self._say_damage(damage, self.size)
        return False

    def _say_damage(self, first: int, after: int) -> None:
        self.log.left_out["part of the file with damage"] += 1
        if len(self.log.notes) < 5:
            self.log.notes.append(
                f"{self.path}: bytes {first} to {after - 1} are damaged; what they held is lost"
            )

    def _record_at(self, position: int) -> int | None:
        """Return the position after the whole, undamaged record at one; None if there is none."""
        header = self._bytes_at(position, HEADER)
        if len(header) < HEADER or not _header_fits(header):
            return None
        length = FRAME.unpack(header)[0]
        if length > self.size - position - HEADER - 4:
            return None
        self.patience -= length
        if self.patience < 0:
            return None
        crc, left, at = 0, length, position + HEADER
        while left:
            chunk = self._bytes_at(at, min(left, _CHUNK))
            if not chunk:
                return None
            crc, left, at = extend(crc, chunk), left - len(chunk), at + len(chunk)
        stored = self._bytes_at(at, 4)
        return at + 4 if int.from_bytes(stored, "little") == masked(crc) else None

    def _bytes_at(self, position: int, count: int) -> bytes:
        first = position - self.start
        if first >= 0 and first + count <= self.end:
            return bytes(self.view[first : first + count])
        self.file.seek(position)
        return self.file.read(count)

    def _seek(self, position: int) -> None:
        if position - self.start <= self.end:
            self.at = position - self.start
        else:
            self.start, self.at, self.end = position, 0, 0


def _header_fits(header: bytes) -> bool:
    length, check = header[:8], int.from_bytes(header[8:], "little")
    return checksum(length) == check
