"""One mode of a noisy quadratic under AdamW's moving average, for any schedule.

The weights average x with timescale τ (a fraction of the run): dθ = (η̂/τ)·(−θ dt + σ dW), so with
M = E[θ²] the expected loss is h·M/2 and (Bergsma et al. 2025, Eqs. 10 to 16, for constant η̂)::

    dM/dt = −2·(η̂/τ)·M + (η̂/τ)²·σ²

η̂ is the learning rate over its peak and may change in any way with t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def second_moment(factor: Floats, tau: float, start: float, noise: float) -> Floats:
    """Return M after every step of a run, exact for a rate that is constant within each step.

    Parameters
    ----------
    factor : ndarray of shape (steps,)
        η̂ of equal steps that together fill the run, t from 0 to 1.
    tau : float
        Timescale at the peak rate, fraction of the run.
    start : float
        M at t = 0.
    noise : float
        Variance σ² of the averaged signal.

    Returns
    -------
    ndarray of shape (steps + 1,)
        M at t = 0, 1/steps, …, 1.

    Notes
    -----
    Within a step of rate c = η̂/τ: M ← M·e^(−2c·dt) + c·σ²/2·(1 − e^(−2c·dt)).
    """
    rate = factor / tau
    kept = np.exp(-2 * rate / len(factor))
    gained = -0.5 * rate * noise * np.expm1(-2 * rate / len(factor))
    return _recursion(kept, gained, start)


def fading_start(factor: Floats, tau: float) -> Floats:
    """Return e^(−2∫η̂/τ), the share of the start's M that is left, shape (steps + 1,)."""
    spent = np.cumsum(factor) / (tau * len(factor))
    return np.concatenate([[1.0], np.exp(-2 * spent)])


def nearest_start(
    ell: Floats, left: Floats, kept_up: Floats, tau: Floats, trial: Floats
) -> tuple[float, float]:
    """Return the start and the floor with which one mode comes nearest to curves.

    Parameters
    ----------
    ell : ndarray of shape (run, x)
        Normalised curves, x at the end 1.
    left, kept_up : ndarrays of shape (run, x)
        Share left of the start and M of the noise alone at σ² = 2τ, at the same progress.
    tau : ndarray of shape (run,)
        Timescales.
    trial : ndarray
        Starts E[θ(0)²]/σ² to try.

    Returns
    -------
    start, floor : float
        The least mean square over all points; for each start the best floor ≥ 0 is exact.
    """
    found = []
    for start in trial:
        moment = 2 * tau[:, None] * start * left + kept_up
        above = moment / moment[:, -1:] - 1
        weight = float(np.sum(above * (ell - 1)) / np.sum(above**2))
        weight = min(max(weight, 1e-3), 1.0)
        found.append((float(np.sum((weight * above - ell + 1) ** 2)), float(start), weight))
    _, start, weight = min(found)
    return start, 1 / weight - 1


def sgd_second_moment(factor: Floats, tau: float, start: float, noise: float) -> Floats:
    """Return E[θ²] of the discrete average θ ← (1 − a)·θ + a·x with a = η̂/(τ·steps).

    Parameters
    ----------
    factor, tau, start, noise
        As in `second_moment`; x has variance noise·steps, which keeps the limit of many steps.

    Returns
    -------
    ndarray of shape (steps + 1,)
    """
    a = factor / (tau * len(factor))
    return _recursion((1 - a) ** 2, a**2 * noise * len(factor), start)


def _recursion(kept: Floats, gained: Floats, start: float) -> Floats:
    """Return the values of m ← kept·m + gained from `start` on."""
    out = np.empty(len(kept) + 1)
    out[0] = value = start
    for i in range(len(kept)):
        value = kept[i] * value + gained[i]
        out[i + 1] = value
    return out


def simulate(
    factor: Floats,
    tau: float,
    start: float,
    noise: float,
    *,
    paths: int,
    rng: np.random.Generator,
    every: int = 1,
) -> tuple[Floats, Floats]:
    """Estimate E[θ²] by running the discrete average many times.

    Parameters
    ----------
    factor, tau, start, noise
        As in `sgd_second_moment`; θ starts normal with variance `start`.
    paths : int
        Independent runs.
    rng : numpy.random.Generator
        Source of the noise.
    every : int
        Steps between reported values.

    Returns
    -------
    mean, standard_error : ndarrays of shape (1 + steps // every,)
    """
    a = factor / (tau * len(factor))
    theta = np.sqrt(start) * rng.standard_normal(paths)
    spread = np.sqrt(noise * len(factor))
    squares = [theta**2]
    for i, share in enumerate(a, start=1):
        theta = (1 - share) * theta + share * spread * rng.standard_normal(paths)
        if i % every == 0:
            squares.append(theta**2)
    values = np.stack(squares)
    return values.mean(1), values.std(1, ddof=1) / np.sqrt(paths)
