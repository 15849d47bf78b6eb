"""Qiu et al. 2025, figure 5b: losses that are exact sums of power laws."""

from __future__ import annotations

import numpy as np

from workbench.laws import theory
from workbench.reports.papers.charts import Chart, Figure, Line, shades
from workbench.reports.papers.claims import at_least, at_most, near

_SIZES = 10.0 ** np.arange(1, 10)


def figure_5b(
    *, alpha: float = 0.6, beta: float = 0.52, mistuned: float = 0.1, points: int = 200
) -> Figure:
    """Draw nine sizes of two exact losses at the optimal horizon and beside it.

    Parameters
    ----------
    alpha, beta : float
        Exponents of the random-features model in its phase II (Paquette et al. 2024)
    mistuned : float
        How far from the optimal one the data exponent γ of the outer panels is
    points : int
        Points of a curve

    Returns
    -------
    Figure
    """
    x = np.geomspace(0.01, 1.0, points)
    two = theory.phase_two_terms(alpha=alpha, beta=beta)
    optimal = theory.phase_exponents("II", alpha=alpha, beta=beta)[1]
    rows = {
        "t^−0.5 + p^−0.5": (((1.0, 0.5, 0.0), (1.0, 0.0, 0.5)), 1.0),
        "random features, phase II": (two, optimal),
    }
    charts, spread = [], {}
    for name, (terms, gamma) in rows.items():
        for factor in (1 - mistuned, 1.0, 1 + mistuned):
            curves = theory.sum_curve(x, _SIZES, terms=terms, gamma=factor * gamma)
            at = theory.sum_curve([0.1], _SIZES, terms=terms, gamma=factor * gamma)[:, 0]
            spread[name, factor] = float(at.std() / at.mean())
            charts.append(_panel(f"{name}, {factor:g} γ*", x, curves, spread[name, factor]))
    first, second = rows
    exact = theory.sum_curve(x, _SIZES, terms=rows[first][0], gamma=1.0)
    exponents = theory.decay_exponents(two, gamma=optimal)
    worse = min(
        spread[name, factor] / max(spread[name, 1.0], 1e-12)
        for name in rows
        for factor in (1 - mistuned, 1 + mistuned)
    )
    claims = [
        at_most(
            "First row at γ*: largest distance from (x^−0.5 + 1)/2",
            bound=1e-9,
            found=float(np.abs(exact / ((x**-0.5 + 1) / 2) - 1).max()),
        ),
        near("Second row: γ* = α/β", expected=1.153846, found=optimal, off=1e-6),
        near(
            "Second row: gap between the tied exponents and the next",
            expected=0.0077,
            found=float(np.ptp(exponents)),
            off=1e-4,
        ),
        near(
            "Second row at γ*: Δ(0.1) over eight decades of size",
            expected=0.011,
            found=spread[second, 1.0],
            rel=0.05,
        ),
        at_least(
            "Any other γ spoils the collapse: Δ(0.1) over that at γ*, smallest of four panels",
            bound=3.0,
            found=worse,
        ),
    ]
    answer = (
        "At the compute-optimal horizon the first loss collapses exactly and the second nearly, "
        f"Δ(0.1) = {100 * spread[second, 1.0]:.1f} %; with the data exponent off by "
        f"{100 * mistuned:.0f} % neither does."
    )
    return Figure(claims, charts, answer=answer)


def _panel(title: str, x: np.ndarray, curves: np.ndarray, spread: float) -> Chart:
    lines = [
        Line(x, curve, f"p = {size:.0e}" if i in (0, 4, 8) else "", colour)
        for i, (curve, size, colour) in enumerate(
            zip(curves, _SIZES, shades("size", len(_SIZES)), strict=True)
        )
    ]
    return Chart(
        title,
        "Share of the horizon, x",
        "ℓ = reducible loss over its end",
        lines,
        f"Nine sizes from 10 to 1e9; Δ(0.1) = {100 * spread:.2g} %.",
        log_x=True,
        log_y=True,
    )
