"""Counts as people type them: 1e9, 300M, 1.8B."""

from __future__ import annotations

import math
import re

from workbench.errors import ArgumentError

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_COUNT = re.compile(r"([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kmbt]?)", re.IGNORECASE)


def parse_count(text: str, *, name: str) -> float:
    """Read a positive count with an optional unit letter.

    Parameters
    ----------
    text : str
        What was typed.
    name : str
        What the error calls it.

    Raises
    ------
    ArgumentError
        If it is no positive, finite count.
    """
    match = _COUNT.fullmatch(text.strip())
    try:
        value = float(match[1]) * _UNITS[match[2].lower()] if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        msg = f"{name} takes a positive count such as 1e9, 300M or 1.8B, found {text!r}."
        raise ArgumentError(msg)
    return value
