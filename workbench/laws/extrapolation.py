"""What a power law through end points says of another compute, with the interval of its mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError
from workbench.laws.estimate import LEVEL, Estimate
from workbench.laws.kernels import held_exp, profile_power_law, reach
from workbench.laws.power_law import PowerLawFit, fit_power_law, profile_bound

_CONSTANTS = 65


@dataclass(frozen=True)
class Extrapolation:
    """A loss read off a fitted power law.

    Parameters
    ----------
    loss : Estimate
        Loss [nats/token] and its range over every law within the bound of the fit's objective.
    fit : PowerLawFit
        The law.
    beyond : float
        Compute asked for over the largest fitted.
    """

    loss: Estimate
    fit: PowerLawFit
    beyond: float


def extrapolate_power_law(
    compute_pflop: ArrayLike, loss: ArrayLike, *, at: float, level: float = LEVEL
) -> Extrapolation:
    """Fit L0 + a·C^(−b) and read it at another compute.

    Parameters
    ----------
    compute_pflop : array-like of shape (point,)
        Training compute [PFLOP].
    loss : array-like of shape (point,)
        Final loss [nats/token], seed-averaged.
    at : float
        Compute to predict [PFLOP].
    level : float
        Level of the interval. It is the profile interval of the law's mean: scatter of a single
        run around the law comes on top.

    Raises
    ------
    ArgumentError
        If `at` is not positive.
    DataError
        As `fit_power_law`.
    """
    if not (np.isfinite(at) and at > 0):
        msg = f"at must be a positive compute in PFLOP, found {at!r}."
        raise ArgumentError(msg)
    fit = fit_power_law(compute_pflop, loss, level=level)
    log_x = np.log(np.asarray(compute_pflop, dtype=np.float64))
    log_y = np.log(np.asarray(loss, dtype=np.float64))
    constants = np.linspace(fit.L0.lower, fit.L0.upper, _CONSTANTS)
    centre = log_x.mean()
    solved = profile_power_law(log_x - centre, log_y, constants)
    low, high = reach(
        log_x - centre,
        log_y,
        constants,
        *solved,
        bound=profile_bound(fit.objective, len(log_y), level),
        along=(1.0, float(centre - np.log(at))),
    )
    best = float(fit.predict(at))
    lower, upper = (constants + held_exp(low)).min(), (constants + held_exp(high)).max()
    return Extrapolation(
        loss=Estimate(best, min(best, float(lower)), max(best, float(upper))),
        fit=fit,
        beyond=float(at / np.exp(log_x.max())),
    )
