"""Optimal size by parabolas through runs of equal compute, and the bias of that method."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError, DataError
from workbench.laws.chinchilla import ChinchillaFit, fit_chinchilla
from workbench.laws.estimate import LEVEL, Estimate, FittedLaw
from workbench.laws.kernels import Floats
from workbench.laws.kernels_optimum import regress
from workbench.laws.points import positive_points
from workbench.laws.sums import OUTLIER

TOLERANCE = 0.05
EXTRAPOLATION = 1000.0
_FEWEST_IN_SLICE = 5
_FEWEST_SLICES = 3
_WORTH_SAYING = 0.05


@dataclass(frozen=True, kw_only=True)
class IsoflopFit(FittedLaw):
    """Fitted N* = scale·(C/10^20)^exponent by parabolas, beside the bias of parabolas.

    Parameters
    ----------
    scale, exponent : Estimate
        Optimal parameters at 10^20 FLOP and their exponent in compute.
    bias : float
        Exponent that the same parabolas find on the noise-free fitted surface, at the same sizes,
        minus the surface's own β/(α+β).
    off_at : mapping of float to float
        Compute [FLOP] to N* of the noise-free parabolas over the surface's own, minus 1.
    surface : ChinchillaFit
        The surface, fitted to the same runs.
    slices : Dataset (slice)
        Compute, optimal size and points of each slice.
    """

    scale: Estimate
    exponent: Estimate
    bias: float
    off_at: dict[float, float]
    surface: ChinchillaFit = field(repr=False)
    slices: xr.Dataset = field(repr=False, compare=False)

    law = "isoflop"
    formula = "N = scale * (C / 1e20)**exponent, C in FLOP"
    names = ("scale", "exponent")

    def to_dict(self) -> dict[str, object]:
        """Return the fit as plain numbers and text."""
        slices = {str(name): self.slices[name].to_numpy().tolist() for name in self.slices}
        surface = {name: found.to_dict() for name, found in self.surface.params.items()}
        surface["optimal_exponent"] = self.surface.optimal_exponent.to_dict()
        more = {
            "bias": self.bias,
            "off_at": [{"compute": c, "size": off} for c, off in self.off_at.items()],
            "surface": surface,
            "slices": slices,
        }
        return super().to_dict() | more


def fit_isoflop(
    model_size: ArrayLike,
    tokens_total: ArrayLike,
    loss: ArrayLike,
    *,
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
    outliers: float | None = OUTLIER,
) -> IsoflopFit:
    """Fit optimal size against compute by one parabola per compute, and say how biased that is.

    Parameters
    ----------
    model_size, tokens_total, loss : array-like of shape (point,)
        Parameters N, tokens D and final loss [nats/token].
    tolerance : float
        Runs whose computes 6ND follow one another within this share form one slice.
    level : float
        Level of the intervals.
    outliers : float or None
        As for `fit_chinchilla`; points it leaves out are in no slice.

    Returns
    -------
    IsoflopFit

    Raises
    ------
    ArgumentError
        If `tolerance` is not positive.
    DataError
        If fewer than three slices of five or more sizes have their least loss inside.

    Notes
    -----
    Parabolas in log N are the second approach of Hoffmann et al. 2022. Czech et al. 2026
    (arXiv:2603.22339) show that they are biased on noise-free data: the wider the slice, the
    further off centre, and the more α and β differ, the more. The bias here is not quoted from
    there but computed, on the surface and at the sizes of these runs.
    """
    if not tolerance > 0:
        msg = f"tolerance must be a positive share of compute, found {tolerance}."
        raise ArgumentError(msg)
    n, d, y = positive_points(model_size=model_size, tokens_total=tokens_total, loss=loss)
    surface = fit_chinchilla(n, d, y, level=level, outliers=outliers)
    kept = np.ones(len(n), dtype=bool)
    kept[list(surface.left_out)] = False
    n, d, y = n[kept], d[kept], y[kept]
    groups = _slices(np.log(n * d), tolerance)
    compute, best, rows = _minima(n, d, np.log(y), groups)
    if len(rows) < _FEWEST_SLICES:
        msg = (
            f"{len(rows)} of {len(groups)} slices of equal compute have {_FEWEST_IN_SLICE} sizes "
            f"around their least loss; the fit needs {_FEWEST_SLICES}. Fit chinchilla instead."
        )
        raise DataError(msg)
    line = regress(_columns(compute), np.log(best), level=level)
    ideal = np.log(surface.predict(n, d))
    clean_compute, clean, _ = _minima(n, d, ideal, rows)
    bias, off_at = _bias(clean_compute, clean, surface, float(compute.max()))
    scale = Estimate(*(float(v) for v in np.exp(line[0])))
    exponent = Estimate(*(float(v) for v in line[1]))
    columns = {"compute": compute, "model_size": best, "points": [len(row) for row in rows]}
    return IsoflopFit(
        scale=scale,
        exponent=exponent,
        bias=bias,
        off_at=off_at,
        surface=surface,
        slices=xr.Dataset({name: ("slice", values) for name, values in columns.items()}),
        objective=float(np.mean((np.log(best) - _columns(compute) @ line[:, 0]) ** 2)),
        n_points=len(rows),
        interval="Student's t of the line through the minima of the slices",
        level=level,
        warnings=(*surface.warnings, *_warnings(bias, off_at, exponent)),
    )


def _slices(log_compute: Floats, tolerance: float) -> list[NDArray[np.intp]]:
    order = np.argsort(log_compute)
    ends = np.flatnonzero(np.diff(log_compute[order]) > np.log1p(tolerance)) + 1
    return [rows for rows in np.split(order, ends) if len(rows) >= _FEWEST_IN_SLICE]


def _minima(
    n: Floats, d: Floats, log_loss: Floats, groups: list[NDArray[np.intp]]
) -> tuple[Floats, Floats, list[NDArray[np.intp]]]:
    """Return compute [FLOP] and optimal size of the slices whose parabola has its minimum inside.

    Within a slice computes differ a little; losses are compared as they are, as is the custom.
    """
    found = []
    for rows in groups:
        x = np.log(n[rows])
        if len(np.unique(x)) < _FEWEST_IN_SLICE:
            continue
        middle = x.mean()
        second, first, _ = np.polyfit(x - middle, log_loss[rows], 2)
        best = middle - first / (2 * second)
        if second > 0 and x.min() < best < x.max():
            found.append((np.exp(np.log(6 * n[rows] * d[rows]).mean()), np.exp(best), rows))
    compute, size = (np.array([row[i] for row in found], dtype=np.float64) for i in (0, 1))
    return compute, size, [row[2] for row in found]


def _columns(compute: Floats) -> Floats:
    return np.stack([np.ones(len(compute)), np.log(compute / 1e20)], axis=1)


def _bias(
    compute: Floats, best: Floats, surface: ChinchillaFit, largest: float
) -> tuple[float, dict[float, float]]:
    line = np.linalg.lstsq(_columns(compute), np.log(best), rcond=None)[0]
    bias = float(line[1] - surface.optimal_exponent.estimate)
    off = {}
    for at in (largest, EXTRAPOLATION * largest):
        claimed = float(np.exp(_columns(np.array([at])) @ line)[0])
        off[float(at)] = claimed / float(surface.optimal(at)[0]) - 1
    return bias, off


def _warnings(bias: float, off_at: dict[float, float], exponent: Estimate) -> tuple[str, ...]:
    (near, near_off), (far, far_off) = off_at.items()
    half = (exponent.upper - exponent.lower) / 2
    if max(abs(near_off), abs(far_off)) < _WORTH_SAYING:
        return ()
    return (
        f"Parabolas are biased here: without any noise they miss the exponent by {bias:+.4f} "
        f"(interval ± {half:.4f}) and the optimal size by {100 * near_off:+.1f} % at {near:.2g} "
        f"FLOP and {100 * far_off:+.1f} % at {far:.2g} FLOP. Use the surface (fit chinchilla).",
    )
