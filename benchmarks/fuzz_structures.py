"""Mutations that keep a file's structure, so that they get past its checks and to its content."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from fuzz_databases import MAGIC as SQLITE
from fuzz_databases import changed_aim, changed_database, with_log
from fuzz_mutations import changed_files
from fuzz_parquet import MAGIC as PARQUET
from fuzz_parquet import changed_parquet
from fuzz_pickles import changed_pickle
from fuzz_records import changed_events, changed_wandb
from fuzz_values import any_value

from workbench.io.leveldb_log import MAGIC as WANDB

Others = list[dict[str, bytes]]
Change = Callable[[bytes, random.Random, Others], bytes]
_LOG_SHARE = 0.1
_STRUCTURE_SHARE, _BYTES_TOO = 0.6, 0.15


def mutated(
    format: str, files: dict[str, bytes], rng: random.Random, *, others: Others
) -> dict[str, bytes]:
    """Return a copy of an input's files, changed by structure, by bytes or both."""
    out = None
    if rng.random() < _STRUCTURE_SHARE:
        out = changed_structure(format, files, rng, others=others)
    if out is None or rng.random() < _BYTES_TOO:
        out = changed_files(files if out is None else out, rng, others=others)
    return out


def changed_structure(
    format: str, files: dict[str, bytes], rng: random.Random, *, others: Others
) -> dict[str, bytes] | None:
    """Return an input's files with the structure of one changed; None where none is known."""
    if format == "aim" and rng.random() < 0.8:
        return changed_aim(files, rng, others)
    known = {name: change for name in files if (change := _change_for(format, files[name]))}
    if not known:
        return None
    name = rng.choice(sorted(known))
    if known[name] is changed_database and format != "aim" and rng.random() < _LOG_SHARE:
        return files | with_log(files[name], rng, name)
    return files | {name: known[name](files[name], rng, others)}


def _change_for(format: str, content: bytes) -> Change | None:
    for start, change in STARTS.items():
        if content.startswith(start):
            return change
    if format == "tensorboard":
        return changed_events
    return changed_json if content.lstrip()[:1] in (b"{", b"[") else None


def changed_json(content: bytes, rng: random.Random, _others: Others) -> bytes:
    """Change values, keys or the nesting of a JSON text, or of lines of them."""
    try:
        return _dumped(_changed(json.loads(content), rng))
    except ValueError:
        pass
    lines = content.split(b"\n")
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(lines))
        try:
            lines[at] = _dumped(_changed(json.loads(lines[at]), rng))
        except ValueError:
            continue
    return b"\n".join(lines)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _changed(tree: Any, rng: random.Random) -> Any:
    """Change some nodes, each met by going down at random."""
    whole: dict[Any, Any] = {"": tree}
    for _ in range(rng.choice((1, 1, 2, 4))):
        inside, key = _node(whole, rng)
        match rng.randrange(7):
            case 0 if inside is not whole:
                del inside[key]
            case 1:
                inside[key] = [inside[key]]
            case 2 if isinstance(inside, dict) and inside is not whole:
                inside[str(any_value(rng))[:300]] = inside[key]
            case 3 if isinstance(inside, list):
                inside[key:key] = [inside[key]] * rng.choice((1, 30))
            case _:
                inside[key] = any_value(rng)
    return whole[""]


def _node(whole: dict[Any, Any], rng: random.Random) -> tuple[Any, Any]:
    inside: Any = whole
    key: Any = ""
    while isinstance(inside[key], dict | list) and inside[key] and rng.random() < 0.85:
        inside = inside[key]
        key = rng.choice(list(inside)) if isinstance(inside, dict) else rng.randrange(len(inside))
    return inside, key


STARTS: dict[bytes, Change] = {
    SQLITE: changed_database,
    PARQUET: changed_parquet,
    WANDB: changed_wandb,
    b"\x80\x02": changed_pickle,
    b"\x80\x03": changed_pickle,
    b"\x80\x04": changed_pickle,
    b"\x80\x05": changed_pickle,
}
