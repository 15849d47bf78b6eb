"""The checksum of event files: CRC-32C, masked, of a length and of a record.

A record and its length are checked one by one with google-crc32c, which Zarr already brings. Two
uses need more than a function of bytes: the compiled scanner, which would spend more on calling
out for twelve bytes than on the rest of a record, and the search for the next header in a damaged
stretch, which asks every position. Both take the tables of this module.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

HEADER = 12  # length of a record (u8) and its checksum (u4)
_POLYNOMIAL = 0x82F63B78  # reflected Castagnoli
_MASK = 0xA282EAD8


@cache
def tables() -> NDArray[np.uint32]:
    """Return the eight tables of the slicing-by-8 method, of shape (8, 256)."""
    out = np.empty((8, 256), np.uint32)
    out[0] = np.arange(256)
    for _ in range(8):
        out[0] = (out[0] >> 1) ^ (out[0] & 1) * np.uint32(_POLYNOMIAL)
    for i in range(1, 8):
        out[i] = (out[i - 1] >> 8) ^ out[0][out[i - 1] & 0xFF]
    return out


def masked(crc: int) -> int:
    """Return a CRC-32C as event files store it."""
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFF_FFFF


def checksum(content: bytes) -> int:
    """Return the masked CRC-32C of some bytes."""
    import google_crc32c

    return masked(google_crc32c.value(content))


def extend(crc: int, content: bytes) -> int:
    """Return the unmasked CRC-32C of bytes that follow others whose unmasked one is `crc`."""
    import google_crc32c

    return int(google_crc32c.extend(crc, content))


def header_positions(content: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return where a record could start: the checksum of a length stands behind the length.

    Parameters
    ----------
    content : ndarray of shape (byte,)
        Part of a file.

    Returns
    -------
    ndarray of shape (position,)
        By chance one position in 2³² is among them: the record itself must be checked too.
    """
    count = len(content) - HEADER + 1
    if count <= 0:
        return np.empty(0, np.intp)
    table = tables()
    crc = np.full(count, 0xFFFF_FFFF, np.uint32)
    for i in range(8):
        flipped = np.uint8(0xFF if i < 4 else 0)  # the initial value of the register
        crc ^= table[7 - i][content[i : i + count] ^ flipped]
    stored = np.zeros(count, np.uint32)
    for i in range(4):
        stored |= content[8 + i : 8 + i + count].astype(np.uint32) << np.uint32(8 * i)
    rotated = (crc >> np.uint32(15)) | (crc << np.uint32(17))
    return np.flatnonzero(rotated + np.uint32(_MASK) == stored)
