"""Array kernel of the law of the remaining drop: how far below its present level a run will end.

The log of the remaining drop, log(log L(x) − log L(1)), is regressed on run controls: a linear
trend (a power law in each control) with a normal prior on the exponents, an optional smooth
deviation (a Gaussian process), and noise. The scale of the noise, the size and reach of the
deviation and the choice between trends are not fixed but averaged over, weighted by the evidence
(MacKay 2003, chapter 28; Rasmussen & Williams 2006, section 2.7), so that few references give a
wide answer and not a confident one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

Floats = NDArray[np.float64]
EXPONENT_SD = 0.5
_CENTRE_SD = 3.0
_NOISE = np.geomspace(0.003, 0.5, 30)
_AMPLITUDES = (0.0, 0.02, 0.05, 0.1, 0.2)
_LENGTHS = (0.3, 0.7, 1.5)


@dataclass(frozen=True)
class Mixture:
    """A mixture of normal distributions, arrays of shape (component,)."""

    weight: Floats
    mean: Floats
    variance: Floats

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation."""
        mean = float(self.weight @ self.mean)
        spread = float(self.weight @ (self.variance + (self.mean - mean) ** 2))
        return mean, float(np.sqrt(spread))

    def widened(self, *, variance: float = 0.0, factor: float = 1.0) -> Mixture:
        """Return it with variance added to every component, then stretched about its mean."""
        mean, _ = self.moments()
        return Mixture(
            self.weight,
            mean + factor * (self.mean - mean),
            factor**2 * (self.variance + variance),
        )

    def quantile(self, share: Floats) -> Floats:
        """Return quantiles by bisection, shape of `share`."""
        sd = np.sqrt(self.variance)
        low = np.full(np.shape(share), float((self.mean - 12 * sd).min()))
        high = np.full(np.shape(share), float((self.mean + 12 * sd).max()))
        for _ in range(48):
            middle = (low + high) / 2
            below = (self.weight * ndtr((middle[..., None] - self.mean) / sd)).sum(-1) < share
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        out: Floats = (low + high) / 2
        return out


def drop_law(
    target: Floats,
    features: Floats,
    *,
    trends: Sequence[Sequence[int]],
    distance: Floats | None = None,
) -> tuple[Mixture, Floats]:
    """Predict the log drop of one run from those of others.

    Parameters
    ----------
    target : ndarray of shape (cell,)
        Log drops of the references.
    features : ndarray of shape (cell, feature)
        Log controls of the references minus those of the run to predict.
    trends : sequence of sequences of int
        Columns of `features` in each linear trend that is tried.
    distance : ndarray of shape (cell, coordinate), optional
        Log controls, relative to the run to predict, over which the deviation from the trend is
        smooth; by default there is no such deviation.

    Returns
    -------
    mixture : Mixture
        Log drop of the run; noise included.
    weight : ndarray of shape (trend,)
        Posterior weight of each trend.
    """
    kernels = _deviations(distance)
    middle = float(np.median(target))
    evidence, means, variances = [], [], []
    for columns in trends:
        design = np.column_stack([np.ones(len(target)), features[:, list(columns)]])
        prior = np.array([_CENTRE_SD, *[EXPONENT_SD] * len(columns)]) ** 2
        linear = (design * prior) @ design.T
        for among, towards, own, log_prior in kernels:
            found = _posterior(
                target - middle, linear + among, prior[0] + towards, float(prior[0]) + own
            )
            evidence.append(found[0] + log_prior)
            means.append(middle + found[1])
            variances.append(found[2])
    log_weight = np.stack(evidence)
    log_weight = log_weight - logsumexp(log_weight)
    weight = np.exp(log_weight)
    by_trend = weight.reshape(len(trends), -1).sum(1)
    mixture = Mixture(weight.ravel(), np.stack(means).ravel(), np.stack(variances).ravel())
    return mixture, by_trend


def _deviations(
    distance: Floats | None,
) -> list[tuple[Floats | float, Floats | float, float, float]]:
    """Return covariances among references, towards the run, of the run itself, and log priors."""
    if distance is None:
        return [(0.0, 0.0, 0.0, 0.0)]
    among = ((distance[:, None] - distance[None]) ** 2).sum(-1)
    towards = (distance**2).sum(-1)
    out: list[tuple[Floats | float, Floats | float, float, float]] = []
    for amplitude in _AMPLITUDES:
        if amplitude == 0:
            out.append((0.0, 0.0, 0.0, 0.0))
            continue
        for length in _LENGTHS:
            near = amplitude**2 * np.exp(-among / (2 * length**2))
            to_run = amplitude**2 * np.exp(-towards / (2 * length**2))
            out.append((near, to_run, amplitude**2, -float(np.log(len(_LENGTHS)))))
    return out


def _posterior(
    y: Floats, covariance: Floats, towards: Floats | float, own: float
) -> tuple[Floats, Floats, Floats]:
    """Return log evidence, mean and variance for every noise level, from one decomposition."""
    values, vectors = np.linalg.eigh(covariance)
    total = np.maximum(values, 0.0) + _NOISE[:, None] ** 2
    turned = vectors.T @ y
    across = vectors.T @ (np.zeros(len(y)) + towards)
    evidence = -0.5 * (turned**2 / total + np.log(total)).sum(-1)
    mean = (across * turned / total).sum(-1)
    variance = own - (across**2 / total).sum(-1) + _NOISE**2
    return evidence, mean, np.maximum(variance, _NOISE**2)
