"""Compute-optimal frontier: the compute C = (P/scale)^exponent at which a size P is the best."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from workbench.curves import default_loss, record_progress
from workbench.errors import ArgumentError, DataError
from workbench.laws import kernels_frontier as kernels
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats
from workbench.laws.power_law import PFLOP
from workbench.schema import LossName, row_bounds

GRID = 1000
_FEWEST_SIZES = 4
_FEWEST_WINNERS = 3


@dataclass(frozen=True, kw_only=True)
class FrontierFit(FittedLaw):
    """Fitted compute-optimal horizon C = (P/scale)^exponent, C in PFLOP.

    Parameters
    ----------
    scale, exponent : Estimate
        By the envelope method of Qiu et al. 2025; exponent = 1 + γ, scale in parameters. The
        objective is the mean squared residual of log10 C.
    crossing_scale, crossing_exponent : Estimate
        By the crossings of neighbouring sizes.
    compute_range : (float, float)
        Compute looked at, PFLOP.
    sizes : tuple of float
        Sizes whose curves were compared.
    """

    scale: Estimate
    exponent: Estimate
    crossing_scale: Estimate
    crossing_exponent: Estimate
    compute_range: tuple[float, float]
    sizes: tuple[float, ...]

    law = "frontier"
    formula = "C = (P / scale)**exponent, C in PFLOP"
    names = ("scale", "exponent")

    def to_dict(self) -> dict[str, object]:
        """Return the fit as plain numbers and text."""
        crossing = {
            "scale": self.crossing_scale.to_dict(),
            "exponent": self.crossing_exponent.to_dict(),
        }
        more = {
            "crossings": crossing,
            "compute_range": list(self.compute_range),
            "model_sizes": list(self.sizes),
        }
        return super().to_dict() | more

    def predict(self, model_size: ArrayLike) -> Floats:
        """Return the compute [PFLOP] at which a size is the best."""
        size = np.asarray(model_size, np.float64)
        return np.asarray((size / self.scale.estimate) ** self.exponent.estimate)

    def tokens(self, model_size: ArrayLike) -> Floats:
        """Return the tokens C/(6P) of that compute."""
        return np.asarray(
            self.predict(model_size) * PFLOP / (6 * np.asarray(model_size, np.float64))
        )

    def __str__(self) -> str:
        crossing = (
            f"by crossings of neighbouring sizes: scale = {self.crossing_scale}, "
            f"exponent = {self.crossing_exponent}"
        )
        return f"{super().__str__()}\n{crossing}"


def record_compute(runs: xr.Dataset) -> Floats:
    """Return the compute of every record [PFLOP]: the share of the plan times its compute."""
    total = np.repeat(runs["compute_total"].to_numpy(), runs["row_size"].to_numpy())
    return np.asarray(record_progress(runs).to_numpy() * total / PFLOP)


def fit_frontier(
    runs: xr.Dataset,
    *,
    loss: LossName | None = None,
    compute_range: tuple[float, float] | None = None,
    points: int = GRID,
    level: float = LEVEL,
) -> FrontierFit:
    """Fit the compute-optimal horizon to long runs of several sizes at a constant learning rate.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs of four or more sizes; seeds of one size are averaged.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default the held-out one where every run has it.
    compute_range : (float, float), optional
        Compute [PFLOP] to look at. By default up to the largest there is, and from the power of
        ten at least a decade below the last win of the smallest size: further down only that size
        wins, and its points are not used. On the published tasks this gives the authors' ranges.
    points : int
        Log-spaced computes looked at.
    level : float
        Level of the intervals.

    Returns
    -------
    FrontierFit

    Raises
    ------
    ArgumentError
        If `compute_range` is not two rising positive numbers.
    DataError
        If there are fewer than four sizes, their compute is unknown, or fewer than two sizes
        between the smallest and the largest ever win.

    Notes
    -----
    Points won by the smallest and the largest size are dropped, since their win has no end on one
    side; log10 C is regressed on log10 P over the rest. The interval of the envelope is a jackknife
    over the winning sizes, that of the crossings the usual one of a straight line, both with
    Student's t.
    """
    compute, sizes, curves = _curves(runs, loss)
    grid = _grid(compute_range, compute, curves, points)
    table = np.array([_mean_curve(group, grid) for group in curves])
    size, at = kernels.envelope(table, grid, sizes)
    if len(np.unique(size)) < 2:
        msg = (
            f"Between {grid[0]:.3g} and {grid[-1]:.3g} PFLOP only {len(np.unique(size))} of the "
            f"{len(sizes) - 2} middle sizes ever has the least loss. A frontier needs long runs at "
            "a constant learning rate whose curves cross."
        )
        raise DataError(msg)
    scale, exponent = kernels.power_line(size, at)
    left = exponent * np.log10(size / scale) - np.log10(at)
    by_envelope = _jackknife(size, at, level)
    by_crossing = _by_crossings(table, grid, sizes, level)
    return FrontierFit(
        scale=by_envelope[0],
        exponent=by_envelope[1],
        crossing_scale=by_crossing[0],
        crossing_exponent=by_crossing[1],
        compute_range=(float(grid[0]), float(grid[-1])),
        sizes=tuple(float(p) for p in sizes),
        objective=float(np.mean(left**2)),
        n_points=len(at),
        interval="jackknife over winning sizes",
        level=level,
        warnings=_warnings(by_envelope, by_crossing, len(sizes)),
    )


def _curves(
    runs: xr.Dataset, loss: LossName | None
) -> tuple[Floats, Floats, list[list[tuple[Floats, Floats]]]]:
    """Return compute of all records, the sizes, and per size the curves of its seeds."""
    name = default_loss(runs) if loss is None else loss
    compute, values = record_compute(runs), runs[name].to_numpy().astype(np.float64)
    if np.isnan(compute).all():
        msg = "A frontier needs the compute of every run: set model_size and tokens at import."
        raise DataError(msg)
    size_of = runs["model_size"].to_numpy()
    sizes = np.unique(size_of[np.isfinite(size_of)])
    if len(sizes) < _FEWEST_SIZES:
        msg = f"A frontier needs {_FEWEST_SIZES} or more sizes, found {len(sizes)}."
        raise DataError(msg)
    rows = [slice(int(a), int(b)) for a, b in pairwise(row_bounds(runs))]
    curves = [
        [(compute[rows[i]], values[rows[i]]) for i in np.flatnonzero(size_of == size)]
        for size in sizes
    ]
    return compute, sizes, curves


def _grid(
    given: tuple[float, float] | None,
    compute: Floats,
    curves: list[list[tuple[Floats, Floats]]],
    points: int,
) -> Floats:
    largest = float(np.nanmax(compute))
    if given is not None:
        low, high = given
        if not 0 < low < high:
            msg = f"compute_range must be two rising positive numbers [PFLOP], found {given}."
            raise ArgumentError(msg)
        return np.geomspace(low, min(high, largest), points)
    smallest = float(np.nanmin(compute[compute > 0]))
    trial = np.geomspace(smallest, largest, points)
    table = np.array([_mean_curve(group, trial) for group in curves])
    last = kernels.last_won_by_smallest(table, trial)
    return np.geomspace(10.0 ** np.floor(np.log10(last) - 1), largest, points)


def _mean_curve(seeds: list[tuple[Floats, Floats]], grid: Floats) -> Floats:
    curves = np.array([kernels.curve_on(x, y, grid) for x, y in seeds])
    return np.asarray(curves.mean(axis=0))


def _jackknife(size: Floats, at: Floats, level: float) -> tuple[Estimate, Estimate]:
    """Line through the winners, with intervals from leaving out the wins of one size at a time."""
    scale, exponent = kernels.power_line(size, at)
    winners = np.unique(size)
    n = len(winners)
    if n < _FEWEST_WINNERS:
        return Estimate(scale, 0.0, np.inf), Estimate(exponent, -np.inf, np.inf)
    lines = [kernels.power_line(size[size != p], at[size != p]) for p in winners]
    without = np.array([(np.log(s), e) for s, e in lines])
    spread = without - without.mean(axis=0)
    half = stdtrit(n - 2, (1 + level) / 2) * np.sqrt((n - 1) / n * (spread**2).sum(axis=0))
    low, high = np.exp(np.log(scale) + half[0] * np.array([-1, 1]))
    return (
        Estimate(scale, float(low), float(high)),
        Estimate(exponent, exponent - float(half[1]), exponent + float(half[1])),
    )


def _by_crossings(
    table: Floats, grid: Floats, sizes: Floats, level: float
) -> tuple[Estimate, Estimate]:
    at = kernels.crossings(table, grid)
    known = np.isfinite(at)
    if known.sum() < 3:
        nothing = Estimate(np.nan, np.nan, np.nan)
        return nothing, nothing
    x = np.log(np.sqrt(sizes[:-1] * sizes[1:])[known])
    y = np.log(at[known])
    centre, dx = x.mean(), x - x.mean()
    exponent = float(dx @ y / (dx @ dx))
    left = y - y.mean() - exponent * dx
    error = np.sqrt(left @ left / (len(x) - 2))
    t = float(stdtrit(len(x) - 2, (1 + level) / 2))
    half = t * error / np.sqrt(dx @ dx)
    # log scale = centre − mean(y)/exponent: its error by propagation of mean(y) and exponent
    root = centre - y.mean() / exponent
    reach = t * error / exponent * np.sqrt(1 / len(x) + (root - centre) ** 2 / (dx @ dx))
    low, high = np.exp(root - reach), np.exp(root + reach)
    return (
        Estimate(float(np.exp(root)), float(low), float(high)),
        Estimate(exponent, float(exponent - half), float(exponent + half)),
    )


def _warnings(
    envelope: tuple[Estimate, Estimate], crossing: tuple[Estimate, Estimate], n_sizes: int
) -> tuple[str, ...]:
    notes = []
    if not np.isfinite(envelope[1].upper):
        notes.append(f"{n_sizes} sizes are too few for an interval: add sizes at both ends.")
    if not np.isfinite(crossing[1].estimate):
        notes.append("Fewer than three pairs of neighbouring sizes cross: no second opinion.")
    elif not envelope[1].lower <= crossing[1].estimate <= envelope[1].upper:
        notes.append(
            f"The crossings of neighbouring sizes say exponent {crossing[1].estimate:.4g}, outside "
            "the interval of the envelope: the curves are noisy, or end before they cross."
        )
    return tuple(notes)
