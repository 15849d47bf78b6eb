"""Compiled resampling of ragged runs: one pass, exponential then binary search from point to point.

Numba compiles on the first call and keeps the result beside this file (or in its user cache), so a
later process loads it in a fraction of the time. Importing this module imports Numba: go through
`workbench.curves.kernels_ragged`, which weighs the cost. The arithmetic is that of `numpy.interp`
and `numpy.bincount`, operation by operation, so that both paths give the same bits.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def rises(x: Array, bounds: Array) -> bool:
    """Return whether no run has a record that lies before the one it follows."""
    for run in range(bounds.size - 1):
        falls = 0
        for k in range(bounds[run] + 1, bounds[run + 1]):
            falls += x[k] < x[k - 1]
        if falls:
            return False
    return True


@numba.njit(nogil=True, cache=True, error_model="numpy")
def linear(
    x: Array,
    values: Array,
    bounds: Array,
    total: Array,
    grid: Array,
    hold_from: float,
    out: Array,
) -> None:
    """Interpolate every run on the grid; see `kernels.resample_linear` for what one run gives.

    Parameters
    ----------
    x : ndarray of shape (obs,)
        Non-decreasing within a run; its position is x/total.
    values : ndarray of shape (obs,)
        Curves; records that are not finite are skipped.
    bounds : ndarray of int, shape (run + 1,)
        Record offsets.
    total : ndarray of shape (run,)
        What `x` is divided by, > 0.
    grid : ndarray of shape (x,)
        Increasing.
    hold_from : float
        Position from which a curve is held at its last value.
    out : ndarray of float64, shape (run, x)
        Written.
    """
    for run in range(bounds.size - 1):
        _linear_run(x, values, bounds[run], bounds[run + 1], total[run], grid, hold_from, out[run])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mean(
    x: Array,
    values: Array,
    bounds: Array,
    total: Array,
    grid: Array,
    hold_from: float,
    out: Array,
) -> None:
    """Average every run over the cells of a uniform grid; see `kernels.resample_mean`."""
    points = grid.size
    count = np.empty(points + 1, np.int64)
    weight = np.empty(points + 1, np.float64)
    for run in range(bounds.size - 1):
        start, stop, length = bounds[run], bounds[run + 1], total[run]
        _linear_run(x, values, start, stop, length, grid, hold_from, out[run])
        count[:] = 0
        weight[:] = 0.0
        for k in range(start, stop):
            if np.isfinite(values[k]):
                cell = int(np.rint(x[k] / length * points))
                if 1 <= cell <= points:
                    count[cell] += 1
                    weight[cell] += values[k]
        for cell in range(1, points + 1):
            if count[cell]:
                out[run, cell - 1] = weight[cell] / count[cell]


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="never")
def _linear_run(
    x: Array,
    values: Array,
    start: int,
    stop: int,
    total: float,
    grid: Array,
    hold_from: float,
    out: Array,
) -> None:
    out[:] = np.nan
    last = stop - 1
    while last >= start and not np.isfinite(values[last]):
        last -= 1
    if last < start:
        return
    known = start  # the last finite record at or before the grid point
    while not np.isfinite(values[known]):
        known += 1
    first = x[known] / total
    end = x[last] / total
    held = np.float64(values[last]) if end >= hold_from else np.nan
    following = known  # the first finite record after `known`, once they are a pair
    k = known
    for g in range(grid.size):
        t = grid[g]
        if t < first:
            continue
        if t > end:
            out[g] = held
            continue
        width = 1
        while k + width <= last and x[k + width] / total <= t:
            k += width
            width <<= 1
        high = min(k + width, last + 1)
        while high - k > 1:
            middle = (k + high) // 2
            if x[middle] / total <= t:
                k = middle
            else:
                high = middle
        if k >= following:
            # Both walks cross only records that no later grid point walks over again.
            known = k
            while not np.isfinite(values[known]):
                known -= 1
            following = k + 1
            while following < last and not np.isfinite(values[following]):
                following += 1
        low = x[known] / total
        value = np.float64(values[known])
        if known < last and low != t:
            high_at, high_value = x[following] / total, np.float64(values[following])
            slope = (high_value - value) / (high_at - low)
            between = slope * (t - low) + value
            if np.isnan(between):
                between = slope * (t - high_at) + high_value
                if np.isnan(between) and high_value == value:
                    between = value
            value = between
        out[g] = value
