"""Charts as Matplotlib figures: what a printed page and a page without scripts show."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError
from workbench.reports.papers.charts import Band, Chart, Line, Mark, Points, Rule, _floats
from workbench.views import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 4.4, 3.0
"""Inches of one chart."""
_FEW = 12
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": theme.TOKENS["light"]["line"],
    "axes.labelcolor": theme.TOKENS["light"]["ink"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": theme.TOKENS["light"]["line"],
    "xtick.color": theme.TOKENS["light"]["muted"],
    "ytick.color": theme.TOKENS["light"]["muted"],
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
}


def printed(charts: Sequence[Chart]) -> Figure:
    """Return charts as one Matplotlib figure, two to a row.

    Raises
    ------
    DataError
        If Matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        msg = (
            "Printed figures need matplotlib. Install it: pip install 'collapse-workbench[report]'."
        )
        raise DataError(msg) from error
    columns = min(2, max(1, len(charts)))
    rows = -(-max(1, len(charts)) // columns)
    with rc_context(_STYLE):
        size = (_WIDTH * columns, _HEIGHT * rows)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for chart, ax in zip(charts, axes, strict=False):
            _draw(chart, ax)
        for ax in axes[len(charts) :]:
            ax.set_visible(False)
    return figure


def svg(charts: Sequence[Chart], *, name: str) -> str:
    """Return charts as one SVG element; the same charts give the same text."""
    from matplotlib import rc_context

    out = io.StringIO()
    figure = printed(charts)
    with rc_context(_STYLE | {"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    element = text[text.index("<svg") :]
    return re.sub(r"\s*<metadata>.*?</metadata>", "", element, flags=re.DOTALL)


def _draw(chart: Chart, ax: Axes) -> None:
    seen: set[str] = set()
    for mark in chart.marks:
        _mark(mark, ax, mark.label if mark.label not in seen else "")
        seen.add(mark.label)
    ax.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    if chart.log_x:
        ax.set_xscale("log")
    if chart.log_y:
        ax.set_yscale("log")
    if chart.x_range is not None:
        ax.set_xlim(chart.x_range)
    if chart.y_range is not None:
        ax.set_ylim(chart.y_range)
    if seen - {""}:
        ax.legend()


def _mark(mark: Mark, ax: Axes, label: str) -> None:
    match mark:
        case Line():
            ax.plot(
                _floats(mark.x),
                _floats(mark.y),
                color=mark.colour,
                linestyle=mark.dash,
                linewidth=0.75 * mark.width,
                label=label or None,
            )
        case Points():
            x, y = _floats(mark.x), _floats(mark.y)
            ax.plot(x, y, "o", color=mark.colour, markersize=4.5, label=label or None)
            if len(mark.names) <= _FEW:
                for text, left, top in zip(mark.names, x, y, strict=False):
                    ax.annotate(text, (left, top), (4, 4), textcoords="offset points", fontsize=7)
        case Band():
            ax.fill_between(
                _floats(mark.x),
                _floats(mark.low),
                _floats(mark.high),
                color=mark.colour,
                alpha=0.2,
                linewidth=0,
                label=label or None,
            )
        case Rule():
            draw = ax.axvline if mark.axis == "x" else ax.axhline
            draw(mark.at, color=mark.colour, linestyle="dotted", linewidth=1, label=label or None)
