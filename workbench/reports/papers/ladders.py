"""Qiu et al. 2025, figures 1 to 3 and 8: collapse of ladders with seeds, from the public logs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import crossing, deviation, noise_floor, normalize, seed_cells
from workbench.curves import on_progress
from workbench.errors import DataError
from workbench.laws import PFLOP, PowerLawFit, fit_power_law
from workbench.reports.papers.charts import (
    CATEGORIES,
    Chart,
    Figure,
    Line,
    Points,
    Rule,
    shades,
)
from workbench.reports.papers.claims import Claim, at_most, equal, near
from workbench.text import short_count

AT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
WINDOWS = ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.99))
FIVE_PERCENT = 0.05
_SHOWN = 250


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


SHARES = [f"at x = {x:g}" for x in AT]
_DELTA = (53.07e-3, 16.27e-3, 7.681e-3, 5.053e-3, 3.222e-3, 2.418e-3, 1.138e-3)
_SIGMA = (10.97e-3, 10.86e-3, 8.090e-3, 9.621e-3, 8.905e-3, 8.319e-3, 8.995e-3)
_SIZES_BELOW = (0, 1, 4, 7, 8, 8, 8)


def figure_1ab(qiu_c5m: xr.Dataset, *, offset: float = 3.132387, points: int = 1000) -> Figure:
    """Draw the power law of the end points and the collapse of the curves.

    Parameters
    ----------
    qiu_c5m : Dataset (run, obs)
        CIFAR-5M ladder with linear decay, eight sizes of five seeds
    offset : float
        Irreducible loss [nats/token] as the authors stored it
    points : int
        Points of progress

    Returns
    -------
    Figure
    """
    curves = curves_of(qiu_c5m, points)
    ell = normalize(curves, offset=offset)
    fit = fit_power_law(*seed_means(curves))
    delta = at_shares(deviation(ell))
    claims = [
        near("a of L0 + a·C^−b", expected=0.15644, found=fit.a.estimate, rel=FIVE_PERCENT),
        near("b", expected=0.19688, found=fit.b.estimate, rel=FIVE_PERCENT),
        near("L0, best fit", expected=3.133433, found=fit.L0.estimate, off=0.001, unit="nats"),
        *near_each("Δ", _DELTA, delta, SHARES),
    ]
    collapse = Chart(
        "b. Normalised curves",
        "Share of the compute-optimal run, x",
        "ℓ = (L − L0) / (L(1) − L0)",
        by_size(ell),
        f"{curves.sizes['run']} runs of {len(np.unique(curves['model_size']))} sizes; "
        f"L0 = {offset:g} nats/token.",
        x_range=(0.0, 1.0),
        y_range=(0.9, 2.5),
    )
    answer = (
        f"Yes: half-way the 40 curves lie within Δ = {100 * delta[4]:.2f} % of their mean, and "
        f"within {100 * delta[6]:.2f} % at 90 % of training."
    )
    numbers = {"delta": delta.tolist(), "L0": fit.L0.estimate}
    return Figure(claims, [_ends(curves, fit), collapse], answer=answer, numbers=numbers)


def seed_means(curves: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Return compute [PFLOP] and final loss [nats/token] of each size, mean over its seeds."""
    ends = curves.isel(progress=-1).to_numpy()
    compute = curves["compute_total"].to_numpy() / PFLOP
    size = curves["model_size"].to_numpy()
    rows = [size == one for one in np.unique(size)]
    return np.array([compute[r].mean() for r in rows]), np.array([ends[r].mean() for r in rows])


def _ends(curves: xr.DataArray, fit: PowerLawFit) -> Chart:
    pflop = curves["compute_total"].to_numpy() / PFLOP
    along = np.geomspace(pflop.min() / 1.2, pflop.max() * 1.2, 100)
    floor = fit.L0
    return Chart(
        "a. Final losses",
        "Training compute [PFLOP]",
        "Final loss − L0 [nats/token]",
        [
            Line(along, fit.predict(along) - floor.estimate, "power law"),
            Points(pflop, curves.isel(progress=-1) - floor.estimate, "runs", CATEGORIES[0]),
        ],
        f"Best fit L0 = {floor.estimate:.4f} nats/token, {100 * fit.level:.0f} % interval "
        f"{floor.lower:.4f} to {floor.upper:.4f}.",
        log_x=True,
        log_y=True,
    )


