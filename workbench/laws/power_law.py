"""Power law plus constant, L(C) = L0 + a·C^(−b), with intervals that say what is not identified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtri

from workbench.errors import DataError
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats, profile_power_law

PFLOP = 1e15
_GRID = 96
_ZOOMS = 6
_EDGE_STEPS = 24
_EDGE_ZOOMS = 2


@dataclass(frozen=True, kw_only=True)
class PowerLawFit(FittedLaw):
    """Fitted L(C) = L0 + a·C^(−b), C in PFLOP.

    Parameters
    ----------
    a, b, L0 : Estimate
        Amplitude [nats/token], exponent and irreducible loss [nats/token], with the interval of
        the profile of the objective over L0. The objective is the mean Huber loss (δ = 1e-3) of
        the log residuals.
    """

    a: Estimate
    b: Estimate
    L0: Estimate

    law = "power"
    formula = "L = L0 + a * C**(-b), C in PFLOP"
    names = ("a", "b", "L0")

    @property
    def identified(self) -> bool:
        """Whether the data exclude L0 = 0 and bound L0 from below the smallest loss."""
        return self.L0.lower > 0 and not self.warnings

    def predict(self, compute_pflop: ArrayLike) -> Floats:
        """Return the loss [nats/token] at a compute given in PFLOP."""
        compute = np.asarray(compute_pflop, dtype=np.float64)
        return self.L0.estimate + self.a.estimate * compute**-self.b.estimate


def fit_power_law(
    compute_pflop: ArrayLike, loss: ArrayLike, *, level: float = LEVEL
) -> PowerLawFit:
    """Fit L0 + a·C^(−b) to end points by the exact profile over L0.

    The objective is that of Qiu et al. 2025 (mean Huber loss, δ = 1e-3, of the log residuals, with
    L0 ≥ 0); its global minimum is found instead of the luckiest of many starts.

    Parameters
    ----------
    compute_pflop : array-like of shape (point,)
        Training compute C [PFLOP].
    loss : array-like of shape (point,)
        Final loss [nats/token], seed-averaged.
    level : float
        Level of the intervals.

    Returns
    -------
    PowerLawFit

    Raises
    ------
    DataError
        If there are fewer than three different compute values, or a value is not positive.

    Notes
    -----
    The interval of L0 holds every value whose profile objective stays below
    min·(1 + F(1, n − 3; level)/(n − 3)), the likelihood-ratio region for an error scale estimated
    from the same residuals. The intervals of a and b are their ranges along that region.
    With three points nothing is left to judge the fit by, and the interval of L0 is everything.
    """
    compute, losses = _points(compute_pflop, loss)
    log_x, log_y = np.log(compute), np.log(losses)
    centre = log_x.mean()
    smallest = float(losses.min())

    best = _minimise(log_x - centre, log_y, smallest)
    region = _region(log_x - centre, log_y, smallest, best, len(losses), level)
    u, b, value = (p[0] for p in profile_power_law(log_x - centre, log_y, np.array([best])))
    u_all, b_all, _ = profile_power_law(log_x - centre, log_y, region)
    amplitude = np.exp(u_all + b_all * centre)
    low, high = float(region.min()), float(region.max())
    return PowerLawFit(
        a=Estimate(float(np.exp(u + b * centre)), float(amplitude.min()), float(amplitude.max())),
        b=Estimate(float(b), float(b_all.min()), float(b_all.max())),
        L0=Estimate(best, low, high),
        objective=float(value),
        n_points=len(losses),
        interval="profile of the objective over L0, likelihood-ratio region",
        level=level,
        warnings=_warnings(low, high, smallest, len(losses)),
    )


def _points(compute_pflop: ArrayLike, loss: ArrayLike) -> tuple[Floats, Floats]:
    compute = np.asarray(compute_pflop, dtype=np.float64)
    losses = np.asarray(loss, dtype=np.float64)
    if compute.shape != losses.shape or compute.ndim != 1:
        msg = f"compute and loss must be 1-d and equally long, found {compute.shape, losses.shape}."
        raise DataError(msg)
    if not (np.isfinite(compute).all() and np.isfinite(losses).all()):
        msg = "The power law needs finite compute and loss; a point has neither. Drop it."
        raise DataError(msg)
    if (compute <= 0).any() or (losses <= 0).any():
        msg = f"The power law needs positive compute and loss, found a smallest of {losses.min()}."
        raise DataError(msg)
    if len(np.unique(compute)) < 3:
        msg = (
            f"The power law needs end points at 3 or more compute values, found "
            f"{len(np.unique(compute))}. Add model sizes, or use --offset zero or a number."
        )
        raise DataError(msg)
    return compute, losses


def _constants(smallest: float, low: float, high: float, n: int) -> Floats:
    """Trial constants, evenly spaced in log(smallest − L0): fine where the law is sensitive."""
    return smallest - np.geomspace(smallest - low, smallest - high, n)


def _minimise(log_x: Floats, log_y: Floats, smallest: float) -> float:
    low, high = 0.0, smallest * (1 - 1e-6)
    for _ in range(_ZOOMS):
        trial = _constants(smallest, low, high, _GRID)
        objective = profile_power_law(log_x, log_y, trial)[2]
        k = int(np.argmin(objective))
        low, high = float(trial[max(k - 1, 0)]), float(trial[min(k + 1, _GRID - 1)])
    return float(trial[k])


def _region(
    log_x: Floats, log_y: Floats, smallest: float, best: float, n: int, level: float
) -> Floats:
    """Return trial constants that fill the interval of L0, its two ends refined."""
    top = smallest * (1 - 1e-6)
    trial = np.sort(np.append(_constants(smallest, 0.0, top, 2 * _GRID), best))
    if n <= 3:
        return trial
    at_best = float(profile_power_law(log_x, log_y, np.array([best]))[2][0])
    bound = at_best * (1 + fdtri(1, n - 3, level) / (n - 3))

    def inside(constants: Floats) -> NDArray[np.bool_]:
        return np.asarray(profile_power_law(log_x, log_y, constants)[2] <= bound)

    holds = inside(trial) | (trial == best)
    first, last = np.flatnonzero(holds)[[0, -1]]
    outer = trial[[max(first - 1, 0), min(last + 1, len(trial) - 1)]]
    low, high = _edges(inside, outer, trial[[first, last]])
    between = trial[(trial > low) & (trial < high)]
    return np.concatenate([[low], between, [high]])


def _edges(inside: Callable[[Floats], NDArray[np.bool_]], outer: Floats, inner: Floats) -> Floats:
    """Refine both ends of the interval, each between a constant outside and one inside."""
    for _ in range(_EDGE_ZOOMS):
        steps = np.linspace(outer, inner, _EDGE_STEPS, axis=1)
        found = inside(steps.ravel()).reshape(steps.shape)
        found[:, -1] = True
        first = found.argmax(axis=1)
        ends = np.arange(2)
        outer, inner = steps[ends, np.maximum(first - 1, 0)], steps[ends, first]
    return inner


def _warnings(low: float, high: float, smallest: float, n: int) -> tuple[str, ...]:
    found = []
    if n <= 3:
        found.append("3 end points leave nothing to judge L0 by: add model sizes.")
    elif low <= 0:
        found.append(
            f"L0 is not identified: every value from 0 to {high:.4g} nats/token fits within the "
            "interval. Widen the ladder, add seeds, or give the offset as a number."
        )
    if n > 3 and high >= smallest * (1 - 1e-5):
        found.append("L0 is not bounded from above: it may be as high as the smallest loss.")
    return tuple(found)
