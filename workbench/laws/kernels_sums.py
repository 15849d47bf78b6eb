"""Array kernel of sums of power laws: log y ≈ log Σ_t exp(u_t − Σ_j features[t, :, j]·m_j).

A constant is a term without features, Chinchilla's law is a constant, a term in log N and a term in
log D, tied exponents are one column used by two terms. The misfit is Huber's loss of the log
residual (Hoffmann et al. 2022, arXiv:2203.15556, section 3.3). For given exponents m the
amplitudes exp(u) solve a linear problem: that projection, over a grid of exponents, gives the
starts; a damped, reweighted Gauss-Newton and a quasi-Newton end give the minimum.

Parameters travel as one vector: first u (one per term), then m (one per exponent).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from workbench.laws.kernels import HUBER_DELTA, Floats, huber

_REWEIGHTINGS = 4
_STARTS_KEPT = 4
_RELATIVE_DECREASE = 1e-9
_SMALLEST_SHARE = 1e-9
_LONGEST_STRIDE = 1.9


def log_sum(features: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Evaluate the law for many parameter vectors.

    Parameters
    ----------
    features : ndarray of shape (term, point, exponent)
        Log features; a term without any is a constant.
    theta : ndarray of shape (k, term + exponent)
        Parameter vectors.

    Returns
    -------
    log_model : ndarray of shape (k, point)
    share : ndarray of shape (k, term, point)
        Part of the model each term holds.
    """
    terms = features.shape[0]
    z = np.repeat(theta[:, :terms, None], features.shape[1], axis=2)
    for t, j in _used(features):
        z[:, t] -= theta[:, terms + j, None] * features[t, :, j]
    top = z.max(axis=1)
    share = np.exp(z - top[:, None])
    total = share.sum(axis=1)
    share /= total[:, None]
    return top + np.log(total), share


def slopes(features: Floats, share: Floats) -> Floats:
    """Return d log_model / d theta, shape (k, parameter, point)."""
    terms, points, exponents = features.shape
    out = np.zeros((len(share), terms + exponents, points))
    out[:, :terms] = share
    for t, j in _used(features):
        out[:, terms + j] -= share[:, t] * features[t, :, j]
    return out


def _used(features: Floats) -> list[tuple[int, int]]:
    """Name the pairs of term and exponent that meet."""
    return [(int(t), int(j)) for t, j in zip(*np.nonzero(features.any(axis=1)), strict=True)]


