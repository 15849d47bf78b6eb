"""Smoothers for curves on a uniform grid. Arrays in, arrays out.

Every smoother takes curves of shape (..., x) and a half-width h in grid cells: the window of point
k is [k − h, k + h]. Missing values at either end of a curve stay missing and are never read; a gap
inside is bridged by a line for the window sums and stays missing in the result. None shifts a
curve, except the two that say so in their name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import convolve1d, median_filter
from scipy.optimize import isotonic_regression
from scipy.signal import lfilter, savgol_filter

Floats = NDArray[np.float64]
_LOWESS_PASSES = 2


def moving_average(values: ArrayLike, half_width: int) -> Floats:
    """Average over a centred window that shrinks on both sides towards the ends of the curve.

    The first and the last point keep their own value. Shape (..., x) → (..., x).
    """

    def average(y: Floats) -> Floats:
        index = np.arange(y.shape[-1])
        reach = np.minimum(half_width, np.minimum(index, index[::-1]))
        total = np.concatenate([np.zeros((*y.shape[:-1], 1)), np.cumsum(y, axis=-1)], axis=-1)
        window = total[..., index + reach + 1] - total[..., index - reach]
        return np.asarray(window / (2 * reach + 1))

    return _on_stretches(values, half_width, average)


def exponential(values: ArrayLike, half_width: int) -> Floats:
    """Average with weights that halve every h/2 cells to both sides.

    Towards the ends the kernel is cut to the cells that exist on both sides, so that it stays
    symmetric. Shape (..., x) → (..., x).
    """

    def average(y: Floats) -> Floats:
        n = y.shape[-1]
        index = np.arange(n)
        distance = np.abs(index[:, None] - index)
        reach = np.minimum(index, index[::-1])[:, None]
        weights = np.where(distance <= reach, 0.5 ** (2 * distance / half_width), 0.0)
        return np.asarray(y @ (weights / weights.sum(axis=1, keepdims=True)).T)

    return _on_stretches(values, half_width, average)


def median(values: ArrayLike, half_width: int) -> Floats:
    """Take the median of a centred window that shrinks on both sides towards the ends.

    Shape (..., x) → (..., x).
    """

    def middle(y: Floats) -> Floats:
        n = y.shape[-1]
        h = min(half_width, (n - 1) // 2)
        out: Floats = median_filter(y, size=(1, 2 * h + 1), mode="nearest")
        for k in range(h):
            for end, rows in ((k, slice(0, 2 * k + 1)), (n - 1 - k, slice(n - 2 * k - 1, n))):
                out[:, end] = np.median(y[:, rows], axis=-1)
        return out

    return _on_stretches(values, half_width, middle)


def savitzky_golay(values: ArrayLike, half_width: int) -> Floats:
    """Fit a parabola in a centred window (Savitzky & Golay 1964); one parabola ends the curve.

    Shape (..., x) → (..., x); curves shorter than the window are returned as they are.
    """

    def fit(y: Floats) -> Floats:
        h = min(half_width, (y.shape[-1] - 1) // 2)
        if h < 2:
            return y
        return np.asarray(savgol_filter(y, 2 * h + 1, 2, axis=-1, mode="interp"))

    return _on_stretches(values, half_width, fit)


def lowess(values: ArrayLike, half_width: int) -> Floats:
    """Fit a tricube-weighted line in a sliding window, twice more with outliers weighted down.

    Cleveland 1979 with a window of fixed width, cut at the ends, and bisquare weights from six
    times the median absolute residual. Shape (..., x) → (..., x).
    """

    def fit(y: Floats) -> Floats:
        offset = np.arange(-half_width, half_width + 1) / (half_width + 1)
        kernel = (1 - np.abs(offset) ** 3) ** 3
        weights = np.ones_like(y)
        line = _weighted_line(y, weights, kernel)
        for _ in range(_LOWESS_PASSES):
            away = np.abs(y - line)
            scale = 6 * np.median(away, axis=-1, keepdims=True)
            share = np.divide(away, scale, out=np.zeros_like(away), where=scale > 0)
            weights = np.maximum((1 - np.minimum(share, 1) ** 2) ** 2, 1e-6)
            line = _weighted_line(y, weights, kernel)
        return line

    return _on_stretches(values, half_width, fit)


def _weighted_line(y: Floats, weights: Floats, kernel: Floats) -> Floats:
    """Return the weighted local line at every point; `kernel` holds the window's weights."""
    h = len(kernel) // 2
    j = np.arange(-h, h + 1)

    def moment(terms: Floats, power: int) -> Floats:
        # convolve1d runs over the mirrored kernel, so the odd moments change sign
        mirrored = kernel * (-j.astype(np.float64)) ** power
        return np.asarray(convolve1d(terms, mirrored, axis=-1, mode="constant", cval=0.0))

    s0, s1, s2 = (moment(weights, power) for power in (0, 1, 2))
    t0, t1 = (moment(weights * y, power) for power in (0, 1))
    return np.asarray((s2 * t0 - s1 * t1) / (s0 * s2 - s1**2))