def figure_1c(qiu_c5m: xr.Dataset, *, offset: float = 3.132387, points: int = 1000) -> Figure:
    """Draw the spread of the collapsed curves against the noise of seeds.

    Parameters
    ----------
    qiu_c5m : Dataset (run, obs)
        CIFAR-5M ladder with linear decay, eight sizes of five seeds
    offset : float
        Irreducible loss [nats/token] as the authors stored it
    points : int
        Points of progress

    Returns
    -------
    Figure
    """
    curves = curves_of(qiu_c5m, points)
    cells = seed_cells(curves)
    delta = deviation(normalize(curves, offset=offset))
    sigma = _noise(curves, offset)
    each = [_noise(curves, offset, rows) for rows in cells]
    smallest = delta.copy(data=np.minimum.reduce([one.to_numpy() for one in each]))
    below = np.sum([at_shares(delta) < at_shares(one) for one in each], axis=0)
    onset, strict = _onset(delta, sigma), _onset(delta, smallest)
    n, seeds = curves.sizes["run"], len(cells[0])
    grown = _onset(delta * np.sqrt(n / (n - 1)), sigma * np.sqrt(seeds / (seeds - 1)))
    claims = [
        *near_each("Mean σ", _SIGMA, at_shares(sigma), SHARES),
        near("Δ < mean σ from x on", expected=0.199, found=onset, rel=FIVE_PERCENT),
        near("The same with ddof 1", expected=0.145, found=grown, rel=FIVE_PERCENT),
        near("Δ < σ of every size from x on", expected=0.541, found=strict, rel=FIVE_PERCENT),
        at_most("Supercollapse over at least the last half of training", bound=0.5, found=onset),
        equal(
            "Sizes of 8 with Δ below their σ, x = 0.05 to 0.9",
            expected=", ".join(map(str, _SIZES_BELOW)),
            found=", ".join(str(int(count)) for count in below),
        ),
    ]
    answer = (
        f"Yes: sizes differ by less than the seeds of one size from {100 * onset:.0f} % of "
        f"training on, and by less than those of any size from {100 * strict:.0f} % on."
    )
    numbers = {"onset": onset, "onset_every_size": strict}
    return Figure(claims, [_against_noise(delta, each, onset)], answer=answer, numbers=numbers)


def _noise(
    curves: xr.DataArray, offset: float, rows: NDArray[np.int64] | None = None
) -> xr.DataArray:
    found = noise_floor(curves, offset=offset, cells=None if rows is None else [rows])
    if found is None:
        msg = "No size of the ladder has two seeds, so there is no noise to compare with."
        raise DataError(msg)
    return found


def _onset(delta: xr.DataArray, sigma: xr.DataArray) -> float:
    found = crossing(delta, sigma)
    return float("nan") if found is None else found


def _against_noise(delta: xr.DataArray, each: Sequence[xr.DataArray], onset: float) -> Chart:
    shown = np.unique(np.linspace(10, delta.sizes["progress"] - 2, _SHOWN).round().astype(int))
    x = delta["progress"].to_numpy()[shown]
    lines = [
        Line(x, one.to_numpy()[shown], "σ of each size", colour, width=1.0)
        for one, colour in zip(each, shades("size", len(each)), strict=True)
    ]
    return Chart(
        "c. Spread against noise",
        "Share of the compute-optimal run, x",
        "sd / mean",
        [
            *lines,
            Line(x, delta.to_numpy()[shown], "Δ, sizes and seeds", width=2.4),
            Rule(onset, "x", "Δ < mean σ from here on"),
        ],
        "Population standard deviations. Δ is 0 at the end by construction.",
        log_y=True,
        x_range=(0.0, 1.0),
    )


def figure_8(
    qiu_c5m: xr.Dataset,
    qiu_mlp: xr.Dataset,
    *,
    offset: float = 3.132387,
    mlp_offset: float = 0.0013265,
    points: int = 1000,
) -> Figure:
    """Compare how the spread closes towards the end with the law of section 3.3.

    Parameters
    ----------
    qiu_c5m, qiu_mlp : Dataset (run, obs)
        Ladders with linear decay, eight sizes of five seeds
    offset, mlp_offset : float
        Irreducible losses as the authors stored them
    points : int
        Points of progress

    Returns
    -------
    Figure
    """
    ladders = {"CIFAR-5M": (qiu_c5m, offset, 0.51), "regression": (qiu_mlp, mlp_offset, 0.48)}
    charts, claims, slopes = [], [], {}
    for name, (runs, floor, expected) in ladders.items():
        delta = deviation(normalize(curves_of(runs, points), offset=floor))
        x = delta["progress"].to_numpy()
        inside = (x >= 0.3 - 1e-9) & (x <= 0.98 + 1e-9)
        law = (1 - x[inside]) ** 1.5  # η = 1 − x and 1 − τ̂ = (1 − x)², so √(η(1 − τ̂))
        values = delta.to_numpy()[inside]
        slopes[name] = float(np.polyfit(np.log(law), np.log(values), 1)[0])
        scale = float(np.exp(np.mean(np.log(values / law))))
        charts.append(
            Chart(
                name[0].upper() + name[1:],
                "√(η (1 − τ̂)) of the linear schedule",
                "Δ",
                [
                    Line(law, values, "Δ, x from 0.3 to 0.98", CATEGORIES[0]),
                    Line(law, scale * law, "slope 1, the paper's law", dash="dashed"),
                ],
                f"Slope of the logarithms {slopes[name]:.2f}.",
                log_x=True,
                log_y=True,
            )
        )
        claims.append(
            near(f"{name}: slope of log Δ", expected=expected, found=slopes[name], off=0.05)
        )
        claims.append(
            near(
                f"{name}: Δ ∝ √(η(1 − τ̂)), that is slope 1",
                expected=1.0,
                found=slopes[name],
                off=0.1,
                reason="leading order of section 3.3; the paper compares schedules, of which only "
                "the linear one is published",
            )
        )
    answer = "On the linear ladders the spread closes with about half the power of the paper's law."
    return Figure(claims, charts, answer=answer, numbers=slopes)
