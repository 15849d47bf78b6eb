"""A schedule as points that can be typed: "0:0 10:100 60:100 100:0", progress and rate in %."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError
from workbench.recipes import Course, TabulatedSchedule

EXAMPLE = "0:0 10:100 60:100 100:0"
MOST_POINTS = 24
_INNER = np.arange(1, 18) / 18


def read_points(text: str) -> TabulatedSchedule:
    """Return the schedule that points describe.

    Parameters
    ----------
    text : str
        Pairs ``progress:rate`` in %, apart by blanks or commas, in any order. The largest rate is
        the peak.

    Raises
    ------
    ArgumentError
        If a pair is none, progress leaves 0 to 100 or repeats, a rate is negative, or all are zero.
    """
    pairs = text.replace(",", " ").split()
    points = sorted(_pair(pair) for pair in pairs)
    if not 2 <= len(points) <= MOST_POINTS:
        msg = (
            f"A drawn schedule has 2 to {MOST_POINTS} points, found {len(points)}. Type them as "
            f"progress:rate in %, for instance {EXAMPLE}."
        )
        raise ArgumentError(msg)
    progress, rate = np.array(points).T
    return TabulatedSchedule(progress / 100, rate)


def _pair(text: str) -> tuple[float, float]:
    parts = text.split(":")
    try:
        progress, rate = (float(part) for part in parts)
    except ValueError:
        msg = f"{text!r} is no point. Type progress:rate in %, for instance {EXAMPLE}."
        raise ArgumentError(msg) from None
    return progress, rate


def write_points(schedule: Course) -> str:
    """Return points through a schedule: where its formula changes, and between on curved parts."""
    known = np.array(schedule.knots)
    inner = [low + (high - low) * _INNER for low, high in pairwise(known)]
    x = np.unique(np.concatenate([known, *inner]).round(3))
    return _written(*_needed(x, schedule.at(x)))


def points_through(factor: NDArray[np.float64]) -> str:
    """Return points through a learning rate given at equal steps of the run."""
    x = np.linspace(0, 1, 21)
    return _written(*_needed(x, np.interp(x, np.arange(len(factor)) / len(factor), factor)))


def _needed(
    x: NDArray[np.float64], rate: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drop points that lie on the line between their neighbours, until few enough are left."""
    rate = np.asarray(rate, dtype=np.float64)
    while len(x) > 2:
        between = np.array(
            [np.interp(x[i], x[[i - 1, i + 1]], rate[[i - 1, i + 1]]) for i in range(1, len(x) - 1)]
        )
        away = np.abs(between - rate[1:-1])
        least = int(np.argmin(away))
        if away[least] > 2e-3 and len(x) <= MOST_POINTS // 2:
            break
        x, rate = np.delete(x, least + 1), np.delete(rate, least + 1)
    return x, rate


def _written(x: NDArray[np.float64], rate: NDArray[np.float64]) -> str:
    return " ".join(
        f"{round(100 * a, 1):g}:{round(100 * b, 1):g}" for a, b in zip(x, rate, strict=True)
    )
