"""Charts as HoloViews overlays, and as JSON that a page embeds without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh  # registers the only backend drawn with
import numpy as np
from bokeh.core.json_encoder import serialize_json
from bokeh.embed import json_item
from bokeh.models import LogTicker

from workbench.reports.papers.charts import Band, Chart, Line, Mark, Points, Rule, _floats
from workbench.views.element_style import frame_style

_HEIGHT = 320
_ID = re.compile(r'"(p\d+)"')


def overlay(chart: Chart) -> hv.Overlay:
    """Return a chart as one overlay; its colours and axes are those of the dashboard."""
    options = frame_style("light", height=_HEIGHT, legend_cols=1) | {
        "xlabel": chart.x,
        "ylabel": chart.y,
        "logx": chart.log_x,
        "logy": chart.log_y,
    }
    options |= {"show_legend": any(mark.label for mark in chart.marks)}
    options["hooks"] = [*options["hooks"], _few_ticks]
    if chart.x_range is not None:
        options["xlim"] = chart.x_range
    if chart.y_range is not None:
        options["ylim"] = chart.y_range
    return hv.Overlay(list(_elements(chart.marks))).opts(**options)


def _few_ticks(plot: Any, _element: Any) -> None:
    """Keep the labels of a short logarithmic axis from running into one another."""
    for axis in plot.state.xaxis:
        if isinstance(axis.ticker, LogTicker):
            axis.ticker.desired_num_ticks = 4


def embedded(chart: Chart, *, name: str) -> str:
    """Return a chart as the JSON that ``Bokeh.embed.embed_item`` takes.

    The same chart gives the same text, and two charts of one page share no identifier.
    """
    plot = hv.renderer("bokeh").instance(webgl=False).get_plot(overlay(chart)).state
    item = json_item(plot, name)
    item["doc"].pop("defs", None)  # every model Panel has registered; none of them is drawn
    text = serialize_json(item)
    known: dict[str, str] = {}
    return _ID.sub(lambda m: f'"{known.setdefault(m[1], f"{name}-{len(known)}")}"', text)


def _elements(marks: object) -> Iterator[hv.Element]:
    seen: set[str] = set()
    for mark in marks:  # type: ignore[attr-defined]
        label = mark.label if mark.label not in seen else ""
        seen.add(mark.label)
        yield from _element(mark, label)


def _element(mark: Mark, label: str) -> Iterator[hv.Element]:
    match mark:
        case Line():
            yield hv.Curve((_floats(mark.x), _floats(mark.y)), "x", "y", label=label).opts(
                color=mark.colour, line_dash=mark.dash, line_width=mark.width, tools=["hover"]
            )
        case Points():
            x, y = _floats(mark.x), _floats(mark.y)
            names = list(mark.names) or [mark.label] * len(x)
            yield hv.Points((x, y, names), ["x", "y"], "name", label=label).opts(
                color=mark.colour, size=8, tools=["hover"]
            )
        case Band():
            data = (_floats(mark.x), _floats(mark.low), _floats(mark.high))
            yield hv.Area(data, "x", ["low", "high"], label=label).opts(
                color=mark.colour, alpha=0.2, line_alpha=0
            )
        case Rule():
            line = hv.VLine(mark.at) if mark.axis == "x" else hv.HLine(mark.at)
            yield line.opts(color=mark.colour, line_dash="dotted", line_width=1.4)
            if label:
                yield hv.Curve([(np.nan, np.nan)], "x", "y", label=label).opts(
                    color=mark.colour, line_dash="dotted"
                )
