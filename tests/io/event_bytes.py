"""Event files written byte by byte, for what no writer at hand writes."""

from __future__ import annotations

import struct

from workbench.io.crc32c import checksum

START = 1


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def f32(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def f64(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def frame(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return (
        length + struct.pack("<I", checksum(length)) + record + struct.pack("<I", checksum(record))
    )


def version(wall: float = 1.0) -> bytes:
    return frame(f64(1, wall) + block(3, b"brain.Event:2"))


def event(step: int, *values: bytes, wall: float = 2.0) -> bytes:
    summary = b"".join(block(1, value) for value in values)
    return frame(f64(1, wall) + number(2, step) + block(5, summary))


def scalar(tag: str, value: float) -> bytes:
    return block(1, tag.encode()) + f32(2, value)


def tensor(tag: str, dtype: int, *parts: bytes) -> bytes:
    return block(1, tag.encode()) + block(8, number(1, dtype) + b"".join(parts))


def session_start(step: int, wall: float = 2.0) -> bytes:
    return frame(f64(1, wall) + number(2, step) + block(7, number(1, START)))


def losses(steps, *, tag: str = "loss", offset: float = 0.0, wall: float = 2.0) -> bytes:
    return b"".join(event(i, scalar(tag, offset + i), wall=wall + i) for i in steps)
