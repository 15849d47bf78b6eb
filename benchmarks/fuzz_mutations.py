"""Mutations of a log: what broken disks, torn writes, other programs and mischief make of it."""

from __future__ import annotations

import random
import re
import struct

MOST = 1 << 17
TOKENS = (
    b"nan", b"NaN", b"-inf", b"1e999", b"-1", b"0", b"9" * 400, b"1" + b"0" * 30, b"0x10", b"1_0",
    b"null", b"true", b"[]", b"{}", b'""', b"\xff\xfe", b"\x00", b"\n", b"\r\n", b",", b'"', b"'",
    b"{" * 3000, b"[" * 3000, b"\xe2\x80\xae", b"step", b"loss", b"run_id", b"../../x", b"%s%n",
    b"2" * 19, b"-9223372036854775809", b"18446744073709551616", b"1e-320", b"\xed\xa0\x80",
)  # fmt: skip
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def changed_files(
    files: dict[str, bytes], rng: random.Random, *, others: list[dict[str, bytes]]
) -> dict[str, bytes]:
    """Return a copy of an input's files with one of them changed in one to six ways."""
    out = dict(files)
    name = rng.choice(sorted(out))
    out[name] = change_bytes(out[name], rng, others)
    if len(out) > 1 and rng.random() < 0.03:
        del out[rng.choice([other for other in out if other != name])]
    return out


def change_bytes(content: bytes, rng: random.Random, others: list[dict[str, bytes]]) -> bytes:
    """Return some bytes changed in one to six ways."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        out = rng.choice(WAYS)(out, rng, others)
    return bytes(out[: max(MOST, 2 * len(content))])


def _place(content: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(content) + 1)


def _cut(content: bytearray, rng: random.Random) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(len(content), start + int(2 ** rng.uniform(0, 12)))


def flip(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Flip single bits."""
    for _ in range(rng.choice((1, 1, 2, 8)) if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def truncate(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Leave out the end."""
    return content[: _place(content, rng)]


def delete(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Leave out a part."""
    start, stop = _cut(content, rng)
    del content[start:stop]
    return content


def repeat(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Write a part again, somewhere."""
    start, stop = _cut(content, rng)
    place = _place(content, rng)
    content[place:place] = content[start:stop] * rng.choice((1, 1, 2, 5))
    return content


def noise(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Overwrite a part with random bytes or zeros, as a power cut leaves blocks."""
    start, stop = _cut(content, rng)
    content[start:stop] = bytes(stop - start) if rng.random() < 0.3 else rng.randbytes(stop - start)
    return content


def token(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Put something with a meaning somewhere."""
    place = _place(content, rng)
    content[place:place] = rng.choice(TOKENS)
    return content


def number(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Replace a number in the text."""
    start = _place(content, rng)
    found = NUMBER.search(content, start, min(len(content), start + 4096))
    if found:
        content[found.start() : found.end()] = rng.choice(TOKENS)
    return content


def length(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Overwrite a binary number with an extreme one."""
    size, code = rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
    if len(content) >= size:
        place = rng.randrange(len(content) - size + 1)
        value = rng.choice(EXTREMES) & (2 ** (8 * size) - 1)
        content[place : place + size] = struct.pack(rng.choice("<>") + code, value)
    return content


def lines(content: bytearray, rng: random.Random, _others: object) -> bytearray:
    """Shuffle some lines, or repeat one many times."""
    rows = bytes(content).split(b"\n")
    if rng.random() < 0.5:
        start = rng.randrange(len(rows))
        part = rows[start : start + 40]
        rng.shuffle(part)
        rows[start : start + 40] = part
    else:
        rows.insert(rng.randrange(len(rows) + 1), b"\n".join([rng.choice(rows)] * 200))
    return bytearray(b"\n".join(rows)[: 4 * MOST])


def splice(content: bytearray, rng: random.Random, others: list[dict[str, bytes]]) -> bytearray:
    """Put a part of another log in."""
    other = rng.choice(list(rng.choice(others).values()))
    start, stop = _cut(bytearray(other), rng)
    place = _place(content, rng)
    content[place:place] = other[start:stop]
    return content


WAYS = (flip, truncate, delete, repeat, noise, token, number, number, length, lines, splice)
