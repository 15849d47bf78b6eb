"""Array kernels for loss curves: resample, smooth, normalise. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def progress_grid(points: int) -> Floats:
    """Return the uniform grid k/points for k = 1..points, shape (points,)."""
    return np.arange(1, points + 1, dtype=np.float64) / points


def resample_linear(
    position: Floats, values: Floats, grid: Floats, *, hold_from: float = 1.0
) -> Floats:
    """Interpolate one curve linearly on a grid, without inventing what was not logged.

    Parameters
    ----------
    position : ndarray of shape (obs,)
        Increasing positions of the records, fractions of the planned run.
    values : ndarray of shape (obs,)
        Curve; records that are not finite are skipped.
    grid : ndarray of shape (x,)
        Where to evaluate.
    hold_from : float
        A curve that reaches this position is held at its last value up to the end of the grid.

    Returns
    -------
    ndarray of shape (x,)
        NaN before the first and after the last record.
    """
    known = np.isfinite(values)
    position, values = position[known], values[known]
    if not len(position):
        return np.full(len(grid), np.nan)
    right = values[-1] if position[-1] >= hold_from else np.nan
    return np.interp(grid, position, values, left=np.nan, right=right)


def resample_mean(
    position: Floats, values: Floats, grid: Floats, *, hold_from: float = 1.0
) -> Floats:
    """Average one curve over the cells centred on a uniform grid; every record is read.

    Cells without a record take the linear interpolation, so the estimator denoises dense logs and
    leaves sparse ones as they are. Parameters and return are those of `resample_linear`; `grid`
    must be k/points.
    """
    known = np.isfinite(values)
    position, values = position[known], values[known]
    out = resample_linear(position, values, grid, hold_from=hold_from)
    cell = np.rint(position * len(grid)).astype(np.int64)
    inside = (cell >= 1) & (cell <= len(grid))
    count = np.bincount(cell[inside], minlength=len(grid) + 1)[1:]
    total = np.bincount(cell[inside], weights=values[inside], minlength=len(grid) + 1)[1:]
    return np.where(count > 0, total / np.maximum(count, 1), out)


def local_linear(values: ArrayLike, half_width: int) -> Floats:
    """Smooth curves on a uniform grid by a least-squares line in a sliding window.

    The window of point k is [k - h, k + h] cut at the ends of the grid. Inside the run this is the
    plain moving average; at the ends the line keeps the trend, so that a falling curve is not
    pulled up at its end (Cleveland 1979, the degree-1 case with uniform weights).

    Parameters
    ----------
    values : array-like of shape (..., x)
        Curves; NaN are ignored within windows and stay NaN.
    half_width : int
        h, in grid cells; 0 returns the values unchanged.

    Returns
    -------
    ndarray of shape (..., x)
    """
    y = np.asarray(values, dtype=np.float64)
    if half_width <= 0:
        return y.copy()
    n = y.shape[-1]
    index = np.arange(n)
    j = index - (n - 1) / 2
    known = np.isfinite(y)
    clean = np.where(known, y, 0.0)
    low = np.maximum(index - half_width, 0)
    high = np.minimum(index + half_width, n - 1) + 1

    def window_sum(terms: Floats) -> Floats:
        total = np.cumsum(terms, axis=-1)
        total = np.concatenate([np.zeros((*terms.shape[:-1], 1)), total], axis=-1)
        return np.asarray(total[..., high] - total[..., low])

    s0, s1, s2 = (window_sum(known * j**power) for power in (0, 1, 2))
    t0, t1 = (window_sum(clean * j**power) for power in (0, 1))
    det = s0 * s2 - s1**2
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = t0 / s0
        slope = (s0 * t1 - s1 * t0) / det
        line = np.where(det > 1e-9 * s0, mean + slope * (j - s1 / s0), mean)
    return np.where(known, line, np.nan)


def normalize(loss: ArrayLike, final: ArrayLike, offset: float | ArrayLike) -> Floats:
    """Return ℓ = (L − offset)/(L_final − offset) (Qiu et al. 2025, Eq. 1).

    Parameters
    ----------
    loss : array-like of shape (..., x)
        Loss curves.
    final : array-like of shape (...)
        Final loss of each curve.
    offset : float or array-like of shape (...)
        What is subtracted; 0 divides by the final loss (Bergsma et al. 2025).

    Returns
    -------
    ndarray of shape (..., x)
    """
    shift = np.asarray(offset, dtype=np.float64)[..., None]
    last = np.asarray(final, dtype=np.float64)[..., None]
    return (np.asarray(loss, dtype=np.float64) - shift) / (last - shift)
