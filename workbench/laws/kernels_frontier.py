"""Array kernel of the compute-optimal frontier: which size has the least loss at which compute.

Two readings of the same curves. The envelope (Qiu et al. 2025, section 2 and their released code)
asks at many log-spaced computes which size wins and draws a line through (size, compute) of the
winners. The crossings ask at which compute each size overtakes the next smaller one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.laws.kernels import Floats

_HALF_DECADES = 0.35
_CENTRINGS = 3
_FEWEST_IN_WINDOW = 4


def curve_on(compute: Floats, loss: Floats, grid: Floats) -> Floats:
    """Interpolate one curve in log-log onto `grid`; infinite outside its records.

    Parameters
    ----------
    compute, loss : ndarray of shape (record,)
        Increasing compute and loss; records without either are skipped.
    grid : ndarray of shape (point,)
        Positive compute.
    """
    known = (compute > 0) & (loss > 0) & np.isfinite(loss)
    x, y = np.log10(compute[known]), np.log10(loss[known])
    if len(x) == 0:
        return np.full(len(grid), np.inf)
    at = np.log10(grid)
    inside = (at >= x[0]) & (at <= x[-1])
    return np.where(inside, 10 ** np.interp(at, x, y), np.inf)


def envelope(table: Floats, grid: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Return size and compute of the winners, without those of the smallest and largest size.

    Parameters
    ----------
    table : ndarray of shape (size, point)
        Loss of each size at each compute; infinite where unknown.
    grid : ndarray of shape (point,)
        Compute.
    sizes : ndarray of shape (size,)
        Increasing parameters.

    Returns
    -------
    size, compute : ndarrays of shape (winner,)
    """
    best = table.argmin(axis=0)
    inner = (best > 0) & (best < len(sizes) - 1) & np.isfinite(table.min(axis=0))
    return sizes[best[inner]], grid[inner]


def last_won_by_smallest(table: Floats, grid: Floats) -> float:
    """Return the largest compute at which the smallest size still wins; the first if it never."""
    won = np.flatnonzero((table.argmin(axis=0) == 0) & np.isfinite(table[0]))
    return float(grid[won[-1]]) if len(won) else float(grid[0])


def power_line(size: Floats, compute: Floats) -> tuple[float, float]:
    """Return scale and exponent of C = (P/scale)^exponent by least squares of log C on log P."""
    x, y = np.log10(size), np.log10(compute)
    centre = x.mean()
    exponent = float((x - centre) @ y / ((x - centre) @ (x - centre)))
    return float(10 ** (centre - y.mean() / exponent)), exponent


def crossings(table: Floats, grid: Floats) -> Floats:
    """Return the compute at which each size overtakes the one before it, NaN where it never does.

    A line through log(L_small/L_large) against log C within ±0.35 decades of the median change of
    sign gives the crossing, so that noise of single records averages out. A pair whose window
    reaches past the end of a curve is not used.

    Returns
    -------
    ndarray of shape (size − 1,)
    """
    found = np.full(len(table) - 1, np.nan)
    at = np.log10(grid)
    for i in range(len(table) - 1):
        both: NDArray[np.intp] = np.flatnonzero(np.isfinite(table[i]) & np.isfinite(table[i + 1]))
        lead = np.log(table[i, both] / table[i + 1, both])
        change = np.flatnonzero((lead[:-1] <= 0) & (lead[1:] > 0))
        if not len(change):
            continue
        middle = np.median(at[both[change]])
        for _ in range(_CENTRINGS):
            near = np.abs(at[both] - middle) <= _HALF_DECADES
            cut = not at[both[0]] + _HALF_DECADES <= middle <= at[both[-1]] - _HALF_DECADES
            if cut or near.sum() < _FEWEST_IN_WINDOW:
                break
            slope, level = np.polyfit(at[both][near] - middle, lead[near], 1)
            if not (slope > 0 and abs(level / slope) <= _HALF_DECADES):
                break
            middle = middle - level / slope
        else:
            found[i] = 10**middle
    return found
