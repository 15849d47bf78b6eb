"""The curve a run should follow, from the members of its family that are nearest to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.forecast.kernels_surrogate import controls_to_shape, surrogate_curve

Floats = NDArray[np.float64]
_SAME = 0.05
_SIZE_RIDGE = 0.3
_NEAREST = 16
_CENTRED = 0.25
_ROBUST = 4
_TAPER = 0.1
_MISMATCH = 0.03
"""Slope of the log residual that one e-fold of τ or TPP may add where no member shares them.

Between published runs e-folds of either move a normalised curve by one to three percent.
"""
_SIZE_SHARE = 0.25
_WARMUP = 0.05


@dataclass(frozen=True)
class Controls:
    """What a normalised curve depends on; arrays of shape (run,), NaN or "" where unknown."""

    model_size: Floats
    tau: Floats
    tpp: Floats
    warmup: Floats
    schedule: NDArray[np.str_]

    def take(self, index: NDArray[np.generic]) -> Controls:
        """Keep some runs."""
        return Controls(**{name: values[index] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Surrogate:
    """The constants of a fitted (τ, TPP) surrogate: (log b₀, b₁, log q₀, q₁) about a centre."""

    parameters: tuple[float, float, float, float]
    centre: tuple[float, float]
    m: float

    def log_curve(self, x: Floats, tau: float, tpp: float, factors: Floats) -> Floats:
        """Return log ℓ̂ on `x`, which ends at 1; unknown controls count as the family's usual."""
        logs = [
            [float(np.log(value)) - middle if value > 0 else 0.0]
            for value, middle in zip((tau, tpp), self.centre, strict=True)
        ]
        b, q = controls_to_shape(np.array([self.parameters]), *logs)
        return np.asarray(np.log(surrogate_curve(x, factors[None], b[:, 0], q[:, 0], self.m)[0]))


@dataclass(frozen=True)
class Expectation:
    """An expected curve and how it came about.

    Parameters
    ----------
    log_shape : ndarray of shape (x,)
        log L(x)/L(1).
    members : tuple of int
        Positions of the members it rests on.
    distance : float
        From the nearest of them in e-folds of τ and TPP, a quarter of those of size, twentieths of
        training in warm-up; 1 for another schedule.
    how : str
        In words.
    """

    log_shape: Floats
    members: tuple[int, ...]
    distance: float
    how: str

    @property
    def slope_sd(self) -> float:
        """Slope of the log residual, per unit of ln x, that the distance may add."""
        return _MISMATCH * self.distance


def distances(own: Controls, others: Controls) -> Floats:
    """Return the distance of one run (arrays of length 1) to others; unknown counts as the same."""
    total = np.zeros(len(others.tau))
    for name, weight in (("tau", 1.0), ("tpp", 1.0), ("model_size", _SIZE_SHARE)):
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.log(getattr(others, name) / getattr(own, name)[0])
        total += np.where(np.isfinite(gap), (weight * gap) ** 2, 0.0)
    total += ((others.warmup - own.warmup[0]) / _WARMUP) ** 2
    known = (others.schedule != "") & (own.schedule[0] != "")
    total += np.where(known & (others.schedule != own.schedule[0]), 1.0, 0.0)
    return np.sqrt(total)


def expect(
    own: Controls,
    factors: Floats,
    members: Controls,
    log_shape: Floats,
    member_factors: Floats,
    x: Floats,
    surrogate: Surrogate | None,
    *,
    away: NDArray[np.bool_],
) -> Expectation:
    """Say which curve a run should follow.

    Members of the run's schedule, τ and TPP (within 5 %) are taken where there are any, else the
    nearest ones, moved to the run's controls by the surrogate where there is one. Over members of
    several sizes a trend in log size is fitted at every progress, drawn to none by a ridge.

    Parameters
    ----------
    own : Controls
        Of the run, arrays of length 1.
    factors : ndarray of shape (x,)
        Its learning rate over the peak; NaN when unknown.
    members : Controls
        Of the members.
    log_shape, member_factors : ndarrays of shape (member, x)
        Their curves and learning rates.
    x : ndarray of shape (x,)
        Progress.
    surrogate : Surrogate or None
        Fitted to the members.
    away : ndarray of bool, shape (member, x)
        Where a member saw other data than its sisters: not used where another one tells.

    Returns
    -------
    Expectation
    """
    apart = distances(own, members)
    no_size = replace(own, model_size=np.full(1, np.nan))
    no_warmup = replace(members, warmup=np.broadcast_to(own.warmup, members.warmup.shape))
    same = distances(no_size, no_warmup) <= _SAME
    if same.any():
        chosen = np.flatnonzero(same)
        curves, how = log_shape[chosen], "runs of its schedule, τ and TPP"
    else:
        chosen = np.argsort(apart, kind="stable")[:_NEAREST]
        chosen = chosen[apart[chosen] <= apart[chosen[0]] + 1.0]
        curves, how = log_shape[chosen], "the nearest runs, none of its schedule, τ and TPP"
        if surrogate is not None and np.isfinite(factors).all():
            curves = _moved(own, factors, members, member_factors, curves, chosen, x, surrogate)
            how = "the nearest runs, moved to its τ, TPP and schedule by the surrogate"
    near = members.take(chosen)
    weight = 1 / (0.1 + distances(own, near))
    return Expectation(
        log_shape=_with_size_trend(curves, weight[:, None] * _told(away[chosen]), own, near),
        members=tuple(int(i) for i in chosen),
        distance=float(apart[chosen].min()) if not same.any() else _warmup_gap(own, near),
        how=f"{len(chosen)} {how}",
    )


