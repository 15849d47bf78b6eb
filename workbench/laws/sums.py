"""Fit a sum of power laws to points: outliers left out and named, intervals by bootstrap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from workbench.errors import DataError
from workbench.laws import kernels_sums as kernels
from workbench.laws.estimate import LEVEL, Estimate
from workbench.laws.kernels import HUBER_DELTA, Floats

OUTLIER = 10.0
DRAWS = 200
_NORMAL_MAD = 1.4826
_GRID = {1: 24, 2: 8, 3: 5}
_EXPONENTS = (0.05, 1.5)
_FEWEST_FOR_OUTLIERS = 20
_DRAW_ITERATIONS = 8
_RESIDUAL_ITERATIONS = 20
_TWO_SIDED = 0.975
_LOST_SHARE = 0.1
_NOTHING = 0.01


@dataclass(frozen=True)
class SumFit:
    """Parameters of a sum of power laws: first the log amplitudes, then the exponents.

    Parameters
    ----------
    theta : ndarray of shape (parameter,)
        At the minimum, for features as given (not centred).
    draws : ndarray of shape (draw, parameter)
        The same for bootstrap draws, widened for the number of parameters.
    objective : float
        Mean Huber loss of the log residuals of the points kept.
    kept : ndarray of bool, shape (point,)
        Points fitted; the others were left out as outliers.
    residual : ndarray of shape (point,)
        log data − log law, of all points.
    least : float
        Lowest of the data kept.
    """

    theta: Floats
    draws: Floats = field(repr=False)
    objective: float
    kept: NDArray[np.bool_] = field(repr=False)
    residual: Floats = field(repr=False)
    least: float

    def amplitude(self, term: int, *, level: float = LEVEL) -> Estimate:
        """Return exp(u) of a term, with its interval."""
        return percentiles(np.exp(self.theta[term]), np.exp(self.draws[:, term]), level=level)

    def exponent(self, position: int, *, level: float = LEVEL) -> Estimate:
        """Return the exponent at `position` counted from the end of the vector's amplitudes."""
        return percentiles(self.theta[position], self.draws[:, position], level=level)

    def floor(self, *, level: float = LEVEL) -> Estimate:
        """Return the constant, which is the first term, with its interval below all data."""
        drawn = np.exp(np.minimum(self.draws[:, 0], np.log(self.least)))
        return percentiles(np.exp(self.theta[0]), drawn, level=level)

    def floor_note(self, name: str, *, level: float = LEVEL) -> tuple[str, ...]:
        """Say when the constant may as well be nothing; else nothing."""
        floor = self.floor(level=level)
        if floor.lower >= max(_LOST_SHARE * floor.estimate, _NOTHING * self.least):
            return ()
        return (f"{name} is not identified: its interval reaches down to nothing.",)


