"""Sum of power laws through whole curves, L(t, p) = L0 + A·t^(−μ) + B·p^(−ν)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.curves import default_loss, record_progress
from workbench.errors import ArgumentError, DataError
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats
from workbench.laws.sums import DRAWS, fit_sum, percentiles
from workbench.schema import LossName, row_bounds

START = 0.02
POINTS = 200
_FEWEST_SIZES = 3
_SQUARES = 1.0


@dataclass(frozen=True, kw_only=True)
class PowerSumFit(FittedLaw):
    """Fitted L(t, p) = L0 + A·t^(−μ) + B·p^(−ν) of curves at a constant learning rate.

    Parameters
    ----------
    L0, A, mu, B, nu : Estimate
        Irreducible loss [nats/token], amplitudes and exponents of tokens t and parameters p.
    gamma : Estimate
        ν/μ: the compute-optimal tokens grow as p to this power.
    rms : float
        Root mean square of the log residuals.
    """

    L0: Estimate
    A: Estimate
    mu: Estimate
    B: Estimate
    nu: Estimate
    gamma: Estimate
    rms: float
    draws: Floats = field(repr=False, compare=False)

    law = "sum"
    formula = "L = L0 + A * t**(-mu) + B * p**(-nu)"
    names = ("L0", "A", "mu", "B", "nu", "gamma")

    def to_dict(self) -> dict[str, object]:
        """Return the fit as plain numbers and text."""
        return super().to_dict() | {"rms": self.rms}

    def predict(self, model_size: ArrayLike, tokens: ArrayLike) -> Floats:
        """Return the loss [nats/token] of p parameters after t tokens at a constant rate."""
        p = {name: found.estimate for name, found in self.params.items()}
        size, seen = np.asarray(model_size, np.float64), np.asarray(tokens, np.float64)
        return np.asarray(p["L0"] + p["A"] * seen ** -p["mu"] + p["B"] * size ** -p["nu"])

    def horizon(self, model_size: ArrayLike) -> Floats:
        """Return the compute-optimal tokens, where μ·A·t^(−μ) = ν·B·p^(−ν)."""
        p = {name: found.estimate for name, found in self.params.items()}
        size = np.asarray(model_size, np.float64)
        ratio = p["mu"] * p["A"] / (p["nu"] * p["B"])
        return np.asarray((ratio * size ** p["nu"]) ** (1 / p["mu"]))


def fit_power_sum(
    runs: xr.Dataset,
    *,
    loss: LossName | None = None,
    start: float = START,
    points: int = POINTS,
    level: float = LEVEL,
    draws: int = DRAWS,
    rng: int | np.random.Generator = 0,
) -> PowerSumFit:
    """Fit one sum of power laws to the curves of long runs at a constant learning rate.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs of three or more sizes; seeds of one size are averaged.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default the held-out one where every run has it.
    start : float
        Share of the run before which the curve is not used, in (0, 1).
    points : int
        Points of each curve, spaced evenly in log tokens.
    level, draws, rng
        Of the intervals; a draw turns the sign of whole curves of residuals.

    Returns
    -------
    PowerSumFit

    Raises
    ------
    ArgumentError
        If `start` is not in (0, 1).
    DataError
        If there are fewer than three sizes or their tokens are unknown.

    Notes
    -----
    Least squares of the log residuals: records of one curve err together, and Huber's loss would
    follow the curves that happen to agree. Qiu et al. 2025 (Figs. 5a, 11) do not state theirs.
    """
    if not 0 < start < 1:
        msg = f"start must be a share of the run in (0, 1), found {start}."
        raise ArgumentError(msg)
    tokens, size, losses = _points(runs, loss, start, points)
    features = np.zeros((3, len(losses), 2))
    features[1, :, 0], features[2, :, 1] = np.log(tokens), np.log(size)
    group = np.unique(size, return_inverse=True)[1]
    found = fit_sum(
        features, losses, outliers=None, draws=draws, groups=group, delta=_SQUARES, rng=rng
    )
    mu, nu = found.theta[3:]
    return PowerSumFit(
        L0=found.floor(level=level),
        A=found.amplitude(1, level=level),
        mu=found.exponent(3, level=level),
        B=found.amplitude(2, level=level),
        nu=found.exponent(4, level=level),
        gamma=percentiles(nu / mu, found.draws[:, 4] / found.draws[:, 3], level=level),
        rms=float(np.sqrt(np.mean(found.residual**2))),
        draws=found.draws,
        objective=found.objective,
        n_points=len(losses),
        interval=f"percentiles of {draws} draws that turn the sign of each size's residuals",
        level=level,
        warnings=found.floor_note("L0", level=level),
    )


def _points(
    runs: xr.Dataset, loss: LossName | None, start: float, points: int
) -> tuple[Floats, Floats, Floats]:
    """Return tokens, size and seed-averaged loss of every point, curve after curve."""
    name = default_loss(runs) if loss is None else loss
    total, size_of = runs["tokens_total"].to_numpy(), runs["model_size"].to_numpy()
    if not (np.isfinite(total).all() and np.isfinite(size_of).all()):
        msg = "A sum of power laws needs model_size and tokens_total of every run. Set them."
        raise DataError(msg)
    sizes = np.unique(size_of)
    if len(sizes) < _FEWEST_SIZES:
        msg = f"A sum of power laws needs {_FEWEST_SIZES} or more sizes, found {len(sizes)}."
        raise DataError(msg)
    progress, values = record_progress(runs).to_numpy(), runs[name].to_numpy().astype(np.float64)
    rows = [slice(int(a), int(b)) for a, b in pairwise(row_bounds(runs))]
    out = []
    for size in sizes:
        members = np.flatnonzero(size_of == size)
        last = min(progress[rows[i]][-1] * total[i] for i in members)
        grid = np.geomspace(start * last, last, points)
        curves = [_curve(progress[rows[i]] * total[i], values[rows[i]], grid) for i in members]
        out.append(np.stack([grid, np.full(points, size), np.mean(curves, axis=0)]))
    tokens, size, mean = np.concatenate(out, axis=1)
    return tokens, size, mean


def _curve(tokens: Floats, values: Floats, grid: Floats) -> Floats:
    known = (tokens > 0) & np.isfinite(values) & (values > 0)
    return np.asarray(np.exp(np.interp(np.log(grid), np.log(tokens[known]), np.log(values[known]))))
