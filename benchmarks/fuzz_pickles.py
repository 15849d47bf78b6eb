"""Changes to the instructions of a pickle, which stays a sequence of whole instructions."""

from __future__ import annotations

import pickletools
import random
import struct

from fuzz_mutations import change_bytes

Others = list[dict[str, bytes]]
# A tuple of itself twice, over and over: whoever walks it walks 2^40 values.
_DOUBLING = b"K\x01q\xf0" + b"h\xf0\x86q\xf0" * 40
_ITSELF = b"]\x94h\x00a"
_PLAIN = (
    b"( t ] } ) a e s u 0 1 2 R \x81 b N \x88 \x85 \x86 \x87 \x93 \x94 . Q \x97 \x98 \x8f \x90 \x91"
)
PALETTE = (
    *_PLAIN.split(b" "), b"h\x00", b"h\x05", b"j\xff\xff\xff\x7f", b"K\x00", b"J\xff\xff\xff\xff",
    b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\xff" + b"\x7f" * 255,
    b"G\x7f\xf8" + bytes(6), b"G\x7f\xf0" + bytes(6), b"\x8c\x04loss", b"\x8c\x04step", b"\x8c\x00",
    b"\x8c\x03\xed\xa0\x80", b"cos\nsystem\n", b"cnumpy\ndtype\n", b"cpandas\nDataFrame\n",
    b"c__builtin__\nslice\n", b"B\xff\xff\xff\x7f", b"B\x08\x00\x00\x00" + b"x" * 8,
    b"\x8e" + b"\xff" * 8, b"\x96" + b"\xff" * 7 + b"\x7f", b"\x8b\xff\xff\xff\x7f", b"I01\n",
    b"L9\n", b"P1\n", _DOUBLING, _ITSELF,
)  # fmt: skip


def instructions(content: bytes) -> list[bytes]:
    """Return the instructions of a sound pickle, without its frames."""
    starts = [(code.name, at) for code, _, at in pickletools.genops(content)]
    ends = [at for _, at in starts[1:]] + [len(content)]
    parts = zip(starts, ends, strict=True)
    return [content[at:end] for (name, at), end in parts if name != "FRAME"]


def changed_pickle(content: bytes, rng: random.Random, others: Others) -> bytes:
    """Change, leave out, move, repeat or put in instructions."""
    parts = instructions(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(8):
            case 0:
                del parts[at]
            case 1:
                parts[at:at] = [parts[at]]
            case 2:
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                parts[at] = parts[other]
            case 4:
                parts[at:at] = [rng.choice(PALETTE)]
            case 5:
                parts[at] = rng.choice(PALETTE)
            case _:
                parts[at] = _changed_argument(parts[at], rng, others)
        if not parts:
            break
    return b"".join(parts)


def _changed_argument(part: bytes, rng: random.Random, others: Others) -> bytes:
    """Change what an instruction carries; the length before it is made right."""
    code, rest = part[:1], part[1:]
    sizes = {b"\x8c": "B", b"C": "B", b"\x8a": "B", b"X": "<I", b"B": "<I", b"\x8e": "<Q"}
    if code not in sizes or not rest:
        return code + rng.randbytes(len(rest))
    head = struct.calcsize(sizes[code])
    body = change_bytes(rest[head:], rng, others)
    if rng.random() < 0.5:  # of the old length, as an array needs it
        body = body[: len(rest) - head].ljust(len(rest) - head, b"\xff")
    if code in (b"\x8c", b"C", b"\x8a"):
        body = body[:255]
    return code + struct.pack(sizes[code], len(body)) + body
