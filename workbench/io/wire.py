"""The wire format of protocol buffers: the fields of a message, without its schema."""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Field = tuple[int, int, int, memoryview]


class WireError(ValueError):
    """Bytes that are no message."""


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in the order they stand.

    Parameters
    ----------
    message : memoryview of bytes
        One message, without a length before it.

    Yields
    ------
    number, kind, integer, content : tuple
        Field number and wire type; a varint's value (unsigned, 64 bits), else 0; the bytes of
        any other field, not copied.

    Raises
    ------
    WireError
        If the bytes are no message.
    """
    at, end, nothing = 0, len(message), message[:0]
    while at < end:
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            integer, at = varint(message, at)
            yield number, kind, integer, nothing
            continue
        if kind == BYTES:
            size, at = varint(message, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            msg = f"wire type {kind}"
            raise WireError(msg)
        if size > end - at:
            msg = "a field longer than its message"
            raise WireError(msg)
        yield number, kind, 0, message[at : at + size]
        at += size


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the variable-length integer at a position, unsigned, and the position after it.

    Raises
    ------
    WireError
        If it is longer than ten bytes or than the message.
    """
    try:
        byte = message[at]
        if byte < 0x80:
            return byte, at + 1
        value = byte & 0x7F
        for shift in range(7, 70, 7):
            at += 1
            byte = message[at]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
    except IndexError:
        pass
    msg = "an integer without an end"
    raise WireError(msg)


def varints(content: memoryview, *, most: int) -> list[int]:
    """Return the first integers of a packed field, unsigned."""
    out: list[int] = []
    at = 0
    while at < len(content) and len(out) < most:
        value, at = varint(content, at)
        out.append(value)
    return out


def signed(value: int) -> int:
    """Return the two's complement meaning of an unsigned 64-bit integer."""
    return value - (1 << 64) if value >> 63 else value


def zigzag(value: int) -> int:
    """Return the meaning of a zigzag-coded integer (``sint32``, ``sint64``)."""
    return (value >> 1) ^ -(value & 1)


def text(content: memoryview) -> str:
    """Return a string field; bytes that are not UTF-8 stay visible as escapes."""
    return bytes(content).decode("utf-8", errors="backslashreplace")


def double(content: memoryview) -> float:
    """Return a field of type ``double``.

    Raises
    ------
    WireError
        If it is not 8 bytes.
    """
    if len(content) != 8:
        msg = "a double that is not 8 bytes"
        raise WireError(msg)
    return float(struct.unpack("<d", content)[0])
