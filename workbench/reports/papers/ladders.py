"""Qiu et al. 2025, figures 1 to 3 and 8: collapse of ladders with seeds, from the public logs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from workbench.collapse import (
    deviation,
    fit_offset,
    normalize,
)
from workbench.curves import on_progress
from workbench.reports.papers.charts import (
    CATEGORIES,
    Chart,
    Figure,
    Line,
    Points,
    shades,
)
from workbench.reports.papers.claims import Claim, near
from workbench.text import short_count

AT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
WINDOWS = ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.99))
FIVE_PERCENT = 0.05
_SHOWN = 250
_MLP_FLOOR = 0.0013265
"""L0 that the authors stored for the regression ladder."""


def curves_of(runs: xr.Dataset, points: int) -> xr.DataArray:
    """Return held-out loss [nats/token] on a grid of progress."""
    return on_progress(runs, loss="eval_loss", points=points)


def at_shares(values: xr.DataArray, shares: Sequence[float] = AT) -> np.ndarray:
    """Return a curve at shares of training, nearest grid point."""
    return values.sel(progress=list(shares), method="nearest").to_numpy()


def windowed(values: xr.DataArray, windows: Sequence[tuple[float, float]] = WINDOWS) -> np.ndarray:
    """Return the mean of a curve over windows [low, high) of progress."""
    x = values["progress"].to_numpy()
    inside = [(x >= low) & (x < high) for low, high in windows]
    return np.array([float(values[rows].mean()) for rows in inside])


def by_size(curves: xr.DataArray, *, log_x: bool = False) -> list[Line]:
    """Return one line a run, coloured by size and labelled once a size."""
    shown = curves.isel(progress=_thin(curves, log_x=log_x))
    sizes = np.unique(shown["model_size"].to_numpy())
    colours = dict(zip(sizes, shades("size", len(sizes)), strict=True))
    order = np.argsort(shown["model_size"].to_numpy(), kind="stable")
    return [
        Line(
            shown["progress"].to_numpy(),
            shown.transpose("run", "progress").to_numpy()[i],
            short_count(float(shown["model_size"][i])),
            colours[float(shown["model_size"][i])],
            width=1.0,
        )
        for i in order
    ]


def _thin(curves: xr.DataArray, *, log_x: bool) -> np.ndarray:
    """Return which grid points a page draws: even on the axis that is shown."""
    n = curves.sizes["progress"]
    if log_x:
        return np.unique(np.geomspace(max(1, n // 200), n - 1, _SHOWN).round().astype(int))
    return np.unique(np.linspace(0, n - 1, _SHOWN).round().astype(int))


def near_each(
    text: str, expected: Sequence[float], found: np.ndarray, at: Sequence[str]
) -> list[Claim]:
    """Return one claim a number, each within 5 %."""
    return [
        near(f"{text} {where}", expected=e, found=float(f), rel=FIVE_PERCENT)
        for e, f, where in zip(expected, found, at, strict=True)
    ]


_DELTA_1 = (53.07e-3, 16.27e-3, 7.681e-3, 5.053e-3, 3.222e-3, 2.418e-3, 1.138e-3)
_SIGMA_1 = (10.97e-3, 10.86e-3, 8.090e-3, 9.621e-3, 8.905e-3, 8.319e-3, 8.995e-3)
_SHARES = [f"at x = {x:g}" for x in AT]


def figure_1ab(qiu_c5m: xr.Dataset, *, offset: float = 3.132387, points: int = 1000) -> Figure:
    """Draw the power law of the end points and the collapse of the curves.

    Parameters
    ----------
    qiu_c5m : Dataset (run, obs)
        CIFAR-5M ladder with linear decay, eight sizes of five seeds
    offset : float
        Irreducible loss L0 that is subtracted [nats/token]; the one the authors stored
    points : int
        Points of progress

    Returns
    -------
    Figure
    """
    curves = curves_of(qiu_c5m, points)
    ell = normalize(curves, offset=offset)
    fit = fit_offset(curves).fit
    assert fit is not None
    delta = at_shares(deviation(ell))
    ends = curves.isel(progress=-1)
    pflop = ends["compute_total"].to_numpy() / 1e15
    law_x = np.geomspace(pflop.min() / 1.2, pflop.max() * 1.2, 100)
    charts = [
        Chart(
            "a. Final losses",
            "Training compute [PFLOP]",
            "Final loss − L0 [nats/token]",
            [
                Line(law_x, fit.predict(law_x) - fit.L0.estimate, "power law"),
                Points(pflop, ends.to_numpy() - fit.L0.estimate, "runs", CATEGORIES[0]),
            ],
            f"L0 = {fit.L0.estimate:.4f} nats/token, the best fit.",
            log_x=True,
            log_y=True,
        ),
        Chart(
            "b. Normalised curves",
            "Share of the compute-optimal run, x",
            "ℓ = (L − L0) / (L(1) − L0)",
            by_size(ell),
            f"{curves.sizes['run']} runs of {len(np.unique(curves['model_size']))} sizes; "
            f"L0 = {offset:g} nats/token.",
            x_range=(0.0, 1.0),
            y_range=(0.9, 2.5),
        ),
    ]
    claims = [
        near("a of L0 + a·C^−b", expected=0.15644, found=fit.a.estimate, rel=FIVE_PERCENT),
        near("b", expected=0.19688, found=fit.b.estimate, rel=FIVE_PERCENT),
        near("L0, best fit", expected=3.133433, found=fit.L0.estimate, off=0.001, unit="nats"),
        *near_each("Δ", _DELTA_1, delta, _SHARES),
    ]
    answer = (
        f"Yes: half-way the 40 curves lie within Δ = {100 * delta[4]:.2f} % of their mean, and "
        f"within {100 * delta[6]:.2f} % at 90 % of training."
    )
    return Figure(claims, charts, answer=answer, numbers={"delta": delta.tolist()})
