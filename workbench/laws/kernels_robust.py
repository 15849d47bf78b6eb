"""Robust nonlinear least squares with a prior: Huber's loss of log residuals, exact gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from workbench.laws.kernels import HUBER_DELTA, huber

Floats = NDArray[np.float64]
Curve = Callable[[Floats], tuple[Floats, Floats]]
_TINY = 1e-300
_POSITIVE = 1e-6


@dataclass(frozen=True)
class Prior:
    """Independent normal prior; `strength` is its weight against the mean loss of the data.

    The minimised function is mean Huber loss + strength·δ²/2·Σ ((p − mean)/sd)², so that the fit
    does not depend on how often the curves were logged.
    """

    mean: Floats
    sd: Floats
    strength: float

    def weight(self, n: int) -> Floats:
        """Return what multiplies (p − mean) in the residual of a fit to `n` records."""
        root = np.sqrt(self.strength * n) * HUBER_DELTA
        return np.asarray(root / self.sd, dtype=np.float64)


@dataclass(frozen=True)
class Solution:
    """Best parameters, mean Huber loss there, and their covariance."""

    params: Floats
    objective: float
    covariance: Floats
    evaluations: int


def minimise(
    curve: Curve,
    loss: Floats,
    starts: Sequence[Floats],
    *,
    lower: Floats,
    upper: Floats,
    free: NDArray[np.bool_],
    cluster: NDArray[np.int64],
    prior: Prior | None = None,
) -> Solution:
    """Fit a curve to log losses from several starts and keep the lowest minimum.

    Parameters
    ----------
    curve : callable
        Parameters to (loss of shape (obs,), slope of shape (obs, parameter)).
    loss : ndarray of shape (obs,)
        Losses, all positive.
    starts : sequence of ndarray of shape (parameter,)
        Starting points; what is not free keeps its value there.
    lower, upper : ndarrays of shape (parameter,)
        Bounds.
    free : ndarray of bool, shape (parameter,)
        Which parameters are fitted.
    cluster : ndarray of int, shape (obs,)
        Stretch of curve each record belongs to; residuals of one stretch may be correlated.
    prior : Prior, optional
        Normal prior on all parameters (infinite sd: none on that one).

    Returns
    -------
    Solution

    Notes
    -----
    Huber's loss of a residual r is the square of r/√2 up to δ and of √(δ|r| − δ²/2) beyond, so a
    trust-region least-squares solver minimises it exactly. The covariance is the cluster-robust
    sandwich H⁻¹·(Σ_c g_c·g_cᵀ + prior)·H⁻¹ with H of Gauss and Newton: with correlated residuals
    the usual (JᵀJ)⁻¹ would promise intervals many times too narrow.
    """
    log_loss = np.log(loss)
    weight = np.zeros(len(lower)) if prior is None else prior.weight(len(loss))
    centre = np.zeros(len(lower)) if prior is None else prior.mean

    def parts(full: Floats) -> tuple[Floats, Floats, Floats]:
        with np.errstate(over="ignore", invalid="ignore"):
            value, slope = curve(full)
        value = np.maximum(np.nan_to_num(value, nan=_POSITIVE), _POSITIVE)
        residual = np.log(value) - log_loss
        return residual, np.nan_to_num(slope / value[:, None]), weight * (full - centre)

    best: tuple[float, Floats, int] | None = None
    for start in starts:
        full = np.clip(start, lower + 1e-9, upper - 1e-9)
        found = _solve(parts, full, free, lower, upper, weight)
        if best is None or found[0] < best[0]:
            best = found
    assert best is not None
    _, params, evaluations = best
    residual, slope, _ = parts(params)
    sd = np.zeros(len(lower)) if prior is None else np.where(np.isfinite(prior.sd), prior.sd, 0.0)
    covariance = _sandwich(residual, slope, cluster, weight, sd, free)
    return Solution(params, float(huber(residual).mean()), covariance, evaluations)


def _solve(
    parts: Callable[[Floats], tuple[Floats, Floats, Floats]],
    start: Floats,
    free: NDArray[np.bool_],
    lower: Floats,
    upper: Floats,
    weight: Floats,
) -> tuple[float, Floats, int]:
    prior_rows = np.diag(weight)
    seen: tuple[bytes, tuple[Floats, Floats, Floats]] = (b"", (start, start, start))

    def full(z: Floats) -> Floats:
        out = start.copy()
        out[free] = z
        return out

    def at(z: Floats) -> tuple[Floats, Floats, Floats]:
        # The solver asks for residual and slope of an accepted point one after the other, and the
        # curve gives both at once: the last point is kept, which halves the time of a fit.
        nonlocal seen
        key = z.tobytes()
        if key != seen[0]:
            seen = key, parts(full(z))
        return seen[1]

    def residual(z: Floats) -> Floats:
        r, _, prior = at(z)
        return np.concatenate([_root(r), prior])

    def jacobian(z: Floats) -> Floats:
        r, slope, _ = at(z)
        root = np.maximum(np.abs(_root(r)), _TINY)
        factor = np.where(np.abs(r) <= HUBER_DELTA, 1.0, HUBER_DELTA / root)
        return np.vstack([factor[:, None] * slope, prior_rows])[:, free]

    with np.errstate(over="ignore"):
        found = least_squares(
            residual,
            start[free],
            jac=jacobian,
            bounds=(lower[free], upper[free]),
            x_scale="jac",
            xtol=1e-8,
            ftol=1e-8,
            gtol=1e-14,
            max_nfev=120,
        )
    return float(found.cost), full(found.x), int(found.nfev)


def _root(r: Floats) -> Floats:
    """Return the signed root whose half square is Huber's loss."""
    size = np.abs(r)
    beyond = np.sqrt(np.maximum(2 * HUBER_DELTA * size - HUBER_DELTA**2, 0.0))
    return np.where(size <= HUBER_DELTA, r, np.sign(r) * beyond)


def _sandwich(
    residual: Floats,
    slope: Floats,
    cluster: NDArray[np.int64],
    weight: Floats,
    sd: Floats,
    free: NDArray[np.bool_],
) -> Floats:
    factor = np.minimum(1.0, HUBER_DELTA / np.maximum(np.abs(residual), _TINY))
    slope, held = slope[:, free], weight[free] ** 2
    # The curvature of Huber's loss is 1 within δ and 0 beyond; its mean is estimated over a window
    # that holds half the residuals, or the density at zero would rest on a handful of them.
    window = max(HUBER_DELTA, float(np.median(np.abs(residual))))
    curvature = HUBER_DELTA / window * float((np.abs(residual) <= window).mean())
    hessian = curvature * slope.T @ slope + np.diag(held)
    score = np.zeros((int(cluster.max()) + 1, int(free.sum())))
    np.add.at(score, cluster, slope * (factor * residual)[:, None])
    # What the prior says is itself uncertain by its sd, which gives its score this variance.
    spread = (held * sd[free]) ** 2
    groups = len(score)
    scale = groups / max(groups - 1, 1)
    inverse = np.linalg.pinv(hessian, rcond=1e-14, hermitian=True)
    out = np.zeros((len(weight), len(weight)))
    out[np.ix_(free, free)] = inverse @ (scale * score.T @ score + np.diag(spread)) @ inverse
    return out
