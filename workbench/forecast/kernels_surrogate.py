"""Array kernels of the surrogate of a normalised loss curve in (τ, TPP) under any schedule.

Bergsma et al. 2025 (arXiv:2509.25087, Eqs. 4 and 5, appendix D.1): a power of progress plus a
term that follows the learning rate, divided by its value at the end,

    ℓ̂(x) ∝ ((1 + ε₁)/(x + ε₁))^m + b·(η̂(x) + ε₂)^q,   b = b₀·τ^b₁,   q = q₀·TPP^q₁.

Only the curve above the floor of the loss is shaped like that in general; with the floor zero, as
in the paper, ℓ̂ is the whole curve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Laws = Literal["both", "b", "q", "none"]
EPSILON_PROGRESS = 1e-3
EPSILON_LR = 0.1
_FREE = {"both": (0, 1, 2, 3), "b": (0, 1, 2), "q": (0, 2, 3), "none": (0, 2)}
_GRID = 9
_ZOOMS = 5
_SPANS = ((1.5, 1.2), (1.5, 1.2))
_LOG_LIMIT = 6.0
_SMOOTHING = 1e-4
_RIDGE = 1e-6  # too weak to move what the curves say, strong enough to stop what they do not


def surrogate_curve(
    progress: ArrayLike, lr_factor: ArrayLike, b: ArrayLike, q: ArrayLike, m: float
) -> Floats:
    """Evaluate ℓ̂ for given b and q.

    Parameters
    ----------
    progress : array-like of shape (x,)
        Share of the planned run; the last entry is where ℓ̂ is 1, so it must be the end.
    lr_factor : array-like of shape (..., x)
        Learning rate as a share of its peak.
    b, q : array-like of shape (...)
        Weight and exponent of the learning-rate term.
    m : float
        Exponent of progress.

    Returns
    -------
    ndarray of shape (..., x)
        Exactly 1 in the last column.
    """
    x = np.asarray(progress, dtype=np.float64)
    eta = np.asarray(lr_factor, dtype=np.float64)
    weight, power = (np.asarray(p, dtype=np.float64)[..., None] for p in (b, q))
    falling = ((1 + EPSILON_PROGRESS) / (x + EPSILON_PROGRESS)) ** m
    raw = falling + weight * np.exp(power * np.log(eta + EPSILON_LR))
    out: Floats = raw / raw[..., -1:]
    return out


def controls_to_shape(parameters: ArrayLike, log_tau: ArrayLike, log_tpp: ArrayLike) -> Floats:
    """Return b and q of shape (2, ..., run) for parameters (log b₀, b₁, log q₀, q₁) of (..., 4).

    The log controls are those the parameters are centred at.
    """
    p = np.asarray(parameters, dtype=np.float64)[..., None, :]
    log_b = p[..., 0] + p[..., 1] * np.asarray(log_tau, dtype=np.float64)
    log_q = p[..., 2] + p[..., 3] * np.asarray(log_tpp, dtype=np.float64)
    limited = np.clip(np.stack([log_b, log_q]), -3 * _LOG_LIMIT, _LOG_LIMIT)
    out: Floats = np.exp(limited)
    return out


def macro_mae(
    parameters: Floats,
    m: float,
    target: Floats,
    progress: Floats,
    lr_factor: Floats,
    controls: tuple[Floats, Floats],
) -> Floats:
    """Return the mean over runs of mean |ℓ̂ − ℓ|, one value per row of `parameters` (..., 4)."""
    b, q = controls_to_shape(parameters, *controls)
    error = np.abs(surrogate_curve(progress, lr_factor, b, q, m) - target)
    out: Floats = np.nanmean(np.nanmean(error, axis=-1), axis=-1)
    return out


def alternating_fit(
    target: Floats,
    progress: Floats,
    lr_factor: Floats,
    controls: tuple[Floats, Floats],
    *,
    m: float,
    laws: Laws = "both",
    start: ArrayLike = (-1.6, 0.0, 0.0, 0.0),
    sweeps: int = 12,
    tolerance: float = 1e-4,
) -> Iterator[tuple[Floats, float]]:
    """Fit by the paper's recipe: 2-d grids over (b₀, b₁) and (q₀, q₁) in turn, each zoomed.

    Parameters
    ----------
    target : ndarray of shape (run, x)
        Normalised curves; NaN are left out.
    progress : ndarray of shape (x,)
        Common grid up to the end of the run.
    lr_factor : ndarray of shape (run, x)
        Learning rate as a share of its peak.
    controls : pair of ndarrays of shape (run,)
        Log τ and log TPP, centred.
    m : float
        Exponent of progress.
    laws : {"both", "b", "q", "none"}
        Which of b and q may depend on its control; the others stay constants.
    start : array-like of shape (4,)
        First (log b₀, b₁, log q₀, q₁).
    sweeps : int
        Most pairs of grids.
    tolerance : float
        Stop when a sweep lowers the objective by less than this share.

    Yields
    ------
    parameters, objective
        After every sweep; the objective never rises.
    """
    best = np.asarray(start, dtype=np.float64).copy()
    fixed = [i for i in range(4) if i not in _FREE[laws]]
    best[fixed] = 0.0

    def objective(rows: Floats) -> Floats:
        return macro_mae(rows, m, target, progress, lr_factor, controls)

    value = float(objective(best))
    for _ in range(sweeps):
        before = value
        for pair, span in zip(((0, 1), (2, 3)), _SPANS, strict=True):
            free = [i for i in pair if i in _FREE[laws]]
            best, value = _zoomed_grid(objective, best, value, free, span)
        yield best.copy(), value
        if before - value <= tolerance * before:
            return


def _zoomed_grid(
    objective: Callable[[Floats], Floats],
    best: Floats,
    value: float,
    free: list[int],
    span: tuple[float, float],
) -> tuple[Floats, float]:
    """Search a grid around `best` in one or two parameters, then finer grids around the finds."""
    width = np.array(span)[: len(free)]
    for _ in range(_ZOOMS):
        axes = [best[i] + np.linspace(-w, w, _GRID) for i, w in zip(free, width, strict=True)]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(free))
        for row in mesh.reshape(-1, _GRID, len(free)):
            tried = np.repeat(best[None], len(row), axis=0)
            tried[:, free] = row
            found = objective(tried)
            k = int(np.argmin(found))
            if found[k] < value:
                best, value = tried[k], float(found[k])
        width = width / 2.5
    return best, value


def joint_fit(
    target: Floats,
    progress: Floats,
    lr_factor: Floats,
    controls: tuple[Floats, Floats],
    *,
    m: float,
    laws: Laws = "both",
    start: ArrayLike = (-1.6, 0.0, 0.0, 0.0),
    iterations: int = 60,
) -> tuple[Floats, float]:
    """Fit all constants together: damped Gauss-Newton on a smoothed absolute error.

    Arguments are those of `alternating_fit`; the result is (parameters, objective), found one to
    two orders of magnitude sooner.
    """
    free = list(_FREE[laws])
    best = np.asarray(start, dtype=np.float64).copy()
    best[[i for i in range(4) if i not in free]] = 0.0
    known = np.isfinite(target)
    share = known / (known.sum(1, keepdims=True) * len(target))
    clean = np.where(known, target, 0.0)

    def residual(rows: Floats) -> Floats:
        b, q = controls_to_shape(rows, *controls)
        out: Floats = np.where(known, surrogate_curve(progress, lr_factor, b, q, m) - clean, 0.0)
        return out

    def objective(error: Floats) -> float:
        return float((share * np.sqrt(error**2 + _SMOOTHING**2)).sum())

    def total(rows: Floats, error: Floats) -> float:
        return objective(error) + _RIDGE * float(rows @ rows)

    error, damping = residual(best), 1e-3
    value = total(best, error)
    step = 1e-5 * np.eye(4)[free]
    for _ in range(iterations):
        slopes = ((residual(best + step) - error) / 1e-5).reshape(len(free), -1)
        weight = (share / np.sqrt(error**2 + _SMOOTHING**2)).ravel()
        normal = (slopes * weight) @ slopes.T + 2 * _RIDGE * np.eye(len(free))
        pull = (slopes * weight) @ error.ravel() + 2 * _RIDGE * best[free]
        scale = np.diag(normal) + 1e-9 * np.trace(normal) + 1e-300
        tried = best.copy()
        tried[free] -= np.linalg.solve(normal + damping * np.diag(scale), pull)
        found = residual(tried)
        gain = value - total(tried, found)
        if gain > 0:
            best, error, value, damping = tried, found, value - gain, damping / 5
            if gain <= 1e-7 * value:
                break
        else:
            damping = max(damping, 1e-6) * 8
            if damping > 1e8:
                break
    return best, float(macro_mae(best, m, target, progress, lr_factor, controls))