def isotonic(values: ArrayLike, half_width: int) -> Floats:
    """Return the closest curve that never rises, by pooling adjacent violators.

    It has no window (`half_width` is not used, 0 apart): flat stretches are as long as the noise
    makes them. Shape (..., x) → (..., x).
    """

    def fit(y: Floats) -> Floats:
        return np.stack([isotonic_regression(row, increasing=False).x for row in y])

    return _on_stretches(values, half_width, fit)


def trailing_average(values: ArrayLike, half_width: int) -> Floats:
    """Average over the last 2h + 1 cells: the moving average of most training dashboards.

    It lags by h cells, so a falling curve ends too high by h times its slope per cell.
    Shape (..., x) → (..., x).
    """

    def average(y: Floats) -> Floats:
        index = np.arange(y.shape[-1])
        first = np.maximum(index - 2 * half_width, 0)
        total = np.concatenate([np.zeros((*y.shape[:-1], 1)), np.cumsum(y, axis=-1)], axis=-1)
        window = total[..., index + 1] - total[..., first]
        return np.asarray(window / (index + 1 - first))

    return _on_stretches(values, half_width, average)


def trailing_exponential(values: ArrayLike, half_width: int) -> Floats:
    """Average the past with weights that halve every h cells, without the pull to the start.

    It lags: a falling curve ends too high by about 1.44·h times its slope per cell.
    Shape (..., x) → (..., x).
    """

    def average(y: Floats) -> Floats:
        keep = 0.5 ** (1 / half_width)
        filtered = lfilter([1 - keep], [1, -keep], y, axis=-1)
        return np.asarray(filtered / (1 - keep ** np.arange(1, y.shape[-1] + 1)))

    return _on_stretches(values, half_width, average)


def _on_stretches(
    values: ArrayLike, half_width: int, smoother: Callable[[Floats], Floats]
) -> Floats:
    """Apply `smoother` (row, x) → (row, x) to the recorded stretch of every curve."""
    given = np.asarray(values, dtype=np.float64)
    if half_width <= 0 or not given.size:
        return given.copy()
    rows = given.reshape(-1, given.shape[-1])
    known = np.isfinite(rows)
    first = np.where(known.any(axis=1), known.argmax(axis=1), -1)
    last = rows.shape[1] - known[:, ::-1].argmax(axis=1)
    out = np.full_like(rows, np.nan)
    for start, stop in np.unique(np.stack([first, last], axis=1), axis=0):
        if start < 0:
            continue
        members = np.flatnonzero((first == start) & (last == stop))
        out[members, start:stop] = smoother(_bridged(rows[members, start:stop]))
    return np.where(known, out, np.nan).reshape(given.shape)


def _bridged(rows: Floats) -> Floats:
    """Return the rows with gaps bridged by straight lines."""
    known = np.isfinite(rows)
    filled = rows.copy()
    index = np.arange(rows.shape[1])
    for i in np.flatnonzero(~known.all(axis=1)):
        filled[i] = np.interp(index, index[known[i]], rows[i, known[i]])
    return filled