def objective(
    features: Floats,
    log_y: Floats,
    theta: Floats,
    *,
    weight: Floats | float = 1.0,
    delta: float = HUBER_DELTA,
) -> Floats:
    """Return the mean (weighted) Huber loss of the log residuals, shape (k,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _mean_loss(log_sum(features, theta)[0] - log_y, weight, delta)


def _mean_loss(residual: Floats, weight: Floats | float, delta: float) -> Floats:
    value = (weight * huber(residual, delta)).mean(axis=1)
    return np.where(np.isfinite(value), value, np.inf)


def project(
    features: Floats, log_y: Floats, exponents: Floats, *, delta: float = HUBER_DELTA
) -> Floats:
    """Return the parameter vectors with the best amplitudes for given exponents.

    Parameters
    ----------
    features : ndarray of shape (term, point, exponent)
        Log features, centred.
    log_y : ndarray of shape (point,)
        Log of the data.
    exponents : ndarray of shape (k, exponent)
        Trial exponents.

    Returns
    -------
    ndarray of shape (k, term + exponent)

    Notes
    -----
    Linear least squares on the relative residual, reweighted by Huber's weights; an amplitude that
    would be negative is held at a vanishing share of the data.
    """
    terms = features.shape[0]
    blank = np.concatenate([np.zeros((len(exponents), terms)), exponents], axis=1)
    z = np.zeros((len(exponents), terms, len(log_y))) - log_y
    for t, j in _used(features):
        z[:, t] -= exponents[:, j, None] * features[t, :, j]
    norm = z.max(axis=2, keepdims=True)
    basis = np.exp(z - norm)
    weight = np.ones((len(exponents), 1, len(log_y)))
    for _ in range(_REWEIGHTINGS):
        weighted = basis * weight
        gram = weighted @ basis.transpose(0, 2, 1)
        np.einsum("ktt->kt", gram)[...] *= 1 + 1e-12
        amplitude = np.linalg.solve(gram, weighted.sum(axis=2, keepdims=True))
        amplitude = np.maximum(amplitude, _SMALLEST_SHARE)
        residual = np.abs((basis * amplitude).sum(axis=1, keepdims=True) - 1)
        weight = np.minimum(1.0, delta / np.maximum(residual, 1e-300))
    blank[:, :terms] = np.log(amplitude[..., 0]) - norm[..., 0]
    return blank


def descend(
    features: Floats,
    log_y: Floats,
    theta: Floats,
    *,
    weight: Floats | float = 1.0,
    free: NDArray[np.bool_] | None = None,
    delta: float = HUBER_DELTA,
    iterations: int = 40,
) -> tuple[Floats, Floats]:
    """Lower the objective from many starts at once by damped, reweighted Gauss-Newton.

    Parameters
    ----------
    theta : ndarray of shape (k, parameter)
        Starts.
    weight : float or ndarray of shape (k, point)
        Weight of each point, for bootstrap draws.
    free : ndarray of bool, shape (parameter,), optional
        Which parameters move; all by default.
    iterations : int
        At most so many.

    Returns
    -------
    theta : ndarray of shape (k, parameter)
    objective : ndarray of shape (k,)
        Never above the objective at the start.

    Notes
    -----
    Huber's weights overstate the curvature where many residuals exceed δ; the stride makes up for
    it, up to the factor of 2 below which a step on an upper bound of the objective still descends.
    """
    theta = theta.copy()
    moves = np.arange(theta.shape[1]) if free is None else np.flatnonzero(free)
    log_model, share = log_sum(features, theta)
    residual = log_model - log_y
    value = _mean_loss(residual, weight, delta)
    damping = np.full(len(theta), 1e-6)
    settled = np.zeros(len(theta), dtype=bool)
    for _ in range(iterations):
        tried = theta.copy()
        slope = slopes(features, share)[:, moves]
        tried[:, moves] -= _step(slope, residual, weight, delta, damping)
        with np.errstate(over="ignore", invalid="ignore"):
            log_model, share_there = log_sum(features, tried)
            there = _mean_loss(log_model - log_y, weight, delta)
        better = there <= value
        settled |= better & (value - there <= _RELATIVE_DECREASE * value)
        theta = np.where(better[:, None], tried, theta)
        residual = np.where(better[:, None], log_model - log_y, residual)
        share = np.where(better[:, None, None], share_there, share)
        value = np.where(better, there, value)
        damping = np.where(better, np.maximum(damping / 10, 1e-9), damping * 30)
        if bool(np.all(settled | (damping > 1e6))):
            break
    return theta, value


def _step(
    slope: Floats, residual: Floats, weight: Floats | float, delta: float, damping: Floats
) -> Floats:
    size = np.abs(residual)
    pull = weight * np.minimum(1.0, delta / np.maximum(size, 1e-300))
    inside = (weight * (size <= delta)).mean(axis=1)
    stride = np.clip(pull.mean(axis=1) / np.maximum(inside, 1e-300), 1.0, _LONGEST_STRIDE)
    weighted = slope * pull[:, None]
    hessian = weighted @ slope.transpose(0, 2, 1)
    diagonal = np.einsum("kpp->kp", hessian)
    diagonal += damping[:, None] * diagonal + 1e-14 * diagonal.max(axis=1, keepdims=True) + 1e-300
    gradient = weighted @ residual[..., None]
    return np.asarray(stride[:, None] * np.linalg.solve(hessian, gradient)[..., 0])


def polish(
    features: Floats, log_y: Floats, theta: Floats, *, delta: float = HUBER_DELTA
) -> tuple[Floats, float]:
    """Bring one parameter vector to the minimum by BFGS in coordinates of unit curvature.

    Gauss-Newton with Huber's weights is slow where most residuals exceed δ: the misfit is then
    nearly the sum of their sizes, and its curvature comes from the few points within δ.
    """
    n = len(log_y)
    log_model, share = log_sum(features, theta[None])
    slope = slopes(features, share)[0]
    pull = np.minimum(1.0, delta / np.maximum(np.abs(log_model[0] - log_y), 1e-300))
    values, vectors = np.linalg.eigh((slope * pull) @ slope.T / n)
    to_theta = vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    start = float(objective(features, log_y, theta[None], delta=delta)[0])
    scale = 1 / max(start, 1e-300)
    to_theta /= np.sqrt(scale)

    def value_and_slope(shift: Floats) -> tuple[float, Floats]:
        log_model, share = log_sum(features, (theta + to_theta @ shift)[None])
        residual = log_model[0] - log_y
        gradient = slopes(features, share)[0] @ np.clip(residual, -delta, delta) / n
        return scale * float(huber(residual, delta).mean()), scale * (to_theta.T @ gradient)

    with np.errstate(over="ignore", invalid="ignore"):
        found = minimize(
            value_and_slope,
            np.zeros(len(theta)),
            jac=True,
            method="BFGS",
            options={"gtol": 1e-6, "maxiter": 200},
        )
    end = theta + to_theta @ found.x
    value = float(objective(features, log_y, end[None], delta=delta)[0])
    return (end, value) if value <= start else (theta, start)


def fit_log_sum(
    features: Floats, log_y: Floats, exponents: Floats, *, delta: float = HUBER_DELTA
) -> tuple[Floats, float]:
    """Return the parameter vector of the lowest objective found, and that objective.

    Parameters
    ----------
    features : ndarray of shape (term, point, exponent)
        Log features; centre them for good conditioning.
    log_y : ndarray of shape (point,)
        Log of the data.
    exponents : ndarray of shape (k, exponent)
        Trial exponents; the amplitudes are projected out of each.
    """
    starts = project(features, log_y, exponents, delta=delta)
    value = objective(features, log_y, starts, delta=delta)
    best = starts[np.argsort(value)[:_STARTS_KEPT]]
    theta, value = descend(features, log_y, best, delta=delta, iterations=20)
    return polish(features, log_y, theta[int(np.argmin(value))], delta=delta)
