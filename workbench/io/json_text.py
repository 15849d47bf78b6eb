"""JSON that others wrote: within limits, without repeated keys, and a clean error for the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.errors import DataError

LARGEST_FILE = 64 << 20  # parsed, JSON of many small objects takes some twenty times its size
_INTEGER_DIGITS, _FLOAT_DIGITS = 18, 308


def read_json(path: Path) -> Any:
    """Read a JSON file that has to be in memory as a whole.

    Raises
    ------
    DataError
        If it is too large, not JSON, nested too deep, or repeats a key.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        msg = (
            f"{path} has {size} bytes; a JSON file is read as a whole, up to {LARGEST_FILE}. Write "
            "one record a line (JSON Lines, such as with: jq -c '.[]'), which is read in pieces."
        )
        raise DataError(msg)
    return parse_json(path.read_bytes(), where=str(path))


def parse_json(content: bytes | str, *, where: str) -> Any:
    """Parse JSON text; NaN and Infinity are numbers, as most loggers write them.

    Raises
    ------
    DataError
        If it is not JSON, nested too deep, or repeats a key.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        return json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
    except RecursionError:
        msg = f"{where} is JSON nested too deep to be a log. Write records of plain values."
    except ValueError as error:  # of json, of a key or number, and of text that is not UTF-8
        reason = " ".join(str(error).split())[:200]
        msg = f"{where} is not usable JSON: {reason}. If it is being written, import it when done."
    raise DataError(msg)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        msg = f"key {twice[:40]!r} is twice in one object"
        raise ValueError(msg)
    return out


def _integer(text: str) -> float:
    if len(text) <= _INTEGER_DIGITS:
        return int(text)
    if len(text) > _FLOAT_DIGITS:
        msg = f"a number of {len(text)} digits"
        raise ValueError(msg)
    return float(text)


def as_number(value: object) -> float | None:
    """Return a logged value as a float: numbers, also in quotes ("nan" too); None for the rest."""
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and len(value) <= _FLOAT_DIGITS:
        try:
            return float(value)
        except ValueError:
            return None
    return None
