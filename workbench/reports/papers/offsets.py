"""Qiu et al. 2025, figures 2 and 3: collapse with and without L0, and without decay."""

from __future__ import annotations

import numpy as np
import xarray as xr

from workbench.collapse import crossing, deviation, noise_floor, normalize, scan_offset
from workbench.errors import DataError
from workbench.reports.papers.charts import CATEGORIES, Chart, Figure, Line, Rule
from workbench.reports.papers.claims import at_least, at_most, near, untested
from workbench.reports.papers.ladders import (
    FIVE_PERCENT,
    SHARES,
    WINDOWS,
    at_shares,
    by_size,
    curves_of,
    near_each,
    windowed,
)

_SPANS = [f"in [{low:g}, {high:g})" for low, high in WINDOWS]
_WITH = (0.86, 0.54, 0.36, 0.22, 0.08)
_WITHOUT = (9.5, 6.1, 4.0, 1.9, 0.49)
_MIDDLE = WINDOWS[2:3]


def figure_2(qiu_c5m: xr.Dataset, *, offset: float = 3.132387, points: int = 1000) -> Figure:
    """Draw the quality of the collapse against the offset that is subtracted.

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
    ratio = {value: _ratio(curves, value) for value in (offset, 0.0)}
    half = {v: float(_excess(curves, v)) for v in (offset, 0.0, 3.10)}
    best = scan_offset(curves)
    ceiling = float(curves.isel(progress=-1).min())
    below = ceiling - np.geomspace(0.05 * (ceiling - offset), ceiling, 60)
    tried = np.sort(np.append(below, [offset, best.value]))
    scan = np.array([_excess(curves, float(value)) for value in tried])
    claims = [
        *(
            near(f"Δ/σ with L0 {span}", expected=e, found=float(f), off=max(0.05 * e, 0.005))
            for span, e, f in zip(_SPANS, _WITH, windowed(ratio[offset]), strict=True)
        ),
        *near_each("Δ/σ without L0", _WITHOUT, windowed(ratio[0.0]), _SPANS),
        near(
            "Δ < σ without L0 from x on",
            expected=0.891,
            found=_onset_at(curves, 0.0),
            rel=FIVE_PERCENT,
        ),
        near(
            "sd(ℓ)/(⟨ℓ⟩ − 1) in [0.5, 0.7) with L0",
            expected=0.0197,
            found=half[offset],
            rel=FIVE_PERCENT,
        ),
        near("The same without", expected=0.224, found=half[0.0], rel=FIVE_PERCENT),
        near("The same at 3.10", expected=0.118, found=half[3.10], rel=FIVE_PERCENT),
        near("Best offset of a scan", expected=3.133, found=best.value, off=0.002, unit="nats"),
    ]
    charts = [
        Chart(
            "Spread over excess against the offset",
            "Offset [nats/token]",
            "sd(ℓ) / (⟨ℓ⟩ − 1), x in [0.5, 0.7)",
            [Line(tried, scan, "scan"), Rule(offset, "x", "fitted L0", CATEGORIES[1])],
            f"Best {best.value:.4f} nats/token, 95 % interval {best.lower:.4f} to "
            f"{best.upper:.4f}.",
            log_y=True,
            x_range=(ceiling - 0.12, ceiling),
        ),
        Chart(
            "Δ over σ",
            "Share of the compute-optimal run, x",
            "Δ / σ",
            [
                Line(*_thinned(ratio[offset]), "with L0", CATEGORIES[0]),
                Line(*_thinned(ratio[0.0]), "without L0", CATEGORIES[1]),
                Rule(1.0, "y", "Δ = σ"),
            ],
            "Without L0 is division by the final loss.",
            log_y=True,
            x_range=(0.0, 1.0),
        ),
    ]
    answer = (
        f"The curves collapse best at {best.value:.3f} nats, the L0 of the power law; with no "
        f"offset their spread over the excess is {half[0.0] / half[offset]:.0f} times larger."
    )
    return Figure(claims, charts, answer=answer, numbers={"best_offset": best.value})


def _ratio(curves: xr.DataArray, offset: float) -> xr.DataArray:
    sigma = noise_floor(curves, offset=offset)
    if sigma is None:
        msg = "No size of the ladder has two seeds, so there is no noise to compare with."
        raise DataError(msg)
    return deviation(normalize(curves, offset=offset)) / sigma


def _onset_at(curves: xr.DataArray, offset: float) -> float:
    ratio = _ratio(curves, offset)
    found = crossing(ratio, xr.ones_like(ratio))
    return float("nan") if found is None else found


def _excess(curves: xr.DataArray, offset: float) -> float:
    ell = normalize(curves, offset=offset)
    return float(windowed(ell.std("run") / (ell.mean("run") - 1), _MIDDLE)[0])


def _thinned(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.unique(np.linspace(10, values.sizes["progress"] - 2, 250).round().astype(int))
    return values["progress"].to_numpy()[rows], values.to_numpy()[rows]


_CONSTANT = (37.10e-3, 17.44e-3, 10.53e-3, 5.921e-3, 4.553e-3, 3.862e-3, 3.124e-3)
_OVER_LINEAR = (1.41, 1.45, 1.16, 1.20, 2.02, 4.8)


def figure_3(
    qiu_mlp_const: xr.Dataset,
    qiu_mlp: xr.Dataset,
    *,
    offset: float = 0.0,
    linear_offset: float = 0.0013265,
    points: int = 1000,
) -> Figure:
    """Draw the collapse of a ladder without decay beside that of one with it.

    Parameters
    ----------
    qiu_mlp_const : Dataset (run, obs)
        Regression ladder at a constant learning rate, eight sizes, cut at their horizons
    qiu_mlp : Dataset (run, obs)
        The same with linear decay; its first seed is compared
    offset, linear_offset : float
        Irreducible losses as the authors stored them
    points : int
        Points of progress

    Returns
    -------
    Figure
    """
    horizon = 1e15 * qiu_mlp_const["horizon_compute_pflop"] / (6 * qiu_mlp_const["model_size"])
    cut = qiu_mlp_const.assign_coords(tokens_total=("run", horizon.to_numpy()))
    ell = normalize(curves_of(cut, points), offset=offset)
    ladder = curves_of(qiu_mlp, points)
    first = ladder.isel(run=np.flatnonzero(ladder["seed"].to_numpy() == 0))
    linear = deviation(normalize(first, offset=linear_offset))
    constant = deviation(ell)
    spans = ((0.05, 0.1), *WINDOWS)
    over = windowed(constant, spans) / windowed(linear, spans)
    claims = [
        *near_each("Δ without decay", _CONSTANT, at_shares(constant), SHARES),
        *near_each(
            "Δ without decay over Δ with it",
            _OVER_LINEAR,
            over,
            [f"in [{low:g}, {high:g})" for low, high in spans],
        ),
        at_most(
            "An ordinary collapse: Δ half-way without decay",
            bound=0.01,
            found=float(at_shares(constant, [0.5])[0]),
        ),
        at_least(
            "No supercollapse: Δ in the last tenth over that with decay", bound=2.0, found=over[-1]
        ),
        untested(
            "Δ comparable to σ on CIFAR-5M at a constant rate",
            expected="Δ ≈ σ",
            reason="needs c5m_const of the authors' repository and seeds; this ladder has one seed",
        ),
    ]
    charts = [
        Chart(
            "Constant rate: normalised curves",
            "Share of the compute-optimal run, x",
            "ℓ = (L − L0) / (L(1) − L0)",
            by_size(ell),
            "Regression task, eight sizes, one seed, cut at the recorded horizons.",
            x_range=(0.0, 1.0),
            y_range=(0.9, 3.0),
        ),
        Chart(
            "Spread without and with decay",
            "Share of the compute-optimal run, x",
            "Δ",
            [
                Line(*_thinned(constant), "constant", CATEGORIES[0]),
                Line(*_thinned(linear), "linear decay", CATEGORIES[1]),
            ],
            "One seed of each. Δ is 0 at the end by construction.",
            log_y=True,
            x_range=(0.0, 1.0),
        ),
    ]
    answer = (
        "Without decay the curves still collapse, but the spread does not close towards the end: "
        f"in the last tenth it is {over[-1]:.1f} times that with decay."
    )
    return Figure(claims, charts, answer=answer, numbers={"over_linear": over.tolist()})
