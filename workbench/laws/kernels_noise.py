"""Array kernels of the gradient-noise law of Qiu et al. 2025. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def flow_time(factor: Floats) -> Floats:
    """Return the gradient-flow time after each step: the trapezoid sum of learning-rate factors.

    Parameters
    ----------
    factor : ndarray of shape (steps,)
        Learning rate as a share of the peak, one value per step.

    Returns
    -------
    ndarray of shape (steps,)
    """
    return np.concatenate([[0.0], np.cumsum(0.5 * (factor[1:] + factor[:-1]))])


def causal_mean(position: Floats, values: Floats, half_life: float) -> Floats:
    """Average the past with exponentially falling weight, on an uneven grid.

    Parameters
    ----------
    position : ndarray of shape (obs,)
        Increasing positions, for instance tokens.
    values : ndarray of shape (..., obs)
        Curves; values between positions are taken on straight lines.
    half_life : float
        Distance at which the weight has halved.

    Returns
    -------
    ndarray of shape (..., obs)
        NaN at the first position, which has no past.
    """
    gap = np.diff(position)
    kept = np.exp2(-gap / half_life)
    total, weight = np.zeros(values.shape[:-1]), 0.0
    out = np.full(values.shape, np.nan)
    for i in range(len(gap)):
        half = 0.5 * gap[i]
        total = kept[i] * (total + half * values[..., i]) + half * values[..., i + 1]
        weight = kept[i] * (weight + half) + half
        out[..., i + 1] = total / weight
    return out


def weighted_median_slope(x: Floats, y: Floats, weight: Floats) -> float:
    """Return the slope a that minimises Σ weight·|y − a·x|.

    Parameters
    ----------
    x, y, weight : ndarrays of shape (obs,)
        Points, and what each counts.

    Returns
    -------
    float
    """
    use = x != 0
    slope, pull = y[use] / x[use], (weight * np.abs(x))[use]
    order = np.argsort(slope)
    passed = np.cumsum(pull[order])
    return float(slope[order][np.searchsorted(passed, passed[-1] / 2)])


def added_noise(reference: Floats, change: Floats, trace: Floats, alpha: float) -> Floats:
    """Return L + α·(η' − η)·Tr Σ' (Eq. 16): the loss under another schedule at equal flow time."""
    return reference + alpha * change * trace


def forecast_noise(
    reference: Floats, change: Floats, ratio: Floats, alpha: float, floor: float
) -> Floats:
    """Return L0 + (L − L0)/(1 − α·h·(η' − η)) (Eq. 18), h = Tr Σ/(L − L0) of a relative."""
    return floor + (reference - floor) / (1 - alpha * ratio * change)
