"""Array kernels of the healthy residual: a level that wanders, noise that lasts, white noise.

The log of a run's loss less that of its reference is modelled as

    z_k = level_k + lasting_k + white_k,

where the level has a slope and both walk at random in ln x (families bend most at the start), the
lasting noise is autoregressive in progress x, and the white noise shrinks with the records that a
block averages. The noise is a run's own, the walk is the family's. The Kalman filter of this model
turns residuals into innovations that are white while the run is healthy, which is what a sequential
test needs (Willsky and Jones 1976).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
CLIP = 4.0
"""Innovations beyond this many standard deviations count as this many."""
_FIRST_LEVEL = 1.0
_PRIOR = np.log([0.1, 0.01, 1e-6, 1e-4])
_PRIOR_SD = np.array([3.0, 1.5, 4.0, 4.0])
_BOUNDS = ((-14.0, 6.0), (-7.0, 0.0), (-32.0, 0.0), (-32.0, 2.0))
_EVALUATIONS = 160
_FITTED_BLOCKS = 256


@dataclass(frozen=True)
class Wander:
    """How far a healthy run strays from its reference; logs of the loss throughout.

    Parameters
    ----------
    lasting : float
        Variance of the noise that outlasts a record, as a multiple of that of the noise that
        does not.
    memory : float
        Share of the run over which the lasting noise is forgotten (1/e).
    level : float
        Variance of the level's walk per unit of ln x.
    slope : float
        Variance of the walk of its slope per unit of ln x.
    """

    lasting: float
    memory: float
    level: float
    slope: float


@dataclass
class Belief:
    """What the filter knows: mean (run, 3) and covariance (run, 3, 3) of level, slope, lasting."""

    mean: Floats
    covariance: Floats
    x: float

    @classmethod
    def first(
        cls, z: Floats, variance: Floats, lasting: Floats, x: float, *, slope_sd: float
    ) -> Belief:
        """Begin at the first block: level at z (run,) with its variance, slope of `slope_sd`."""
        runs = len(z)
        covariance = np.zeros((runs, 3, 3))
        covariance[:, 0, 0] = variance + lasting
        covariance[:, 1, 1] = slope_sd**2
        covariance[:, 2, 2] = lasting
        covariance[:, 0, 2] = covariance[:, 2, 0] = -lasting
        mean = np.zeros((runs, 3))
        mean[:, 0] = z
        return cls(mean, covariance, x)

    def predict(self, x: float, wander: Wander, lasting: Floats) -> Floats:
        """Move on to progress `x`, with lasting noise of variance (run,).

        Returns
        -------
        ndarray of shape (3, 3)
            The transition.
        """
        du, dx = np.log(x / self.x), x - self.x
        kept = np.exp(-dx / wander.memory)
        move = np.array([[1.0, du, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, kept]])
        self.mean = self.mean @ move.T
        self.covariance = move @ self.covariance @ move.T
        self.covariance[:, 0, 0] += wander.level * du
        self.covariance[:, 1, 1] += wander.slope * du
        self.covariance[:, 2, 2] += lasting * (1 - kept**2)
        self.x = x
        return move

    def expected(self) -> tuple[Floats, Floats]:
        """Return the predicted residual (run,) and its variance (run,), white noise not counted."""
        c = self.covariance
        return self.mean[:, 0] + self.mean[:, 2], c[:, 0, 0] + 2 * c[:, 0, 2] + c[:, 2, 2]

    def learn(self, surprise: Floats, total: Floats) -> Floats:
        """Take in innovations (run,) of variance `total`; return the gain (run, 3).

        Innovations are clipped, so that a spike does not move the level. NaN teaches nothing.
        """
        c = self.covariance
        seen = np.isfinite(surprise)
        reach = c[:, :, 0] + c[:, :, 2]
        gain = np.where(seen[:, None], reach / total[:, None], 0.0)
        limit = CLIP * np.sqrt(total)
        step = np.where(seen, np.clip(surprise, -limit, limit), 0.0)
        self.mean = self.mean + gain * step[:, None]
        self.covariance = c - gain[:, :, None] * reach[:, None, :]
        return gain


def innovations(
    z: Floats, variance: Floats, white: Floats, x: Floats, wander: Wander, *, slope_sd: float
) -> tuple[Floats, Floats]:
    """Filter residuals.

    Parameters
    ----------
    z : ndarray of shape (run, block)
        Residuals; NaN where a run has no record.
    variance : ndarray of shape (run, block)
        Variance of their white noise.
    white : ndarray of shape (run,)
        Variance of the white noise of a record.
    x : ndarray of shape (block,)
        Progress.
    wander : Wander
        The model.
    slope_sd : float
        Standard deviation of the level's slope at the start, per unit of ln x.

    Returns
    -------
    innovation, variance : ndarrays of shape (run, block)
        NaN at a run's first block and where it has none.
    """
    out, spread = np.full(z.shape, np.nan), np.full(z.shape, np.nan)
    first = np.isfinite(z).argmax(axis=1)
    rows, lasting = np.arange(len(z)), wander.lasting * white
    begin = z[rows, first], variance[rows, first], lasting
    belief = Belief.first(*begin, float(x[0]), slope_sd=slope_sd)
    start = belief.covariance.copy()
    for k in range(1, len(x)):
        belief.predict(float(x[k]), wander, lasting)
        waiting = k <= first
        belief.covariance[waiting] = start[waiting]
        mean, uncertain = belief.expected()
        total = uncertain + variance[:, k]
        surprise = np.where(waiting, np.nan, z[:, k] - mean)
        belief.learn(surprise, total)
        seen = np.isfinite(surprise)
        out[seen, k], spread[seen, k] = surprise[seen], total[seen]
    return out, spread


def fit_wander(z: Floats, variance: Floats, white: Floats, x: Floats) -> Wander:
    """Fit the model to residuals of healthy runs by robust maximum likelihood.

    Parameters
    ----------
    z : ndarray of shape (run, block)
        Residuals of runs, each against a reference that was made without it.
    variance : ndarray of shape (run, block)
        Variance of their white noise.
    white : ndarray of shape (run,)
        Variance of the white noise of a record.
    x : ndarray of shape (block,)
        Progress.

    Returns
    -------
    Wander
    """
    z, variance, x = _coarser(z, variance, x)
    rough = np.nanmedian(np.abs(np.diff(z, axis=1))) / 0.954 + 1e-7
    start = np.log([0.1, 0.01, rough**2, 1e-4])
    slope_sd = starting_slope(z, x)

    def cost(theta: Floats) -> float:
        wander = Wander(*np.exp(theta))
        found, spread = innovations(z, variance, white, x, wander, slope_sd=slope_sd)
        ratio = found**2 / spread
        robust = np.where(ratio < CLIP**2, ratio, 2 * CLIP * np.sqrt(ratio) - CLIP**2)
        prior = (((theta - _PRIOR) / _PRIOR_SD) ** 2).sum()
        return float(0.5 * np.nansum(np.log(spread) + robust) + 0.5 * prior)

    simplex = np.vstack([start, start + np.diag([1.5, 0.8, -2.5, -2.5])])
    options = {"maxfev": _EVALUATIONS, "xatol": 0.05, "fatol": 0.5, "initial_simplex": simplex}
    best = minimize(cost, start, method="Nelder-Mead", bounds=_BOUNDS, options=options)
    return Wander(*(float(value) for value in np.exp(best.x)))


def _coarser(z: Floats, variance: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
    """Join neighbouring blocks where there are more than the fit needs."""
    joined = -(-len(x) // _FITTED_BLOCKS)
    if joined == 1:
        return z, variance, x
    whole = len(x) // joined * joined
    parts = (len(z), -1, joined)
    known = np.isfinite(z[:, -whole:])
    precision = np.where(known, 1 / variance[:, -whole:], 0.0).reshape(parts)
    total = precision.sum(axis=2)
    summed = (np.where(known, z[:, -whole:], 0.0).reshape(parts) * precision).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, spread = summed / total, 1 / total
    spread = np.where(np.isfinite(spread), spread, 1.0)
    return mean, spread, x[-whole:].reshape(-1, joined).mean(axis=1)


def starting_slope(z: Floats, x: Floats) -> float:
    """Return the spread of the residuals' overall slope per unit of ln x, at least 0.1 %."""
    u = np.log(x)
    slopes = []
    for row in z:
        known = np.isfinite(row)
        if int(known.sum()) >= 8:
            slopes.append(np.polyfit(u[known], row[known], 1)[0])
    return float(max(1e-3, 2 * np.sqrt(np.mean(np.square(slopes))))) if slopes else 0.02
