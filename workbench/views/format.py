"""Numbers as the pages write them: three digits, one unit per axis, intervals as "a to b"."""

from __future__ import annotations

import math
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from workbench.text import percent, percent_two_digits

NOT_RECORDED = "not recorded"
_LETTERS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_FLOP_UNITS = ((1e21, "ZFLOP"), (1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))

__all__ = [
    "NOT_RECORDED",
    "axis_unit",
    "count",
    "distinct_labels",
    "escape",
    "interval",
    "loss",
    "number",
    "percent",
    "percent_two_digits",
    "tau",
    "tpp",
    "value_text",
]


def count(value: float) -> str:
    """Write a number of parameters or tokens with three digits: 11.8M, 1.3B, 960."""
    if not math.isfinite(value):
        return NOT_RECORDED
    for unit, letter in _LETTERS:
        if abs(value) >= 0.9995 * unit:
            return f"{_three_digits(value / unit)}{letter}"
    return f"{value:.0f}"


def _three_digits(value: float) -> str:
    text = f"{value:#.3g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def loss(value: float, *, digits: int = 3) -> str:
    """Write a loss [nats/token] with `digits` decimals."""
    return f"{value:.{digits}f}" if math.isfinite(value) else NOT_RECORDED


def tau(value: float) -> str:
    """Write an AdamW timescale with two digits: 0.042."""
    return f"{value:#.2g}".rstrip(".") if math.isfinite(value) else NOT_RECORDED


def tpp(value: float) -> str:
    """Write tokens per parameter as an integer, below 10 with one decimal."""
    if not math.isfinite(value):
        return NOT_RECORDED
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def number(value: float) -> str:
    """Write any other number with three digits."""
    if not math.isfinite(value):
        return NOT_RECORDED
    if value == round(value) and abs(value) < 1e4:
        return f"{value:.0f}"
    return f"{value:.3g}"


def interval(lower: float, upper: float, *, digits: int = 3) -> str:
    """Write an interval: 3.126 to 3.137."""
    return f"{lower:.{digits}f} to {upper:.{digits}f}"


_BY_COORDINATE = {
    "model_size": count,
    "tokens_total": count,
    "total_steps": count,
    "batch_size": count,
    "tau": tau,
    "tpp": tpp,
    "final_loss": loss,
}


def value_text(coordinate: str, value: float | str) -> str:
    """Write one value of a run coordinate; text stays as it is."""
    if isinstance(value, str):
        return value or NOT_RECORDED
    return _BY_COORDINATE.get(coordinate, number)(float(value))


def distinct_labels(coordinate: str, values: ArrayLike) -> list[str]:
    """Write different values so that no two read the same, with more digits where needed."""
    given = [float(v) for v in np.asarray(values, dtype=np.float64)]
    labels = [value_text(coordinate, value) for value in given]
    for digits in range(3, 18):
        if len(set(labels)) == len(given):
            break
        repeated = {text for text in labels if labels.count(text) > 1}
        labels = [
            f"{value:.{digits}g}" if text in repeated or labels.count(text) > 1 else text
            for text, value in zip(labels, given, strict=True)
        ]
    return labels


def axis_unit(axis: str, largest: float) -> tuple[float, str]:
    """Return the divisor and the name of the one unit an axis uses.

    Parameters
    ----------
    axis : {"progress", "tokens", "compute", "step"}
        What the axis counts.
    largest : float
        Largest value on it, in tokens, FLOP or steps.
    """
    if axis == "progress" or not math.isfinite(largest):
        return 1.0, ""
    units = _FLOP_UNITS if axis == "compute" else _LETTERS
    for unit, name in units:
        if largest >= unit:
            return unit, name
    return (1.0, "FLOP") if axis == "compute" else (1.0, "")
