"""Array kernels on the beginning of a run: where it stands, how it falls, what it aligns to.

Alignment asks for the factor S that makes S·r, a reference curve r that ends at 1, follow the loss
y over a window (Bergsma et al. 2025, arXiv:2509.25087, section 4.1). Each estimate has a closed
form, or for the robust one a short iteration.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError

Floats = NDArray[np.float64]
Aligner = Literal["squared", "normalized", "absolute", "robust"]
ALIGNERS: tuple[Aligner, ...] = get_args(Aligner)
_HUBER = 1.345
_ITERATIONS = 30
_NORMAL_MAD = 1.4826


def weighted_median(values: ArrayLike, weights: ArrayLike) -> float:
    """Return the value below and above which half of the weight lies, shape () from (x,)."""
    value, weight = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(value)
    total = np.cumsum(weight[order])
    k = int(np.searchsorted(total, total[-1] / 2))
    even = k + 1 < len(order) and bool(np.isclose(total[k], total[-1] / 2, rtol=1e-12))
    return float(value[order[k : k + 1 + even]].mean())


def align_scale(loss: ArrayLike, reference: ArrayLike, *, aligner: Aligner = "robust") -> float:
    """Return the S for which S·reference follows `loss`.

    Parameters
    ----------
    loss : array-like of shape (x,)
        Loss y over the window, positive.
    reference : array-like of shape (x,)
        Reference r over the same window, positive; 1 at the end of training.
    aligner : {"squared", "normalized", "absolute", "robust"}
        Least squares of y − S·r, S = Σyr/Σr²; least squares of y/S − r, S = Σy²/Σyr; least
        absolute values, the median of y/r weighted by r; or Huber's compromise between the first
        and the third.

    Returns
    -------
    float
        With r normalised to end at 1, S is the final loss the window points to.

    Raises
    ------
    ArgumentError
        If the aligner is unknown or no point of the window is finite in both curves.
    """
    if aligner not in ALIGNERS:
        msg = f"aligner must be one of {', '.join(ALIGNERS)}, found {aligner!r}."
        raise ArgumentError(msg)
    y, r = np.asarray(loss, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    known = np.isfinite(y) & np.isfinite(r)
    if not known.any():
        msg = "Loss and reference share no finite point in the window. Widen it."
        raise ArgumentError(msg)
    y, r = y[known], r[known]
    match aligner:
        case "squared":
            return float(y @ r / (r @ r))
        case "normalized":
            return float(y @ y / (y @ r))
        case "absolute":
            return weighted_median(y / r, r)
        case "robust":
            return _robust_scale(y, r)


def _robust_scale(y: Floats, r: Floats) -> float:
    scale = weighted_median(y / r, r)
    for _ in range(_ITERATIONS):
        weight = _huber_weight(y - scale * r, degrees=1)
        new = float((weight * y) @ r / ((weight * r) @ r))
        if abs(new - scale) <= 1e-10 * abs(scale):
            break
        scale = new
    return scale


def _huber_weight(residual: Floats, *, degrees: int) -> Floats:
    """Weights 1 within 1.345 robust sd and falling as 1/|residual| beyond."""
    spread = _NORMAL_MAD * float(np.median(np.abs(residual)))
    if len(residual) <= degrees + 1 or spread == 0:
        return np.ones(len(residual))
    return np.minimum(1.0, _HUBER * spread / np.maximum(np.abs(residual), 1e-300))


def robust_line(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Fit y ≈ level + slope·x by Huber's estimator.

    Parameters
    ----------
    x, y : ndarray of shape (obs,)
        At least two different x; the level is the value at x = 0.

    Returns
    -------
    level, slope, level_sd : float
        The standard error of the level is NaN with fewer than three points.
    """
    design = np.stack([np.ones(len(x)), x], axis=1)
    beta = np.linalg.lstsq(design, y, rcond=None)[0]
    weight = np.ones(len(x))
    for _ in range(_ITERATIONS):
        weight = _huber_weight(y - design @ beta, degrees=2)
        root = np.sqrt(weight)[:, None]
        new = np.linalg.lstsq(root * design, root[:, 0] * y, rcond=None)[0]
        settled = bool(np.max(np.abs(new - beta)) <= 1e-10 * (1 + np.max(np.abs(beta))))
        beta = new
        if settled:
            break
    sd = np.nan
    if len(x) > 2:
        variance = float(weight @ (y - design @ beta) ** 2) / (len(x) - 2)
        sd = float(np.sqrt(variance * np.linalg.inv((design * weight[:, None]).T @ design)[0, 0]))
    return float(beta[0]), float(beta[1]), sd


def prefix_line(
    position: Floats, loss: Floats, *, at: float, start: float, fewest: int = 3
) -> tuple[float, float, float, int]:
    """Describe a loss near progress `at` by a straight line in log loss against log progress.

    Parameters
    ----------
    position : ndarray of shape (obs,)
        Increasing progress of the records, none of them beyond `at`.
    loss : ndarray of shape (obs,)
        Positive and finite.
    at : float
        Progress at which the level is read.
    start : float
        Where the window begins; if it holds fewer than `fewest` records the last `fewest` with
        positive progress are taken.
    fewest : int
        Fewest records of a line.

    Returns
    -------
    level, slope, level_sd, n : float, float, float, int
        Log loss at `at`, −d log L/d log x, standard error of the level, records used. NaN and 0
        with fewer than `fewest` records.
    """
    usable = np.flatnonzero(position > 0)
    inside = usable[position[usable] >= start - 1e-9]
    chosen = inside if len(inside) >= fewest else usable[-fewest:]
    if len(chosen) < fewest:
        return np.nan, np.nan, np.nan, 0
    line = robust_line(np.log(position[chosen] / at), np.log(loss[chosen]))
    return line[0], -line[1], line[2], len(chosen)


def end_level(position: Floats, loss: Floats, *, width: float) -> float:
    """Return the log loss at progress 1.

    With `width` 0 it is the last record, held; else a robust line through the records of the last
    `width` of the run, read at its end.
    """
    tail = position >= 1 - width
    if width <= 0 or int(tail.sum()) < 4:
        return float(np.log(loss[-1]))
    return robust_line(position[tail] - 1, np.log(loss[tail]))[0]
