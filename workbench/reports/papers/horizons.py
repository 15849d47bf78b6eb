"""Qiu et al. 2025, figures 10 and 11: compute-optimal horizons and sums of power laws."""

from __future__ import annotations

import numpy as np
import xarray as xr

from workbench.curves import on_progress
from workbench.laws import PFLOP, fit_frontier, fit_power_sum
from workbench.reports.papers.charts import CATEGORIES, Chart, Figure, Line, Mark, Points, shades
from workbench.reports.papers.claims import near, untested
from workbench.text import short_count

_TOKENS_SHOWN = 250


def figure_10(qiu_mlp_const: xr.Dataset, *, points: int = 1000) -> Figure:
    """Fit the compute-optimal horizon to long runs at a constant rate.

    Parameters
    ----------
    qiu_mlp_const : Dataset (run, obs)
        Regression ladder at a constant learning rate
    points : int
        Log-spaced computes that are looked at

    Returns
    -------
    Figure
    """
    fit = fit_frontier(qiu_mlp_const, loss="eval_loss", points=points)
    sizes = np.array(fit.sizes)
    along = np.geomspace(sizes.min() / 1.3, sizes.max() * 1.3, 60)
    recorded = qiu_mlp_const["horizon_compute_pflop"].to_numpy()
    claims = [
        near(
            "scale of C = (P/scale)^exponent",
            expected=1346251.612836,
            found=fit.scale.estimate,
            rel=1e-6,
        ),
        near("exponent, 1 + γ", expected=2.040882, found=fit.exponent.estimate, off=1e-6),
        near(
            "Recorded horizons over the fit, the furthest from 1",
            expected=1.0,
            found=_furthest(recorded / fit.predict(qiu_mlp_const["model_size"].to_numpy())),
            off=0.05,
        ),
        untested(
            "The same on CIFAR-5M",
            expected="γ ≈ 1",
            reason="needs c5m_const of the authors' repository, with sizes beyond the ladder",
        ),
    ]
    lines: list[Mark] = [*_loss_against_compute(qiu_mlp_const)]
    charts = [
        Chart(
            "Loss against compute",
            "Training compute [PFLOP]",
            "Held-out loss",
            lines,
            "Each size is the best one over a stretch of compute.",
            log_x=True,
            log_y=True,
        ),
        Chart(
            "Compute-optimal horizon",
            "Parameters",
            "Compute [PFLOP]",
            [
                Line(along, fit.predict(along), "fitted frontier"),
                Points(qiu_mlp_const["model_size"], recorded, "recorded horizons", CATEGORIES[0]),
            ],
            f"{fit.formula}; exponent {fit.exponent.estimate:.4f} ({fit.exponent.lower:.3f} to "
            f"{fit.exponent.upper:.3f}), by crossings {fit.crossing_exponent.estimate:.3f}.",
            log_x=True,
            log_y=True,
        ),
    ]
    answer = (
        f"The frontier of the long runs is C = (P/{fit.scale.estimate:.0f})^"
        f"{fit.exponent.estimate:.4f} PFLOP, the horizon the authors trained to."
    )
    return Figure(claims, charts, answer=answer)


def _furthest(ratio: np.ndarray) -> float:
    return float(ratio[np.argmax(np.abs(np.log(ratio)))])


def _loss_against_compute(runs: xr.Dataset) -> list[Line]:
    curves = on_progress(runs, loss="eval_loss", points=2000)
    rows = np.unique(np.geomspace(2, 1999, _TOKENS_SHOWN).round().astype(int))
    shown = curves.isel(progress=rows).transpose("run", "progress")
    size = shown["model_size"].to_numpy()
    colours = dict(zip(np.unique(size), shades("size", len(np.unique(size))), strict=True))
    compute = shown["compute_total"].to_numpy()[:, None] * shown["progress"].to_numpy() / PFLOP
    return [
        Line(compute[i], shown.to_numpy()[i], short_count(size[i]), colours[size[i]], width=1.2)
        for i in np.argsort(size)
    ]


def figure_11(qiu_mlp_const: xr.Dataset, *, start: float = 0.02, draws: int = 50) -> Figure:
    """Fit one sum of power laws to the curves of all sizes.

    Parameters
    ----------
    qiu_mlp_const : Dataset (run, obs)
        Regression ladder at a constant learning rate
    start : float
        Share of a run before which its curve is not used
    draws : int
        Draws of the intervals

    Returns
    -------
    Figure
    """
    fit = fit_power_sum(qiu_mlp_const, loss="eval_loss", start=start, draws=draws)
    expected = {"mu": 0.330, "nu": 0.343, "L0": 0.0027, "gamma": 1.0404}
    names = {"mu": "μ", "nu": "ν", "L0": "L0", "gamma": "γ* = ν/μ"}
    claims = [
        near(names[key], expected=value, found=getattr(fit, key).estimate, rel=0.05)
        for key, value in expected.items()
    ]
    claims += [
        near("Root mean square of the log residuals", expected=0.009, found=fit.rms, rel=0.05),
        near(
            "γ* of the sum against γ of the frontier",
            expected=fit_frontier(qiu_mlp_const, loss="eval_loss").exponent.estimate - 1,
            found=fit.gamma.estimate,
            rel=0.05,
        ),
        untested(
            "The same on chess",
            expected="μ 0.259, ν 0.290",
            reason="needs chess_const of the authors' repository",
        ),
    ]
    curves = on_progress(qiu_mlp_const, loss="eval_loss", points=1000)
    size, tokens = curves["model_size"].to_numpy(), curves["tokens_total"].to_numpy()
    x = np.geomspace(start, 1.0, 60)
    lines: list[Mark] = []
    for i, colour in zip(np.argsort(size), shades("size", len(size)), strict=True):
        measured = np.interp(x, curves["progress"], curves.isel(run=i))
        lines.append(Line(x * tokens[i], measured, short_count(size[i]), colour, width=1.4))
        lines.append(
            Line(x * tokens[i], fit.predict(size[i], x * tokens[i]), "sum", colour, "dashed", 1.0)
        )
    chart = Chart(
        "Curves and the fitted sum",
        "Tokens",
        "Held-out loss",
        lines,
        f"{fit.formula}; root mean square error {100 * fit.rms:.1f} %.",
        log_x=True,
        log_y=True,
    )
    answer = f"One sum of power laws follows all eight curves within {100 * fit.rms:.1f} %."
    return Figure(claims, [chart], answer=answer, numbers=dict(fit.to_dict()))