def _warmup_gap(own: Controls, near: Controls) -> float:
    return float(np.abs(near.warmup - own.warmup[0]).min() / _WARMUP)


def _moved(
    own: Controls,
    factors: Floats,
    members: Controls,
    member_factors: Floats,
    curves: Floats,
    chosen: NDArray[np.int64],
    x: Floats,
    surrogate: Surrogate,
) -> Floats:
    target = surrogate.log_curve(x, float(own.tau[0]), float(own.tpp[0]), factors)
    out = curves.copy()
    for row, i in zip(out, chosen, strict=True):
        if np.isfinite(member_factors[i]).all():
            args = float(members.tau[i]), float(members.tpp[i]), member_factors[i]
            row += target - surrogate.log_curve(x, *args)
    return out


def _told(away: NDArray[np.bool_]) -> Floats:
    """Return how far each curve counts: not where it is away, and less the nearer it is to that.

    Where all of them are away all count.
    """
    index = np.arange(away.shape[1])
    out = np.ones(away.shape)
    for row, gone in zip(out, away, strict=True):
        if gone.any():
            nearest = np.abs(index[:, None] - np.flatnonzero(gone)[None]).min(axis=1)
            row[:] = np.minimum(nearest / (_TAPER * len(index)), 1.0)
    out[:, ~(out > 0).any(axis=0)] = 1.0
    return out


def _with_size_trend(curves: Floats, weight: Floats, own: Controls, near: Controls) -> Floats:
    """Return the robust mean of the curves, with a trend in log size, that ends at 0.

    Curves may have gaps: each is moved up or down to fit the others where it has values.
    """
    known = np.isfinite(curves)
    late = known & (weight > 0) & (np.arange(curves.shape[1]) >= _CENTRED * curves.shape[1])
    full = np.where(known, curves, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.log(near.model_size / own.model_size[0])
    u = np.where(np.isfinite(gap), gap, 0.0)[:, None]
    w = np.where(known, weight, 0.0)
    y = full - _mean(full, late)
    mean, slope = _weighted_line(y, u, w)
    for _ in range(_ROBUST):
        y = full - _mean(full - mean, late)
        off = np.where(known, np.abs(y - mean - slope * u), 0.0)
        usual = float(np.median(off[known]))
        trust = 1 / (1 + (off / (3 * usual)) ** 2) if usual > 0 else 1.0
        mean, slope = _weighted_line(y, u, w * trust)
    out = np.where(w.sum(0) > 0, mean, np.nan)
    return np.asarray(out - out[-1])


def _mean(values: Floats, where: NDArray[np.bool_]) -> Floats:
    count = np.maximum(where.sum(axis=1, keepdims=True), 1)
    return np.asarray((values * where).sum(axis=1, keepdims=True) / count)


def _weighted_line(y: Floats, u: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Return value at u = 0 and slope of a line at every point, the slope drawn to 0."""
    s0, s1, s2 = w.sum(0), (w * u).sum(0), (w * u**2).sum(0)
    t0, t1 = (w * y).sum(0), (w * u * y).sum(0)
    s0 = np.maximum(s0, 1e-12)
    mean, centre = t0 / s0, s1 / s0
    slope = (t1 - t0 * centre) / (s2 - s1 * centre + _SIZE_RIDGE * s0)
    return mean - slope * centre, slope
