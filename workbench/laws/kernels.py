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
_REACH_ITERATIONS = 12
_REACH_TOLERANCE = 1e-3


def huber(residual: Floats, delta: float = HUBER_DELTA) -> Floats:
    """Return Huber's loss: r²/2 up to `delta`, then linear."""
    size = np.abs(residual)
    return np.where(size <= delta, 0.5 * residual**2, delta * (size - 0.5 * delta))


def held_exp(x: Floats) -> Floats:
    """Return e^x, held at the largest number where it would overflow: a bound that is no bound."""
    return np.asarray(np.exp(np.minimum(x, np.log(np.finfo(np.float64).max) - 1)))


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


def reach(
    log_x: Floats,
    log_y: Floats,
    constants: Floats,
    u: Floats,
    b: Floats,
    value: Floats,
    *,
    bound: float,
    along: tuple[float, float],
    delta: float = HUBER_DELTA,
) -> tuple[Floats, Floats]:
    """Return how far a combination of u and b goes while the objective stays within a bound.

    Parameters
    ----------
    log_x, log_y, constants : ndarrays
        As for `profile_power_law`.
    u, b, value : ndarrays of shape (c,)
        What `profile_power_law` found for the constants.
    bound : float
        Largest objective allowed; where `value` is not below it there is no way to go.
    along : (float, float)
        The combination: weights of u and of b.

    Returns
    -------
    low, high : ndarrays of shape (c,)
        Smallest and largest along·(u, b) at each constant.

    Notes
    -----
    For squares the level sets are ellipses, and their extreme lies from the minimum in the
    direction H⁻¹·along. That direction is kept and its length is found on the objective itself.
    """
    c, budget = constants[:, None], np.maximum(bound - value, 0.0)
    h_uu, h_ub, h_bb = _curvature(u, b, c, log_x, log_y, delta)[0] / len(log_x)
    scale = 1 / np.maximum(h_uu * h_bb - h_ub**2, 1e-300)
    du = scale * (h_bb * along[0] - h_ub * along[1])
    db = scale * (h_uu * along[1] - h_ub * along[0])
    gain = np.maximum(along[0] * du + along[1] * db, 1e-300)
    ends = []
    for sign in (-1.0, 1.0):
        step = sign * np.sqrt(2 * budget / gain)
        for _ in range(_REACH_ITERATIONS):
            rise = _objective(u + step * du, b + step * db, c, log_x, log_y, delta) - value
            ratio = np.sqrt(budget / np.maximum(rise, 1e-300))
            ratio = np.where(budget > 0, np.clip(ratio, 0.3, 3.0), 1.0)
            step = step * ratio
            if np.abs(ratio - 1).max() < _REACH_TOLERANCE:
                break
        ends.append(along[0] * u + along[1] * b + step * gain)
    return ends[0], ends[1]


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
    (h_uu, h_ub, h_bb), (g_u, g_b), stride = _curvature(u, b, c, log_x, log_y, delta)
    h_uu, h_bb = h_uu * (1 + damping), h_bb * (1 + damping)
    scale = -stride / np.maximum(h_uu * h_bb - h_ub**2, 1e-300)
    return scale * (h_bb * g_u - h_ub * g_b), scale * (h_uu * g_b - h_ub * g_u)


def _curvature(
    u: Floats, b: Floats, c: Floats, log_x: Floats, log_y: Floats, delta: float
) -> tuple[Floats, Floats, Floats]:
    """Return the reweighted normal matrix (uu, ub, bb), the gradient (u, b) and the stride."""
    power = np.exp(u[:, None] - b[:, None] * log_x)
    residual = np.log(power + c) - log_y
    size = np.abs(residual)
    weight = np.minimum(1.0, delta / np.maximum(size, 1e-300))
    inside = np.maximum((size <= delta).mean(1), 1e-300)
    stride = np.clip(weight.mean(1) / inside, 1.0, _LONGEST_STRIDE)
    by_u = power / (power + c)
    by_b = -by_u * log_x
    normal = np.stack([(weight * p).sum(1) for p in (by_u**2, by_u * by_b, by_b**2)])
    gradient = np.stack([(weight * p * residual).sum(1) for p in (by_u, by_b)])
    return normal, gradient, stride
