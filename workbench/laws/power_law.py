"""Power law plus constant, L(C) = L0 + a·C^(−b), with intervals that say what is not identified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtri

from workbench.errors import DataError
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats, held_exp, profile_power_law, reach

PFLOP = 1e15
_GRID = 129
_ZOOMS = 5
_ZOOM_GRID = 17
_EDGE_STEPS = 24
_EDGE_ZOOMS = 2
_INSIDE = 33
_COARSE, _FINE = 1e-6, 1e-10


@dataclass(frozen=True, kw_only=True)
class PowerLawFit(FittedLaw):
    """Fitted L(C) = L0 + a·C^(−b), C in PFLOP.

    Parameters
    ----------
    a, b, L0 : Estimate
        Amplitude [nats/token], exponent and irreducible loss [nats/token], each with its profile
        interval. The objective is the mean Huber loss (δ = 1e-3) of the log residuals.
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
    An interval holds every value of its parameter for which some values of the other two keep the
    objective below min·(1 + F(1, n − 3; level)/(n − 3)), the likelihood-ratio region for an error
    scale estimated from the same residuals. With three points nothing is left to judge the fit by:
    the interval of L0 is everything, those of a and b are their ranges along it.
    """
    compute, losses = _points(compute_pflop, loss)
    log_x, log_y = np.log(compute), np.log(losses)
    centre = log_x.mean()
    smallest, n = float(losses.min()), len(losses)
    whole = _Profile(log_x - centre, log_y, smallest)
    best = whole.minimum()
    bound = profile_bound(float(best.value[0]), n, level)
    if n <= 3:
        inside = _stacked([best, whole.coarse])
    else:
        ends = whole.region(best, bound)
        inside = _stacked([best, ends, whole.between(best, ends)])
    low, high = float(inside.c.min()), float(inside.c.max())
    a, b = (
        whole.extremes(inside, bound, (1.0, float(centre))),
        whole.extremes(inside, bound, (0.0, 1.0)),
    )
    amplitude = best.u + best.b * centre
    return PowerLawFit(
        a=Estimate(*(float(value) for value in held_exp(np.array([amplitude[0], *a])))),
        b=Estimate(float(best.b[0]), *b),
        L0=Estimate(float(best.c[0]), low, high),
        objective=float(best.value[0]),
        n_points=n,
        interval="profile of the objective over each parameter, likelihood-ratio region",
        level=level,
        warnings=_warnings(low, high, smallest, n),
    )


def profile_bound(objective: float, n: int, level: float) -> float:
    """Return the objective below which `n` points hold a parameter at `level`.

    The likelihood ratio for an error scale estimated from the same points; −∞ with three points,
    which leave nothing to estimate it from.
    """
    return objective * (1 + float(fdtri(1, n - 3, level)) / (n - 3)) if n > 3 else -np.inf


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


@dataclass(frozen=True)
class _Solved:
    """Trial constants with the best power law of each."""

    c: Floats
    u: Floats
    b: Floats
    value: Floats

    def pick(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> _Solved:
        return _Solved(self.c[rows], self.u[rows], self.b[rows], self.value[rows])


class _Profile:
    """Objective against L0: solved once on a coarse grid, refined from there."""

    def __init__(self, log_x: Floats, log_y: Floats, smallest: float) -> None:
        self._log_x, self._log_y, self._smallest = log_x, log_y, smallest
        trial = _constants(smallest, 0.0, smallest * (1 - 1e-6), _GRID)
        self.coarse = self._solve(trial, None, _COARSE)

    def _solve(self, c: Floats, near: _Solved | None, tolerance: float = _FINE) -> _Solved:
        start = None
        if near is not None:
            order = np.argsort(near.c)
            u, b = (np.interp(c, near.c[order], known[order]) for known in (near.u, near.b))
            start = (u, b)
        found = profile_power_law(self._log_x, self._log_y, c, start=start, tolerance=tolerance)
        return _Solved(c, *found)

    def minimum(self) -> _Solved:
        """Return the constant of the lowest objective, by zooming into the profile."""
        here = self.coarse
        for _ in range(_ZOOMS):
            k = int(np.argmin(here.value))
            low, high = here.c[max(k - 1, 0)], here.c[min(k + 1, len(here.c) - 1)]
            here = self._solve(_constants(self._smallest, low, high, _ZOOM_GRID), here)
        return here.pick(np.array([int(np.argmin(here.value))]))

    def region(self, best: _Solved, bound: float) -> _Solved:
        """Return both ends of the interval of L0, refined."""
        at = int(np.searchsorted(self.coarse.c, best.c[0]))
        rest = np.arange(len(self.coarse.c))
        known = _stacked([self.coarse.pick(rest < at), best, self.coarse.pick(rest >= at)])
        holds = (known.value <= bound) | (known.c == best.c[0])
        first, last = np.flatnonzero(holds)[[0, -1]]
        ends = [
            self._edge(known, max(first - 1, 0), first, bound),
            self._edge(known, min(last + 1, len(known.c) - 1), last, bound),
        ]
        return _stacked(ends)

    def _edge(self, known: _Solved, outer: int, inner: int, bound: float) -> _Solved:
        """Refine one end between a constant outside the region and one inside."""
        end, near = known.pick(np.array([inner])), known.pick(np.array([outer, inner]))
        outside, inside = known.c[outer], known.c[inner]
        for _ in range(_EDGE_ZOOMS):
            steps = self._solve(np.linspace(outside, inside, _EDGE_STEPS), near)
            holds = steps.value <= bound
            holds[-1] = True
            k = int(holds.argmax())
            outside, inside = steps.c[max(k - 1, 0)], steps.c[k]
            end, near = steps.pick(np.array([k])), steps
        return end

    def between(self, best: _Solved, ends: _Solved) -> _Solved:
        """Return constants spread over the interval, solved."""
        known = _stacked([self.coarse, best, ends])
        return self._solve(
            _constants(self._smallest, float(ends.c.min()), float(ends.c.max()), _INSIDE), known
        )

    def extremes(
        self, inside: _Solved, bound: float, along: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the range of a combination of u and b over the region below a bound."""
        low, high = reach(
            self._log_x,
            self._log_y,
            inside.c,
            inside.u,
            inside.b,
            inside.value,
            bound=bound,
            along=along,
        )
        return float(low.min()), float(high.max())


def _stacked(parts: Sequence[_Solved]) -> _Solved:
    columns = zip(*((part.c, part.u, part.b, part.value) for part in parts), strict=True)
    return _Solved(*(np.concatenate(column) for column in columns))


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
