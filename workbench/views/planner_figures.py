"""The Planner's pictures: where the plan lies on the (TPP, τ) map, and what its TPP costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure

from workbench.recipes import Plan
from workbench.views import format as fmt
from workbench.views.element_style import size_colours
from workbench.views.figures import quiet_figure, tint
from workbench.views.planner_model import TPP_DECADES, PlannerModel, Trade
from workbench.views.theme import FONT, TOKENS, Mode

_HEIGHT = 300
_TPP_TICKS = (1, 3, 10, 30, 100, 300, 1000, 3000)
_TIP = (
    '<div style="font:12px Roboto,system-ui,sans-serif">@size parameters, TPP @tpp{0.[0]}, '
    "τ @tau{0.000}</div>"
)


class PlannerFigures:
    """Two figures that follow a plan."""

    def __init__(self) -> None:
        names = {
            "law": "x y",
            "runs": "tpp tau size color",
            "here": "x y color text",
            "trade": "xs ys color",
            "trade_here": "x y color",
            "names": "x y text color",
        }
        self._sources = {
            name: ColumnDataSource({column: [] for column in columns.split()})
            for name, columns in names.items()
        }
        self.map = self._map()
        self.trade = self._trade()

    def show(self, model: PlannerModel, plan: Plan, mode: Mode) -> None:
        """Draw a plan in the colours of a theme."""
        self._show_map(model, plan, mode)
        self._show_trade(model.trade(plan), mode)
        for plot in (self.map, self.trade):
            tint(plot, mode)

    def _show_map(self, model: PlannerModel, plan: Plan, mode: Mode) -> None:
        tokens = TOKENS[mode]
        tpp, tau = model.law()
        self._sources["law"].data = {"x": tpp, "y": tau}
        run_tpp, run_tau, size = model.recorded()
        self._sources["runs"].data = {
            "tpp": run_tpp,
            "tau": run_tau,
            "size": [fmt.count(float(n)) for n in size],
            "color": size_colours(size, mode=mode),
        }
        self._sources["here"].data = {
            "x": [plan.tpp],
            "y": [plan.tau],
            "color": [tokens["accent"]],
            "text": ["this plan"],
        }
        seen = np.concatenate([tau, run_tau, [plan.tau]])
        self.map.y_range.update(start=float(seen.min()) / 1.4, end=float(seen.max()) * 1.6)

    def _show_trade(self, trade: Trade, mode: Mode) -> None:
        tokens = TOKENS[mode]
        colours = [tokens["ink"], tokens["accent"]]
        self._sources["trade"].data = {
            "xs": [trade.tpp, trade.tpp],
            "ys": [trade.compute, trade.size],
            "color": colours,
        }
        tpp, compute, size = trade.here
        self._sources["trade_here"].data = {
            "x": [tpp, tpp],
            "y": [compute, size],
            "color": colours,
        }
        at = len(trade.tpp) * 3 // 4
        self._sources["names"].data = {
            "x": [trade.tpp[at], trade.tpp[at]],
            "y": [trade.compute[at] * 1.5, trade.size[at] * 0.6],
            "text": ["compute", "parameters"],
            "color": colours,
        }

    def _map(self) -> figure:
        plot = _log_log("map", "AdamW timescale τ, share of the run")
        plot.line("x", "y", source=self._sources["law"], line_color="#808894", line_dash=[6, 4])
        dots = plot.scatter(
            "tpp", "tau", source=self._sources["runs"], size=7, fill_color="color", line_alpha=0
        )
        plot.scatter(
            "x", "y", source=self._sources["here"], size=13, marker="diamond",
            fill_color="color", line_alpha=0,
        )  # fmt: skip
        _write(plot, self._sources["here"], x_offset=10)
        plot.add_tools(HoverTool(renderers=[dots], tooltips=_TIP, visible=False))
        return plot

    def _trade(self) -> figure:
        plot = _log_log("trade", "Times the compute-optimal model")
        plot.y_range = Range1d(0.1, 40)
        plot.multi_line(
            "xs", "ys", source=self._sources["trade"], line_color="color", line_width=2.4
        )
        plot.scatter(
            "x", "y", source=self._sources["trade_here"], size=11, marker="diamond",
            fill_color="color", line_alpha=0,
        )  # fmt: skip
        _write(plot, self._sources["names"], text_align="right")
        return plot


def _log_log(name: str, label: str) -> figure:
    plot = quiet_figure(
        _HEIGHT,
        x_range=Range1d(10 ** TPP_DECADES[0], 10 ** TPP_DECADES[1]),
        y_range=Range1d(0.01, 1),
        x_axis_type="log",
        y_axis_type="log",
        tools="",
        toolbar_location=None,
        name=name,
    )
    plot.xaxis.axis_label = "Tokens per parameter (TPP)"
    plot.yaxis.axis_label = label
    plot.xaxis.ticker = FixedTicker(ticks=list(_TPP_TICKS))
    plot.yaxis.ticker = FixedTicker(ticks=[m * 10.0**k for k in range(-4, 4) for m in (1, 2, 5)])
    for axis in plot.axis:
        axis.formatter = CustomJSTickFormatter(code="return String(+tick.toPrecision(2))")
    return plot


def _write(plot: figure, source: ColumnDataSource, **options: Any) -> None:
    plot.text(
        "x",
        "y",
        "text",
        source=source,
        text_color="color",
        text_baseline="middle",
        text_font=value(FONT),
        text_font_size="12px",
        text_font_style="bold",
        **options,
    )
