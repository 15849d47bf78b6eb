"""Array kernel of tuning grids: the bowl of the loss over log learning rate and log batch size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from workbench.laws.kernels import Floats

_REWEIGHTINGS = 8
_SMALLEST_SCALE = 1e-4
_FEWEST_POINTS = 14
_NEWTON_STEPS = 8


@dataclass(frozen=True)
class Bowl:
    """Minimum of one tuning grid, and the curvature there.

    Parameters
    ----------
    centre : ndarray of shape (2,)
        Log learning rate and log batch of the minimum.
    curvature : ndarray of shape (2, 2)
        Second derivatives of log loss.
    lowest : float
        Log loss at the minimum.
    n_points : int
        Points used.
    """

    centre: Floats
    curvature: Floats
    lowest: float
    n_points: int

    def excess(self, at: Floats) -> float:
        """Return log loss at a (log learning rate, log batch) above the minimum."""
        off = at - self.centre
        return float(0.5 * off @ self.curvature @ off)


def fit_bowl(log_lr: Floats, log_batch: Floats, log_loss: Floats, *, window: float) -> Bowl | None:
    """Find the minimum of a cubic through the points within `window` of the least log loss.

    Least squares, reweighted by Huber's weights at the median size of the residual. The cubic terms
    matter: the loss rises faster towards large learning rates than towards small ones, and the
    minimum of a quadratic moves with the window.

    Returns
    -------
    Bowl or None
        None where the points do not surround a minimum: fewer than 14, no bowl, or its minimum
        outside the points.
    """
    low = log_loss <= log_loss.min() + window
    if low.sum() < _FEWEST_POINTS:
        return None
    middle = np.array([log_lr[low].mean(), log_batch[low].mean()])
    at, y = np.stack([log_lr[low], log_batch[low]], axis=1) - middle, log_loss[low]
    basis, weight = _cubic(at), np.ones(len(y))
    for _ in range(_REWEIGHTINGS):
        root = np.sqrt(weight)
        found = np.linalg.lstsq(basis * root[:, None], y * root, rcond=None)[0]
        size = np.abs(basis @ found - y)
        scale = max(1.345 * 1.4826 * float(np.median(size)), _SMALLEST_SCALE)
        weight = np.minimum(1.0, scale / np.maximum(size, 1e-300))
    best = at[int(np.argmin(basis @ found))]
    for _ in range(_NEWTON_STEPS):
        gradient, curvature = _derivatives(found, best)
        if np.linalg.eigvalsh(curvature)[0] <= 0:
            return None
        best = best - np.linalg.solve(curvature, gradient)
        if (best < at.min(axis=0)).any() or (best > at.max(axis=0)).any():
            return None
    lowest = float((_cubic(best[None]) @ found)[0])
    return Bowl(middle + best, _derivatives(found, best)[1], lowest, int(low.sum()))


def _cubic(at: Floats) -> Floats:
    x, z = at.T
    one = np.ones_like(x)
    return np.stack(
        [one, x, z, x**2 / 2, x * z, z**2 / 2, x**3 / 6, x**2 * z / 2, x * z**2 / 2, z**3 / 6],
        axis=1,
    )


def _derivatives(c: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Return gradient and second derivatives of the cubic with coefficients c."""
    x, z = at
    gradient = [
        c[1] + c[3] * x + c[4] * z + c[6] * x**2 / 2 + c[7] * x * z + c[8] * z**2 / 2,
        c[2] + c[4] * x + c[5] * z + c[7] * x**2 / 2 + c[8] * x * z + c[9] * z**2 / 2,
    ]
    mixed = c[4] + c[7] * x + c[8] * z
    curvature = [[c[3] + c[6] * x + c[7] * z, mixed], [mixed, c[5] + c[8] * x + c[9] * z]]
    return np.array(gradient), np.array(curvature)


def regress(columns: Floats, y: Floats, *, level: float) -> Floats:
    """Regress y on columns by least squares; Student's t intervals.

    Parameters
    ----------
    columns : ndarray of shape (point, k)
        Regressors, a column of ones included.
    y : ndarray of shape (point,)
        Response.

    Returns
    -------
    ndarray of shape (k, 3)
        Estimate, lower and upper end of each coefficient.
    """
    n, k = columns.shape
    found = np.linalg.lstsq(columns, y, rcond=None)[0]
    left = y - columns @ found
    variance = np.linalg.inv(columns.T @ columns) * (left @ left / (n - k))
    half = stdtrit(n - k, (1 + level) / 2) * np.sqrt(np.diag(variance))
    return np.stack([found, found - half, found + half], axis=1)


def near_best(
    columns: tuple[Floats, ...],
    member: NDArray[np.int64],
    *,
    within: float,
    draws: int,
    level: float,
) -> Floats:
    """Regress the runs near the best of their grid, all of them and redrawn (Li et al. 2025).

    Parameters
    ----------
    columns : five ndarrays of shape (point,)
        Log size, tokens, learning rate, batch and loss.
    member : ndarray of int, shape (point,)
        Grid of each run.
    within : float
        Runs whose loss exceeds the least of their grid by less than this share are kept.
    draws : int
        Redraws of the runs kept, whose percentiles make the interval.
    level : float
        Level of the interval.

    Returns
    -------
    ndarray of shape (3, 3)
        Exponents of size and of tokens in the learning rate, of tokens in the batch; estimate,
        lower and upper end.
    """
    least = np.full(member.max() + 1, np.inf)
    np.minimum.at(least, member, columns[4])
    kept = columns[4] < least[member] + np.log1p(within)
    n, d, lr, batch, _ = (column[kept] for column in columns)
    x = np.stack([np.ones(len(n)), n - n.mean(), d - d.mean()], axis=1)
    counts = np.random.default_rng(0).multinomial(len(n), np.full(len(n), 1 / len(n)), size=draws)
    weights = np.concatenate([np.ones((1, len(n))), counts])
    found = np.stack(
        [*_weighted(weights, x, lr)[:, 1:].T, _weighted(weights, x[:, [0, 2]], batch)[:, 1]], axis=1
    )
    ends = np.quantile(found[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.stack([found[0], *ends], axis=1)


def _weighted(weights: Floats, x: Floats, y: Floats) -> Floats:
    """Return least-squares coefficients (draw, k) for rows of weights (draw, point)."""
    gram = np.einsum("wp,pi,pj->wij", weights, x, x)
    return np.asarray(np.linalg.solve(gram, (weights @ (x * y[:, None]))[..., None])[..., 0])