def percentiles(estimate: float, draws: Floats, *, level: float = LEVEL) -> Estimate:
    """Return an estimate with the percentile interval of its draws, never without itself."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(estimate), min(float(low), estimate), max(float(high), estimate))


def fit_sum(
    features: Floats,
    y: Floats,
    *,
    outliers: float | None = OUTLIER,
    draws: int = DRAWS,
    groups: NDArray[np.int64] | None = None,
    delta: float = HUBER_DELTA,
    rng: int | np.random.Generator = 0,
) -> SumFit:
    """Fit y ≈ Σ_t exp(u_t)·Π_j x_tj^(−m_j) in the log, with bootstrap draws.

    Parameters
    ----------
    features : ndarray of shape (term, point, exponent)
        Log features; a term without any is a constant.
    y : ndarray of shape (point,)
        Positive data.
    outliers : float or None
        Points further from the law than so many robust standard deviations (1.4826 times the
        median size of the log residual) are left out and the rest fitted again, until that
        changes nothing; None keeps all. Fewer than 20 points are always all kept.
    draws : int
        Bootstrap draws; 0 makes none.
    groups : ndarray of int, shape (point,), optional
        Points whose errors belong together (records of one run). With groups the residuals of
        whole groups change sign at random; without, points are redrawn.
    delta : float
        Width of Huber's loss on the log residual; large for least squares.
    rng : int or Generator
        Source of the draws.

    Returns
    -------
    SumFit

    Raises
    ------
    DataError
        If there are no more points than parameters, or more than a third would be left out.
    """
    terms, n, exponents = features.shape
    if n <= terms + exponents:
        msg = f"A law with {terms + exponents} parameters needs more points than that, found {n}."
        raise DataError(msg)
    log_y = np.log(y)
    limit = outliers if n >= _FEWEST_FOR_OUTLIERS else None
    kept, (theta, centre, value) = _without_outliers(features, log_y, limit, delta)
    residual = log_y - kernels.log_sum(features, theta[None])[0][0]
    drawn = _draw(
        features[:, kept] - centre[:, None],
        log_y[kept],
        _to_centred(theta, centre),
        draws,
        None if groups is None else groups[kept],
        delta,
        np.random.default_rng(rng),
    )
    return SumFit(theta, _from_centred(drawn, centre), value, kept, residual, float(y[kept].min()))


def _without_outliers(
    features: Floats, log_y: Floats, limit: float | None, delta: float
) -> tuple[NDArray[np.bool_], tuple[Floats, Floats, float]]:
    """Return which points are kept and the fit to them; a limit of None keeps all.

    A point that lies far off while it is fitted and near once it is left out would go back and
    forth for ever: it is no outlier, and stays in.
    """
    n = len(log_y)
    kept = np.ones(n, dtype=bool)
    found = _minimise(features, log_y, None, delta)
    seen = {kept.tobytes()}
    while limit is not None:
        residual = log_y - kernels.log_sum(features, found[0][None])[0][0]
        spread = _NORMAL_MAD * float(np.median(np.abs(residual[kept])))
        still = np.abs(residual) <= limit * max(spread, 1e-9)
        if bool((still == kept).all()):
            break
        if still.sum() < 2 * n / 3:
            msg = (
                f"{n - int(still.sum())} of {n} points lie far from one law: they are no outliers. "
                "Select points of one recipe, or keep all with --outliers keep."
            )
            raise DataError(msg)
        again = still.tobytes() in seen
        kept = kept | still if again else still
        found = _minimise(features[:, kept], log_y[kept], found[0], delta)
        if again:
            break
        seen.add(kept.tobytes())
    return kept, found


def _minimise(
    features: Floats, log_y: Floats, start: Floats | None, delta: float
) -> tuple[Floats, Floats, float]:
    """Return parameters, the centre of the features they were found about, and the objective."""
    centre = features.mean(axis=1)
    centred = features - centre[:, None]
    if start is None:
        side = np.geomspace(*_EXPONENTS, _GRID.get(features.shape[2], 4))
        grid = np.stack(np.meshgrid(*[side] * features.shape[2]), -1).reshape(-1, features.shape[2])
        theta, value = kernels.fit_log_sum(centred, log_y, grid, delta=delta)
    else:
        begin = _to_centred(start, centre)[None]
        warm, _ = kernels.descend(centred, log_y, begin, delta=delta, iterations=20)
        theta, value = kernels.polish(centred, log_y, warm[0], delta=delta)
    return _from_centred(theta[None], centre)[0], centre, value


def _to_centred(theta: Floats, centre: Floats) -> Floats:
    terms = len(centre)
    shift = centre @ theta[terms:]
    return np.concatenate([theta[:terms] - shift, theta[terms:]])


def _from_centred(theta: Floats, centre: Floats) -> Floats:
    terms = len(centre)
    shift = theta[:, terms:] @ centre.T
    return np.concatenate([theta[:, :terms] + shift, theta[:, terms:]], axis=1)


def _draw(
    features: Floats,
    log_y: Floats,
    theta: Floats,
    draws: int,
    groups: NDArray[np.int64] | None,
    delta: float,
    rng: np.random.Generator,
) -> Floats:
    """Refit bootstrap draws from the minimum, all at once.

    Residuals are smaller than errors, and few of them say little about their size: the draws are
    widened by √(n/(n − p)) and by Student's t over the normal at 97.5 %, n points or groups.
    """
    n, p = len(log_y), len(theta)
    if draws == 0:
        return theta[None]
    start = np.tile(theta, (draws, 1))
    if groups is None:
        weight = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
        found, _ = kernels.descend(
            features, log_y, start, weight=weight, delta=delta, iterations=_DRAW_ITERATIONS
        )
    else:
        names, member = np.unique(groups, return_inverse=True)
        sign = rng.choice([-1.0, 1.0], size=(draws, len(names)))[:, member]
        law = kernels.log_sum(features, theta[None])[0]
        found, _ = kernels.descend(
            features,
            law + sign * (log_y - law),
            start,
            delta=delta,
            iterations=_RESIDUAL_ITERATIONS,
        )
        n, p = len(names), min(p, len(names) - 1)
    few = float(stdtrit(n - p, _TWO_SIDED) / ndtri(_TWO_SIDED))
    return np.asarray(theta + few * np.sqrt(n / (n - p)) * (found - theta))
