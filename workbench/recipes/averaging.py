"""AdamW as an average: which updates the final weights are made of.

θ_t = (1 − α_t)θ_{t−1} + α_t x_t with α_t = η_t λ: the final weights are a convex combination of
the updates and of the first weights (Wang & Aitchison 2024, arXiv:2405.13698; Bergsma et al. 2025,
arXiv:2502.15938). With η_t = η η̂_t and τ = 1/(ηλT), α_t = η̂_t/(τT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError
from workbench.recipes.course import Course, Floats


@dataclass(frozen=True)
class UpdateWeights:
    """The final weights as a weighted mean.

    Parameters
    ----------
    updates : ndarray of shape (step,)
        Weight of each step's update.
    initial : float
        Weight of what the run started from; all of them sum to 1.
    """

    updates: Floats
    initial: float

    @property
    def effective_updates(self) -> float:
        """Number of equally weighted updates with the same variance, (Σc)²/Σc²."""
        return float(self.updates.sum() ** 2 / (self.updates**2).sum())


def update_weights(factors: ArrayLike, *, tau: float) -> UpdateWeights:
    """Return how much of each update is left in the final weights, step by step.

    Parameters
    ----------
    factors : array-like of shape (step,)
        Learning rate of every step as a share of the peak.
    tau : float
        Timescale of the peak rate, share of the run.

    Raises
    ------
    ArgumentError
        If τ is at most one step where the rate peaks: a step would overwrite all weights.
    """
    factor = np.asarray(factors, dtype=np.float64)
    _positive_tau(tau)
    alpha = factor / (tau * factor.size)
    if alpha.max(initial=0.0) >= 1:
        msg = (
            f"tau {tau:g} of {factor.size} steps is at most one step: an update would overwrite "
            "the weights. Raise tau or the number of steps."
        )
        raise ArgumentError(msg)
    # What is left after step i of the weights before it, counted from the end.
    left = np.append(np.cumprod((1 - alpha)[::-1])[::-1], 1.0)
    return UpdateWeights(alpha * left[1:], float(left[0]))


def update_density(schedule: Course, progress: ArrayLike, *, tau: float) -> Floats:
    """Return the weight of updates per unit of progress in the limit of many steps.

    (η̂(x)/τ)·exp(−(G(1) − G(x))/τ) with G the gradient-flow time; its integral and
    `initial_weight` sum to 1.
    """
    _positive_tau(tau)
    ahead = schedule.flow_time(1.0) - schedule.flow_time(progress)
    return np.asarray(schedule.at(progress) / tau * np.exp(-ahead / tau))


def initial_weight(schedule: Course, *, tau: float) -> float:
    """Return exp(−G(1)/τ), what is left of the first weights in the limit of many steps."""
    _positive_tau(tau)
    return float(np.exp(-schedule.flow_time(1.0) / tau))


def _positive_tau(tau: float) -> None:
    if not tau > 0:
        msg = f"tau must be positive, found {tau!r}. It is a share of the run."
        raise ArgumentError(msg)
