"""Array kernels of loss laws that read a learning-rate schedule. Arrays in, arrays out.

Both laws share one form. A slow power law falls with the learning-rate sum S, and every drop of
the learning rate buys a loss reduction that unfolds with time::

    L(t) = L0 + A·S(t)^(−α) − B·S(t)^(−κ)·Σ_k (η_{k−1} − η_k)·G_k(t)

Multi-Power Law (Luo et al. 2025): G_k = 1 − (1 + C·η_k^(−γ)·S_k(t))^(−β), S_k = Σ_{i=k..t} η_i.
Annealing law (Tissue et al. 2024): G_k = 1 − λ^(t−k+1). Both papers have κ = 0.

The sums run over every step, the rises of the warm-up included. Consecutive changes of one sign are
gathered into blocks, so that a path of any length costs at most a few hundred terms per record.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MAX_BLOCKS = 512
SMALLEST_LR = 1e-4
_CHUNK = 2048
_LEVEL = 0.1


@dataclass(frozen=True)
class Path:
    """A schedule as the laws see it, at the records of one run.

    Parameters
    ----------
    lr_sum : ndarray of shape (obs,)
        S at each record: the sum of the learning rates of steps 0..step, warm-up included.
    step : ndarray of shape (obs,)
        Steps of the records.
    drop : ndarray of shape (block,)
        Summed drops η_{k−1} − η_k of each block; negative while the rate rises.
    lr : ndarray of shape (block,)
        Learning rate after the drop, drop-weighted, never below `SMALLEST_LR` of the largest.
    sum_before, start : ndarrays of shape (block,)
        Learning-rate sum up to step k − 1, and k, drop-weighted.
    """

    lr_sum: Floats
    step: Floats
    drop: Floats
    lr: Floats
    sum_before: Floats
    start: Floats


def make_path(lr: Floats, step: Integers, *, max_blocks: int = MAX_BLOCKS) -> Path:
    """Gather a learning rate per step into blocks of drops.

    Parameters
    ----------
    lr : ndarray of shape (steps,)
        Learning rate of every step from step 0 on.
    step : ndarray of int, shape (obs,)
        Steps of the records, each below ``len(lr)``.
    max_blocks : int
        A path with more changes than this is gathered; a jump stays one exact term.

    Returns
    -------
    Path
    """
    total = np.cumsum(lr)
    drop = np.concatenate([[0.0], lr[:-1] - lr[1:]])
    changed = np.flatnonzero(np.abs(drop) > 1e-12 * lr.max())
    width = max(1, -(-len(lr) // max_blocks))
    after = np.maximum(lr[changed], SMALLEST_LR * lr.max())
    # Near a rate of zero the rate after a drop matters by its ratio, so blocks end there sooner.
    level = np.floor(np.log(after / lr.max()) / _LEVEL)
    apart = np.diff(changed // width) + np.diff(drop[changed] > 0) + (np.diff(level) != 0)
    block = np.concatenate([np.zeros(min(1, len(changed)), np.int64), np.cumsum(apart != 0)])
    gathered = np.bincount(block, drop[changed]).astype(np.float64)

    def weighted(values: Floats) -> Floats:
        return np.bincount(block, drop[changed] * values) / gathered

    return Path(
        lr_sum=total[step],
        step=step.astype(np.float64),
        drop=gathered,
        lr=weighted(after),
        sum_before=weighted(total[changed] - lr[changed]),
        start=weighted(changed.astype(np.float64)),
    )


def power_shape(path: Path, shape: Floats) -> tuple[Floats, Floats]:
    """Return Σ drop·G of the Multi-Power Law and its derivatives.

    Parameters
    ----------
    path : Path
        Learning rates in units of a reference rate.
    shape : ndarray of shape (3,)
        log C, log β, γ, in the same units.

    Returns
    -------
    value : ndarray of shape (obs,)
    slope : ndarray of shape (obs, 3)
    """
    log_c, log_beta, gamma = shape
    beta, log_lr = np.exp(log_beta), np.log(path.lr)
    value, slope = np.empty(len(path.step)), np.empty((len(path.step), 3))
    for first in range(0, len(value), _CHUNK):
        rows = slice(first, first + _CHUNK)
        passed = np.maximum(path.lr_sum[rows, None] - path.sum_before, 0.0)
        x = np.exp(log_c - gamma * log_lr) * passed
        log_u = np.log1p(x)
        left = np.exp(-beta * log_u)
        by_c = beta * left * x / (1 + x)
        value[rows] = (1 - left) @ path.drop
        slope[rows, 0] = by_c @ path.drop
        slope[rows, 1] = beta * ((left * log_u) @ path.drop)
        slope[rows, 2] = -(by_c @ (log_lr * path.drop))
    return value, slope


def exponential_shape(path: Path, shape: Floats) -> tuple[Floats, Floats]:
    """Return Σ drop·G of the annealing law and its derivative by log of the memory in steps.

    Parameters
    ----------
    path : Path
        The schedule.
    shape : ndarray of shape (1,)
        log M, with λ = exp(−1/M).

    Returns
    -------
    value : ndarray of shape (obs,)
    slope : ndarray of shape (obs, 1)
    """
    memory = np.exp(shape[0])
    value, slope = np.empty(len(path.step)), np.empty((len(path.step), 1))
    for first in range(0, len(value), _CHUNK):
        rows = slice(first, first + _CHUNK)
        age = np.maximum(path.step[rows, None] - path.start + 1, 0.0) / memory
        left = np.exp(-age)
        value[rows] = (1 - left) @ path.drop
        slope[rows, 0] = -((left * age) @ path.drop)
    return value, slope


def in_units(path: Path, lr: float) -> Path:
    """Return the path with learning rates in units of `lr`, so that S counts steps at that rate."""
    return Path(
        lr_sum=path.lr_sum / lr,
        step=path.step,
        drop=path.drop / lr,
        lr=path.lr / lr,
        sum_before=path.sum_before / lr,
        start=path.start,
    )


def curve(
    path: Path, params: Floats, *, exponential: bool = False, horizon: float = 1.0
) -> tuple[Floats, Floats]:
    """Return the loss and its derivatives by every parameter.

    Parameters
    ----------
    path : Path
        The schedule, in the units the parameters are in.
    params : ndarray of shape (parameter,)
        L0, log A, α, log B, κ, then the shape (`power_shape` or `exponential_shape`).
    exponential : bool
        The annealing law instead of the Multi-Power Law.
    horizon : float
        Learning-rate sum at which A and B are counted: S enters as S/horizon.

    Returns
    -------
    loss : ndarray of shape (obs,)
    slope : ndarray of shape (obs, parameter)
    """
    floor, log_a, alpha, log_b, kappa = params[:5]
    shape = exponential_shape if exponential else power_shape
    drop, by_shape = shape(path, params[5:])
    log_s = np.log(path.lr_sum / horizon)
    slow, gain = np.exp(log_a - alpha * log_s), np.exp(log_b - kappa * log_s)
    fixed = [np.ones_like(slow), slow, -slow * log_s, -gain * drop, gain * drop * log_s]
    slope = np.column_stack([*fixed, -gain[:, None] * by_shape])
    return floor + slow - gain * drop, slope
