"""LevelDB's log format as W&B writes it: records cut into checked pieces in blocks of 32 KiB.

A piece never crosses a block, so that behind a damaged one reading goes on at the next block.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 15
MAGIC = b":W&B\xe1\xbe"
_FILE_HEADER = 7
_PIECE = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LARGEST = 1 << 26
_TORN = "record without an end, taken as still being written"
_DAMAGED = "block with damage"


def read_log(path: Path, left_out: Counter[str]) -> Iterator[bytes]:
    """Yield the whole, undamaged records of a file.

    Parameters
    ----------
    path : Path
        A file that starts with `MAGIC` and a version byte.
    left_out : Counter of str
        Told of what was not yielded.

    Yields
    ------
    bytes
        One record.
    """
    pieces: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        start = _FILE_HEADER
        while block := file.read(BLOCK):
            last = len(block) < BLOCK
            for kind, content in _pieces(block, start, last, left_out):
                if kind in (_FULL, _FIRST):
                    if pieces:
                        left_out["record without an end"] += 1
                    pieces, size = [content], len(content)
                elif not kind:
                    pieces = []
                elif pieces:
                    pieces.append(content)
                    size += len(content)
                else:
                    left_out["piece of a record without its beginning"] += 1
                if size > _LARGEST:
                    left_out["record over 64 MiB"] += 1
                    pieces, size = [], 0
                elif pieces and kind in (_FULL, _LAST):
                    yield b"".join(pieces)
                    pieces = []
            start = 0
    if pieces:
        left_out[_TORN] += 1


def _pieces(
    block: bytes, at: int, last: bool, left_out: Counter[str]
) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of a block's pieces; kind 0 where the rest of it is no use."""
    while len(block) - at >= _PIECE.size:
        check, length, kind = _PIECE.unpack_from(block, at)
        stop = at + _PIECE.size + length
        if not (check or length or kind):
            return  # space that was given to the file and not written
        if stop > len(block) and last:
            left_out[_TORN] += 1
            yield 0, b""
            return
        content = block[at + _PIECE.size : stop]
        whole = stop <= len(block) and _FULL <= kind <= _LAST
        if not whole or zlib.crc32(content, zlib.crc32(bytes([kind]))) != check:
            left_out[_DAMAGED] += 1
            yield 0, b""
            return
        yield kind, content
        at = stop
    if last and at < len(block):
        left_out[_TORN] += 1
