"""The two figures of the What-if page and the sources its script fills; they start empty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bokeh.core.properties import value
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    Div,
    HoverTool,
    Range1d,
)
from bokeh.plotting import figure

from workbench.views.figures import empty_source, quiet_figure, script, text_pane
from workbench.views.theme import FONT

SCRIPTS = (
    "schedules.js", "what_if_numbers.js", "text.js", "page.js", "what_if_words.js", "what_if.js",
)  # fmt: skip
_SOURCES = {
    "real": "xs ys color alpha width name",
    "band": "xs ys color",
    "curves": "xs ys color dash width",
    "whisker": "x low high color",
    "parts": "xs ys color",
    "total": "xs ys color dash",
    "names": "x y text color align",
}
_HEIGHT, _PARTS_HEIGHT = 340, 196
_TIP = '<div style="font:12px Roboto,system-ui,sans-serif">@name</div>'
_ROUND = {"line_join": "round", "line_cap": "round"}


@dataclass(frozen=True)
class WhatIfCanvas:
    """Figures, text panes and sources of one What-if page, by the names its script uses."""

    figure: figure
    parts: figure
    verdict: Div
    spoken: Div
    legend: Div
    mechanism: Div
    note: Div
    sketch: ColumnDataSource = field(repr=False)
    engine: CustomJS = field(repr=False)


def build_what_if(tables: dict[str, ColumnDataSource]) -> WhatIfCanvas:
    """Build empty figures and the callback that fills them.

    Parameters
    ----------
    tables : dict of str to ColumnDataSource
        What the server sends: ``runs``, one row per setting; ``state``, one row with the values of
        the controls; ``scene``, one cell of JSON that follows the family.
    """
    sources = {name: empty_source(columns) for name, columns in _SOURCES.items()}
    curves, parts = _curve_figure(sources), _parts_figure(sources)
    panes = {name: text_pane() for name in ("verdict", "spoken", "mechanism", "note")}
    panes["legend"] = text_pane(flex="1 1 420px")
    sketch = ColumnDataSource({"rates": [], "editing": []})
    args: dict[str, Any] = {
        **sources, **tables, **panes, "figure": curves, "below": parts, "sketch": sketch,
        "grids": [*curves.ygrid, *parts.ygrid],
    }  # fmt: skip
    engine = CustomJS(code=script(SCRIPTS), args=args, module=True)
    for source in tables.values():
        source.js_on_change("data", engine)
    curves.js_on_change("inner_width", engine)
    return WhatIfCanvas(curves, parts, **panes, sketch=sketch, engine=engine)


def _curve_figure(sources: dict[str, ColumnDataSource]) -> figure:
    plot = quiet_figure(
        _HEIGHT, x_range=Range1d(0, 1), y_range=Range1d(0, 1), tools="", toolbar_location=None,
        min_border_bottom=6, name="what-if",
    )  # fmt: skip
    plot.xaxis.visible = False
    real = plot.multi_line(
        "xs", "ys", source=sources["real"], line_color="color", line_alpha="alpha",
        line_width="width", **_ROUND,
    )  # fmt: skip
    plot.patches("xs", "ys", source=sources["band"], fill_color="color", fill_alpha=0.2,
                 line_alpha=0)  # fmt: skip
    plot.multi_line(
        "xs", "ys", source=sources["curves"], line_color="color", line_dash="dash",
        line_width="width", **_ROUND,
    )  # fmt: skip
    plot.segment("x", "low", "x", "high", source=sources["whisker"], line_color="color",
                 line_width=4, line_alpha=0.8)  # fmt: skip
    plot.add_tools(HoverTool(renderers=[real], tooltips=_TIP, line_policy="nearest", visible=False))
    return plot


def _parts_figure(sources: dict[str, ColumnDataSource]) -> figure:
    plot = quiet_figure(
        _PARTS_HEIGHT, x_range=Range1d(0, 1), y_range=Range1d(0, 1), tools="",
        toolbar_location=None, name="parts",
    )  # fmt: skip
    plot.xaxis.axis_label = "Progress, share of planned tokens [%]"
    plot.xaxis.formatter = CustomJSTickFormatter(code="return Math.round(tick * 100)")
    plot.yaxis.axis_label = "Mode's loss over its end"
    plot.yaxis.ticker.desired_num_ticks = 4
    plot.patches("xs", "ys", source=sources["parts"], fill_color="color", fill_alpha=0.5,
                 line_alpha=0)  # fmt: skip
    plot.multi_line("xs", "ys", source=sources["total"], line_color="color", line_width=1.8,
                    line_dash="dash", line_join="round")  # fmt: skip
    plot.text(
        "x", "y", "text", source=sources["names"], text_color="color", text_align="align",
        text_baseline="middle", text_font=value(FONT), text_font_size="12px",
        text_font_style="bold",
    )  # fmt: skip
    return plot
