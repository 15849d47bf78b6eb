"""What a power law through end points says of another compute, with the interval of its mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError
from workbench.laws.estimate import LEVEL, Estimate
from workbench.laws.kernels import Floats, held_exp, profile_power_law, reach
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


@dataclass(frozen=True)
class PowerLawBand:
    """A fitted power law that can be read at any compute.

    Parameters
    ----------
    fit : PowerLawFit
        The law.
    log_compute, log_loss : ndarray of shape (point,)
        Logarithms of the points it was fitted to, compute about `centre`.
    centre : float
        Mean log compute [PFLOP].
    """

    fit: PowerLawFit
    log_compute: Floats
    log_loss: Floats
    centre: float

    @property
    def largest(self) -> float:
        """Return the largest compute fitted [PFLOP]."""
        return float(np.exp(self.log_compute.max() + self.centre))

    @cached_property
    def _constants(self) -> Floats:
        return np.linspace(self.fit.L0.lower, self.fit.L0.upper, _CONSTANTS)

    @cached_property
    def _solved(self) -> tuple[Floats, Floats, Floats]:
        return profile_power_law(self.log_compute, self.log_loss, self._constants)

    def at(self, compute_pflop: float) -> Extrapolation:
        """Read the law at a compute [PFLOP]; `ArgumentError` if that is not positive."""
        if not (np.isfinite(compute_pflop) and compute_pflop > 0):
            msg = f"at must be a positive compute in PFLOP, found {compute_pflop!r}."
            raise ArgumentError(msg)
        fit = self.fit
        low, high = reach(
            self.log_compute,
            self.log_loss,
            self._constants,
            *self._solved,
            bound=profile_bound(fit.objective, len(self.log_loss), fit.level),
            along=(1.0, float(self.centre - np.log(compute_pflop))),
        )
        best = float(fit.predict(compute_pflop))
        lower = float((self._constants + held_exp(low)).min())
        upper = float((self._constants + held_exp(high)).max())
        return Extrapolation(
            loss=Estimate(best, min(best, lower), max(best, upper)),
            fit=fit,
            beyond=float(compute_pflop / self.largest),
        )


def power_law_band(
    compute_pflop: ArrayLike, loss: ArrayLike, *, level: float = LEVEL
) -> PowerLawBand:
    """Fit L0 + a·C^(−b), to be read anywhere; arguments and errors as `extrapolate_power_law`."""
    fit = fit_power_law(compute_pflop, loss, level=level)
    log_x = np.log(np.asarray(compute_pflop, dtype=np.float64))
    log_y = np.log(np.asarray(loss, dtype=np.float64))
    centre = float(log_x.mean())
    return PowerLawBand(fit, log_x - centre, log_y, centre)


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
    return power_law_band(compute_pflop, loss, level=level).at(at)
