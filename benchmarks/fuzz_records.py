"""Changes inside the records of W&B's and TensorBoard's files, framed and checked anew."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import fuzz_paths  # noqa: F401
from fuzz_mutations import EXTREMES, change_bytes
from fuzz_values import any_value

from tests.io.event_bytes import block, frame, number, varint
from tests.io.readers.test_wandb_offline import wandb_file
from workbench.io.leveldb_log import BLOCK, MAGIC
from workbench.io.wire import BYTES, VARINT, WireError, fields

_PIECE = 7
_EVENT_HEAD, _EVENT_TAIL = 12, 4
Others = list[dict[str, bytes]]


def wandb_records(content: bytes) -> list[bytes]:
    """Return the records of a sound ``.wandb`` file."""
    at, pieces, records = len(MAGIC) + 1, [], []
    while at + _PIECE <= len(content):
        room = BLOCK - at % BLOCK
        if room < _PIECE:
            at += room
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        pieces.append(content[at + _PIECE : at + _PIECE + length])
        at += _PIECE + length
        if kind in (1, 4):
            records.append(b"".join(pieces))
            pieces = []
    return records


def event_records(content: bytes) -> list[bytes]:
    """Return the records of a sound event file."""
    at, records = 0, []
    while at + _EVENT_HEAD <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        records.append(content[at + _EVENT_HEAD : at + _EVENT_HEAD + length])
        at += _EVENT_HEAD + length + _EVENT_TAIL
    return records


def changed_wandb(content: bytes, rng: random.Random, others: Others) -> bytes:
    """Change records of a ``.wandb`` file."""
    return wandb_file(*_changed(wandb_records(content), rng, others))


def changed_events(content: bytes, rng: random.Random, others: Others) -> bytes:
    """Change records of an event file."""
    return b"".join(map(frame, _changed(event_records(content), rng, others)))


def _changed(records: list[bytes], rng: random.Random, others: Others) -> list[bytes]:
    out = list(records)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(out)) if out else 0
        match rng.randrange(10):
            case 0:
                del out[at : at + rng.choice((1, 1, 3))]
            case 1:
                out[at:at] = out[at : at + rng.choice((1, 5))] * rng.choice((1, 2, 50))
            case 2:
                rng.shuffle(out)
            case _ if out:
                out[at] = changed_message(out[at], rng, others)
    return out


def changed_message(message: bytes, rng: random.Random, others: Others) -> bytes:
    """Change one field of a message, at any depth; every length around it stays right."""
    try:
        parts: list[tuple[int, int, int, Any]] = list(fields(memoryview(message)))
    except WireError:
        return change_bytes(message, rng, others)
    if not parts:
        return change_bytes(message, rng, others)
    at = rng.randrange(len(parts))
    field, kind, integer, content = parts[at]
    if kind == BYTES and rng.random() < 0.75:
        parts[at] = field, kind, integer, _changed_content(bytes(content), rng, others)
    elif kind == VARINT and rng.random() < 0.6:
        parts[at] = field, kind, rng.choice(EXTREMES), content
    else:
        match rng.randrange(5):
            case 0:
                del parts[at]
            case 1:
                parts[at:at] = [parts[at]] * rng.choice((1, 20))
            case 2:
                parts[at] = rng.randrange(1, 30), kind, integer, content
            case 3:
                parts[at] = field, VARINT, rng.choice(EXTREMES), content
            case _:
                parts[at] = field, kind, integer, rng.randbytes(len(content))
    return b"".join(_encoded(*part) for part in parts)


def _changed_content(content: bytes, rng: random.Random, others: Others) -> bytes:
    nested = _is_message(content)
    if nested and rng.random() < 0.85:
        return changed_message(content, rng, others)
    if rng.random() < 0.5:
        return json.dumps(any_value(rng)).encode()
    return change_bytes(content, rng, others)


def _is_message(content: bytes) -> bool:
    try:
        return bool(list(fields(memoryview(content))))
    except WireError:
        return False


def _encoded(field: int, kind: int, integer: int, content: bytes) -> bytes:
    if kind == VARINT:
        return number(field, integer)
    if kind == BYTES:
        return block(field, bytes(content))
    return varint(field << 3 | kind) + bytes(content)
