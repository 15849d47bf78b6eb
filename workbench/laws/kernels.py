"""Array kernel of the power law plus constant: for every trial constant the best power law.

The fit is separable: for a given constant L0 the rest, log a and b, is a small smooth problem.
Solving it for a whole grid of L0 at once gives the exact minimum, and the profile of the objective
from which an interval for L0 is read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HUBER_DELTA = 1e-3
_ITERATIONS = 60
_RELATIVE_DECREASE = 1e-10
_LONGEST_STRIDE = 1.9


def huber(residual: Floats, delta: float = HUBER_DELTA) -> Floats:
    """Return Huber's loss: r²/2 up to `delta`, then linear."""
    size = np.abs(residual)
    return np.where(size <= delta, 0.5 * residual**2, delta * (size - 0.5 * delta))


def profile_power_law(
    log_x: Floats,
    log_y: Floats,
    constants: Floats,
    *,
    start: tuple[Floats, Floats] | None = None,
    tolerance: float = _RELATIVE_DECREASE,
    delta: float = HUBER_DELTA,
) -> tuple[Floats, Floats, Floats]:
    """Fit log y ≈ log(exp(u − b·log x) + c) for every constant c at once.

    Parameters
    ----------
    log_x : ndarray of shape (point,)
        Log of the resource; centre it for good conditioning.
    log_y : ndarray of shape (point,)
        Log of the loss.
    constants : ndarray of shape (c,)
        Trial constants, each below the smallest loss.
    start : (u, b), ndarrays of shape (c,), optional
        Where to start; by default a weighted straight line.
    tolerance : float
        A constant is done when a step lowers its objective by less than this share.
    delta : float
        Width of Huber's loss on the log residual.

    Returns
    -------
    u, b, objective : ndarrays of shape (c,)
        Log amplitude, exponent and mean Huber loss at the minimum over u and b.

    Notes
    -----
    Iteratively reweighted, damped Gauss-Newton, batched over the constants: a step that does not
    lower the objective is refused and its damping raised. Where residuals exceed δ Huber's weights
    overstate the curvature; a longer stride makes up for it, below the factor of 2 up to which a
    step on an upper bound of the objective still descends.
    """
    c = constants[:, None]
    u, b = _start(log_x, log_y, c) if start is None else start
    value = _objective(u, b, c, log_x, log_y, delta)
    damping = np.full(len(constants), 1e-9)
    settled = np.zeros(len(constants), dtype=bool)
    for _ in range(_ITERATIONS):
        du, db = _newton_step(u, b, c, log_x, log_y, delta, damping)
        tried = _objective(u + du, b + db, c, log_x, log_y, delta)
        better = tried <= value
        u, b = np.where(better, u + du, u), np.where(better, b + db, b)
        settled |= np.abs(value - tried) <= tolerance * value
        value = np.where(better, tried, value)
        damping = np.where(better, damping / 10, np.maximum(damping, 1e-12) * 30)
        if bool(np.all(settled | (damping > 1e6))):
            break
    return u, b, value


def _start(log_x: Floats, log_y: Floats, c: Floats) -> tuple[Floats, Floats]:
    """Weighted straight line through log(y − c), weights as the log residual sees them."""
    reducible = np.exp(log_y) - c
    target, weight = np.log(reducible), (reducible / np.exp(log_y)) ** 2
    total = weight.sum(1)
    mean_x, mean_y = (weight * log_x).sum(1) / total, (weight * target).sum(1) / total
    dx = log_x - mean_x[:, None]
    slope = (weight * dx * target).sum(1) / (weight * dx**2).sum(1)
    return mean_y - slope * mean_x, -slope


def _residual(u: Floats, b: Floats, c: Floats, log_x: Floats, log_y: Floats) -> Floats:
    return np.log(np.exp(u[:, None] - b[:, None] * log_x) + c) - log_y


def _objective(
    u: Floats, b: Floats, c: Floats, log_x: Floats, log_y: Floats, delta: float
) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        value = huber(_residual(u, b, c, log_x, log_y), delta).mean(1)
    return np.where(np.isfinite(value), value, np.inf)


def _newton_step(
    u: Floats, b: Floats, c: Floats, log_x: Floats, log_y: Floats, delta: float, damping: Floats
) -> tuple[Floats, Floats]:
    power = np.exp(u[:, None] - b[:, None] * log_x)
    residual = np.log(power + c) - log_y
    size = np.abs(residual)
    weight = np.minimum(1.0, delta / np.maximum(size, 1e-300))
    inside = np.maximum((size <= delta).mean(1), 1e-300)
    stride = np.clip(weight.mean(1) / inside, 1.0, _LONGEST_STRIDE)
    by_u = power / (power + c)
    by_b = -by_u * log_x
    h_uu, h_ub, h_bb = ((weight * p).sum(1) for p in (by_u**2, by_u * by_b, by_b**2))
    g_u, g_b = ((weight * p * residual).sum(1) for p in (by_u, by_b))
    h_uu, h_bb = h_uu * (1 + damping), h_bb * (1 + damping)
    scale = -stride / np.maximum(h_uu * h_bb - h_ub**2, 1e-300)
    return scale * (h_bb * g_u - h_ub * g_b), scale * (h_uu * g_b - h_ub * g_u)
