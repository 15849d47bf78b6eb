"""Chinchilla's law, L(N, D) = E + A·N^(−α) + B·D^(−β), and what it says is compute-optimal."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import DataError
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats
from workbench.laws.points import positive_points
from workbench.laws.sums import DRAWS, OUTLIER, SumFit, fit_sum, percentiles

_FEWEST_VALUES = 3
_TIED_DESIGN = 0.98
_LOOSE_EXPONENT = 0.6


@dataclass(frozen=True, kw_only=True)
class ChinchillaFit(FittedLaw):
    """Fitted L(N, D) = E + A·N^(−α) + B·D^(−β).

    Parameters
    ----------
    E, A, alpha, B, beta : Estimate
        Irreducible loss [nats/token], amplitudes and exponents of parameters N and tokens D.
    optimal_exponent : Estimate
        β/(α+β): compute-optimal N grows as C to this power.
    left_out : tuple of int
        Positions of the points left out as outliers.
    draws : ndarray of shape (draw, 5)
        Bootstrap draws of log E, log A, log B, α, β.
    """

    E: Estimate
    A: Estimate
    alpha: Estimate
    B: Estimate
    beta: Estimate
    optimal_exponent: Estimate
    left_out: tuple[int, ...] = ()
    draws: Floats = field(repr=False, compare=False)

    law = "chinchilla"
    formula = "L = E + A * N**(-alpha) + B * D**(-beta)"
    names = ("E", "A", "alpha", "B", "beta")

    def to_dict(self) -> dict[str, object]:
        """Return the fit as plain numbers and text."""
        more = {
            "optimal_exponent": self.optimal_exponent.to_dict(),
            "left_out": list(self.left_out),
        }
        return super().to_dict() | more

    def predict(self, model_size: ArrayLike, tokens_total: ArrayLike) -> Floats:
        """Return the loss [nats/token] of N parameters trained on D tokens."""
        p = {name: found.estimate for name, found in self.params.items()}
        n, d = np.asarray(model_size, np.float64), np.asarray(tokens_total, np.float64)
        return np.asarray(p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * d ** -p["beta"])

    def interval_of(self, model_size: float, tokens_total: float) -> Estimate:
        """Return the law's loss at one N and D, with the interval of the law, not of a run."""
        e, a, b, alpha, beta = self.draws.T
        drawn = np.exp(e) + np.exp(a - alpha * np.log(model_size))
        drawn += np.exp(b - beta * np.log(tokens_total))
        return percentiles(float(self.predict(model_size, tokens_total)), drawn, level=self.level)

    def optimal(self, compute: ArrayLike) -> tuple[Floats, Floats]:
        """Return the N and D of least loss at a compute C = 6ND [FLOP]."""
        a, alpha = self.A.estimate, self.alpha.estimate
        b, beta = self.B.estimate, self.beta.estimate
        g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
        sixth = np.asarray(compute, np.float64) / 6
        return g * sixth ** (beta / (alpha + beta)), sixth ** (alpha / (alpha + beta)) / g


def fit_chinchilla(
    model_size: ArrayLike,
    tokens_total: ArrayLike,
    loss: ArrayLike,
    *,
    level: float = LEVEL,
    outliers: float | None = OUTLIER,
    draws: int = DRAWS,
    rng: int | np.random.Generator = 0,
) -> ChinchillaFit:
    """Fit L(N, D) = E + A·N^(−α) + B·D^(−β) to end points.

    Parameters
    ----------
    model_size : array-like of shape (point,)
        Parameters N.
    tokens_total : array-like of shape (point,)
        Training tokens D.
    loss : array-like of shape (point,)
        Final loss [nats/token].
    level : float
        Level of the intervals.
    outliers : float or None
        Points further off than so many robust standard deviations are left out; None keeps all.
    draws : int
        Bootstrap draws behind the intervals.
    rng : int or Generator
        Source of the draws.

    Returns
    -------
    ChinchillaFit

    Raises
    ------
    DataError
        If a value is not positive and finite, or N or D has fewer than three values.

    Notes
    -----
    The objective is Hoffmann et al. 2022 (arXiv:2203.15556), Eq. 3: Huber loss, δ = 1e-3, of the
    log residuals. The amplitudes are projected out over a grid of exponents, then all five
    parameters descend together. Besiroglu et al. 2024 (arXiv:2404.10102) redraw points for their
    standard errors; so do the intervals here.
    """
    n, d, y = positive_points(model_size=model_size, tokens_total=tokens_total, loss=loss)
    for name, values in (("model_size", n), ("tokens_total", d)):
        if len(np.unique(values)) < _FEWEST_VALUES:
            msg = (
                f"Chinchilla's law needs {_FEWEST_VALUES} or more values of {name}, found "
                f"{len(np.unique(values))}. Widen --where, or fit power instead."
            )
            raise DataError(msg)
    features = np.zeros((3, len(y), 2))
    features[1, :, 0], features[2, :, 1] = np.log(n), np.log(d)
    found = fit_sum(features, y, outliers=outliers, draws=draws, rng=rng)
    alpha, beta = found.theta[3:]
    optimal = found.draws[:, 4] / (found.draws[:, 3] + found.draws[:, 4])
    return ChinchillaFit(
        E=found.floor(level=level),
        A=found.amplitude(1, level=level),
        alpha=found.exponent(3, level=level),
        B=found.amplitude(2, level=level),
        beta=found.exponent(4, level=level),
        optimal_exponent=percentiles(beta / (alpha + beta), optimal, level=level),
        left_out=tuple(int(i) for i in np.flatnonzero(~found.kept)),
        draws=found.draws,
        objective=found.objective,
        n_points=int(found.kept.sum()),
        interval=f"percentiles of {draws} redraws of the points",
        level=level,
        warnings=_warnings(found, n, d, level),
    )


def _warnings(found: SumFit, n: Floats, d: Floats, level: float) -> tuple[str, ...]:
    notes = []
    lost = ~found.kept
    if lost.any():
        tpp = d[lost] / n[lost]
        notes.append(
            f"{int(lost.sum())} of {len(n)} points lie more than {OUTLIER:g} robust sd off the law "
            f"and were left out (TPP {tpp.min():.3g} to {tpp.max():.3g}); keep them with "
            "--outliers keep."
        )
    tied = abs(float(np.corrcoef(np.log(n[found.kept]), np.log(d[found.kept]))[0, 1]))
    if tied > _TIED_DESIGN:
        notes.append(
            f"N and D rise together (correlation of their logs {tied:.3f}): the data cannot tell "
            "A, α from B, β. Add runs of one size at several D."
        )
    for position, name in ((3, "alpha"), (4, "beta")):
        p = found.exponent(position, level=level)
        if p.upper - p.lower > _LOOSE_EXPONENT * abs(p.estimate):
            notes.append(
                f"{name} is poorly determined: {p.lower:.3g} to {p.upper:.3g}. "
                "Widen the range of N and D, or add runs."
            )
    return (*notes, *found.floor_note("E", level=level))
