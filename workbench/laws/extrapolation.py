"""What a power law through end points says of another compute, with the interval of its mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError
from workbench.laws.estimate import LEVEL, Estimate
from workbench.laws.kernels import Floats, profile_power_law
from workbench.laws.power_law import PowerLawFit, fit_power_law

_CONSTANTS = 65


@dataclass(frozen=True)
class Extrapolation:
    """A loss read off a fitted power law.

    Parameters
    ----------
    loss : Estimate
        Loss [nats/token] and its range over every L0 that the fit's interval holds.
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
    """A fitted power law with the best law of every L0 inside its interval.

    Parameters
    ----------
    fit : PowerLawFit
        The law.
    constants, log_amplitude, exponent : ndarray of shape (law,)
        L0 [nats/token], log amplitude at `centre` and exponent of the laws inside the interval.
    centre : float
        Log compute [PFLOP] the amplitudes are at.
    largest : float
        Largest compute fitted [PFLOP].
    """

    fit: PowerLawFit
    constants: Floats
    log_amplitude: Floats
    exponent: Floats
    centre: float
    largest: float

    def at(self, compute_pflop: float) -> Extrapolation:
        """Read the law at a compute [PFLOP]; `ArgumentError` if that is not positive."""
        if not (np.isfinite(compute_pflop) and compute_pflop > 0):
            msg = f"at must be a positive compute in PFLOP, found {compute_pflop!r}."
            raise ArgumentError(msg)
        away = np.log(compute_pflop) - self.centre
        along = self.constants + np.exp(self.log_amplitude - self.exponent * away)
        best = float(self.fit.predict(compute_pflop))
        return Extrapolation(
            loss=Estimate(best, min(best, float(along.min())), max(best, float(along.max()))),
            fit=self.fit,
            beyond=float(compute_pflop / self.largest),
        )


def power_law_band(
    compute_pflop: ArrayLike, loss: ArrayLike, *, level: float = LEVEL
) -> PowerLawBand:
    """Fit L0 + a·C^(−b), to be read anywhere; arguments and errors as `extrapolate_power_law`."""
    fit = fit_power_law(compute_pflop, loss, level=level)
    log_x = np.log(np.asarray(compute_pflop, dtype=np.float64))
    log_y = np.log(np.asarray(loss, dtype=np.float64))
    constants = np.linspace(fit.L0.lower, fit.L0.upper, _CONSTANTS)
    centre = float(log_x.mean())
    u, b, _ = profile_power_law(log_x - centre, log_y, constants)
    return PowerLawBand(fit, constants, u, b, centre, float(np.exp(log_x.max())))


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
        Level of the interval. It is that of the law's mean by the profile over L0: scatter of a
        single run around the law comes on top.

    Raises
    ------
    ArgumentError
        If `at` is not positive.
    DataError
        As `fit_power_law`.
    """
    return power_law_band(compute_pflop, loss, level=level).at(at)
