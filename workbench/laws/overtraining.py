"""Loss against size and tokens per parameter, L = E + (a·M^η + b·M^(−η))·C^(−η)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import DataError
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats
from workbench.laws.points import positive_points
from workbench.laws.sums import DRAWS, OUTLIER, fit_sum, percentiles

ANCHOR_REACH = 4.0
_FEWEST_VALUES = 3
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class OvertrainingFit(FittedLaw):
    """Fitted L = E + (a·M^η + b·M^(−η))·C^(−η), M = D/N tokens per parameter, C = 6ND FLOP.

    Parameters
    ----------
    E, a, b, eta : Estimate
        Irreducible loss [nats/token], the two amplitudes and the exponent.
    points : ndarray of shape (point, 3)
        N, M and log data − log law of the points fitted.
    draws : ndarray of shape (draw, 4)
        Bootstrap draws of log E, log A, log B, 2η of the same law in N and D.
    """

    E: Estimate
    a: Estimate
    b: Estimate
    eta: Estimate
    points: Floats = field(repr=False, compare=False)
    draws: Floats = field(repr=False, compare=False)

    law = "overtraining"
    formula = "L = E + (a * M**eta + b * M**(-eta)) * C**(-eta), M = D / N, C = 6 N D"
    names = ("E", "a", "b", "eta")

    def predict(self, model_size: ArrayLike, tpp: ArrayLike, *, anchored: bool = False) -> Floats:
        """Return the loss [nats/token] of N parameters trained on tpp·N tokens.

        Parameters
        ----------
        model_size, tpp : array-like
            N and tokens per parameter; they broadcast.
        anchored : bool
            Multiply by how far the fitted point of the same size that is nearest in tokens per
            parameter, within a factor of 4, lies off the law. Extrapolating one size, this takes
            off what is its own.
        """
        n, m = np.broadcast_arrays(np.asarray(model_size, np.float64), np.asarray(tpp, np.float64))
        p = {name: found.estimate for name, found in self.params.items()}
        reducible = (p["a"] * m ** p["eta"] + p["b"] * m ** -p["eta"]) * (6 * n * n * m) ** -p[
            "eta"
        ]
        law = p["E"] + reducible
        if not anchored:
            return np.asarray(law)
        own = [self._off(size, ratio) for size, ratio in zip(n.ravel(), m.ravel(), strict=True)]
        return np.asarray(law * np.exp(np.reshape(own, law.shape)))

    def _off(self, model_size: float, tpp: float) -> float:
        size, ratio, off = self.points.T
        same = np.abs(size / model_size - 1) < 1e-6
        far = np.abs(np.log(ratio[same] / tpp))
        if not same.any() or far.min() > np.log(ANCHOR_REACH) + _ROUNDING:
            return 0.0
        return float(off[same][far <= far.min() + _ROUNDING].mean())

    def interval_of(self, model_size: float, tpp: float) -> Estimate:
        """Return the law's loss at one N and M, with the interval of the law, not of a run."""
        e, a, b, twice = self.draws.T
        n, d = np.log(model_size), np.log(tpp * model_size)
        drawn = np.exp(e) + np.exp(a - twice * n) + np.exp(b - twice * d)
        return percentiles(float(self.predict(model_size, tpp)), drawn, level=self.level)


def fit_overtraining(
    model_size: ArrayLike,
    tpp: ArrayLike,
    loss: ArrayLike,
    *,
    level: float = LEVEL,
    outliers: float | None = OUTLIER,
    draws: int = DRAWS,
    rng: int | np.random.Generator = 0,
) -> OvertrainingFit:
    """Fit the loss of runs trained beyond, or short of, the optimal tokens per parameter.

    This is Chinchilla's law with one exponent for N and D, written in compute C and tokens per
    parameter M (Gadre et al. 2024, arXiv:2403.08540, Eq. 4): at a fixed M the loss is a power law
    in C whose exponent does not depend on M.

    Parameters
    ----------
    model_size : array-like of shape (point,)
        Parameters N.
    tpp : array-like of shape (point,)
        Tokens per parameter M. Leave out runs whose warm-up takes a large share of training: they
        end far above any law.
    loss : array-like of shape (point,)
        Final loss [nats/token].
    level, outliers, draws, rng
        As for `fit_chinchilla`.

    Returns
    -------
    OvertrainingFit

    Raises
    ------
    DataError
        If a value is not positive and finite, or N has fewer than three values.
    """
    n, m, y = positive_points(model_size=model_size, tpp=tpp, loss=loss)
    if len(np.unique(n)) < _FEWEST_VALUES:
        msg = (
            f"The law needs {_FEWEST_VALUES} or more values of model_size, found "
            f"{len(np.unique(n))}. Widen --where."
        )
        raise DataError(msg)
    features = np.zeros((3, len(y), 1))
    features[1, :, 0], features[2, :, 0] = np.log(n), np.log(n * m)
    found = fit_sum(features, y, outliers=outliers, draws=draws, rng=rng)
    eta, etas = found.theta[3] / 2, found.draws[:, 3] / 2
    amplitudes = [
        percentiles(
            float(np.exp(found.theta[i] + eta * np.log(6))),
            np.exp(found.draws[:, i] + etas * np.log(6)),
            level=level,
        )
        for i in (1, 2)
    ]
    kept = found.kept
    lost = int((~kept).sum())
    notes = () if not lost else (f"{lost} of {len(y)} points lie far off the law: left out.",)
    return OvertrainingFit(
        E=found.floor(level=level),
        a=amplitudes[0],
        b=amplitudes[1],
        eta=percentiles(eta, etas, level=level),
        points=np.stack([n, m, found.residual], axis=1)[kept],
        draws=found.draws,
        objective=found.objective,
        n_points=int(kept.sum()),
        interval=f"percentiles of {draws} redraws of the points",
        level=level,
        warnings=(*notes, *found.floor_note("E", level=level)),
    )
