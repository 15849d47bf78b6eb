"""Event files written byte by byte, for what no writer at hand writes."""

from __future__ import annotations

import struct

import numpy as np

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


# dtype, element in its own field, element in tensor_content, value
DTYPES = {
    "float": (1, block(5, b"\0\0\x20\x40"), b"\0\0\x20\x40", 2.5),
    "unpacked": (1, f32(5, 2.5), b"\0\0\x20\x40", 2.5),
    "double": (2, f64(6, 0.1), b"\x9a\x99\x99\x99\x99\x99\xb9?", 0.1),
    "int32": (3, block(7, varint(-7)), b"\xf9\xff\xff\xff", -7),
    "uint8": (4, number(7, 200), b"\xc8", 200),
    "int16": (5, number(7, -3), b"\xfd\xff", -3),
    "int8": (6, number(7, -3), b"\xfd", -3),
    "int64": (9, block(10, varint(1 << 40)), b"\0\0\0\0\0\1\0\0", 1 << 40),
    "bool": (10, number(11, 1), b"\1", 1),
    "bfloat16": (14, number(13, 0x4020), b"\x20\x40", 2.5),
    "uint16": (17, number(7, 65535), b"\xff\xff", 65535),
    "half": (19, number(13, 0x4100), b"\0\x41", 2.5),
    "uint32": (22, number(16, 2**32 - 1), b"\xff\xff\xff\xff", 2**32 - 1),
    "uint64": (23, number(17, 2**63), b"\0\0\0\0\0\0\0\x80", 2.0**63),
}


def mutations(content: bytes, rng: np.random.Generator, count: int, *, most: int = 5):
    for _ in range(count):
        out = bytearray(content)
        for _ in range(rng.integers(1, most + 1)):
            at = int(rng.integers(0, max(len(out), 1)))
            match rng.integers(0, 6):
                case 0:
                    out[at : at + 1] = bytes([rng.integers(0, 256)])
                case 1:
                    del out[at : at + int(rng.integers(1, 60))]
                case 2:
                    out[at:at] = rng.bytes(int(rng.integers(1, 60)))
                case 3:
                    out[at : at + 8] = rng.choice([b"\xff" * 8, b"\0" * 8, b"\x80" * 8])
                case 4:
                    out = out[:at]
                case 5:
                    out[at:at] = out[at : at + 100]
        yield bytes(out)


def rich() -> bytes:
    """Return one of everything, for mutation."""
    two = block(2, block(2, number(1, 2)))
    return (
        version()
        + losses(range(6))
        + b"".join(
            event(
                i, scalar("lr", 0.5), tensor("loss", dtype, listed), tensor("x", dtype, two, listed)
            )
            for i, (dtype, listed, _, _) in enumerate(DTYPES.values())
        )
        + session_start(3)
        + event(
            9, tensor("t", 7, block(8, b"text")), block(1, b"_hparams_/s") + block(9, b"\x0a\0")
        )
    )
