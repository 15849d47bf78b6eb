"""The two figures of the Explorer and the sources its script fills; they start empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from bokeh.core.properties import value
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    Div,
    FixedTicker,
    HoverTool,
    Range1d,
)
from bokeh.plotting import figure

from workbench.views.theme import FONT, TEXT_CSS, TOKENS, Mode

SCRIPTS = ("numbers.js", "text.js", "page.js", "words.js", "explorer.js")
CURVE_HEIGHT, STATISTIC_HEIGHT = 400, 168
_GREEN = "#1a9b76"
_TIP = '<div style="font:12px Roboto,system-ui,sans-serif"><b>@name</b><br>@setting</div>'

_SOURCES = {
    "lines": "xs ys color dash width alpha name setting",
    "live": "xs ys color alpha name setting",
    "dots": "x y color alpha",
    "bands": "xs ys color",
    "picked": "xs ys color",
    "labels": "x y text color align",
    "gap": "x deviation noise upper",
    "statistics": "xs ys color width dash",
    "statistic_names": "x y text color",
    "strip": "left right",
    "strip_below": "left right",
}


def script(names: Sequence[str] = SCRIPTS) -> str:
    """Return the script of a page as one ES module: files of ``views/js`` in the order given."""
    folder = resources.files("workbench.views") / "js"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


@dataclass(frozen=True)
class Canvas:
    """Figures, text panes and data sources of one Explorer, by the names its script uses."""

    figure: figure
    below: figure
    verdict: Div
    legend: Div
    note: Div
    sources: dict[str, ColumnDataSource] = field(repr=False)
    engine: CustomJS = field(repr=False)


def build_canvas(tables: dict[str, ColumnDataSource], *, standalone: bool) -> Canvas:
    """Build empty figures and the callback that fills them.

    Parameters
    ----------
    tables : dict of str to ColumnDataSource
        What the server sends: ``runs``, one row per run from ``browser_columns``; ``state`` and
        ``allowed``, one row with the values of the controls and of the filters; ``scene`` and
        ``settled``, one cell of JSON that follows the data (palettes, labels) and the selection
        (the offset track, the caveat).
    standalone : bool
        Whether one-letter keys belong to the page; in a notebook they do not.
    """
    sources = {name: empty_source(columns) for name, columns in _SOURCES.items()}
    curves, below = _curve_figure(sources), _statistic_figure(sources)
    verdict, legend, note = text_pane(), text_pane(flex="1 1 420px"), text_pane()
    chosen = ColumnDataSource({"run_id": []})
    commands = ColumnDataSource({"position": [], "view": []})
    grids = [*curves.ygrid, *below.ygrid]
    args: dict[str, Any] = {
        **sources,
        **tables,
        "figure": curves,
        "below": below,
        "verdict": verdict,
        "legend": legend,
        "note": note,
        "chosen": chosen,
        "commands": commands,
        "grids": grids,
        "standalone": standalone,
    }
    engine = CustomJS(code=script(), args=args, module=True)
    for source in (*tables.values(), chosen):
        source.js_on_change("data", engine)
    # The first layout gives the plot its width: that is when the page is first drawn.
    curves.js_on_change("inner_width", engine)
    for edge in ("start", "end"):
        curves.x_range.js_on_change(edge, engine)
    curves.js_on_event("tap", engine)
    links = {"chosen": chosen, "commands": commands}
    return Canvas(curves, below, verdict, legend, note, sources | links, engine)


def empty_source(columns: str) -> ColumnDataSource:
    """Return a source with these columns, names parted by blanks, and no rows."""
    return ColumnDataSource({name: [] for name in columns.split()})


def text_pane(**styles: str) -> Div:
    """Return an empty pane of text that a script writes into."""
    return Div(
        text="",
        stylesheets=[TEXT_CSS],
        styles=styles,
        sizing_mode="stretch_width",
        margin=0,
        disable_math=True,
    )


def quiet_figure(height: int, **options: Any) -> figure:
    """Return a figure without frame, axis lines and vertical grid, as wide as there is room."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        outline_line_alpha=0,
        output_backend="canvas",
        min_border_left=66,
        min_border_right=16,
        **options,
    )
    plot.xgrid.grid_line_color = None
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size = "13px"
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font_size = "12px"
    plot.yaxis.axis_label_standoff = 8
    plot.yaxis.ticker.desired_num_ticks = 5
    plot.xaxis.ticker.desired_num_ticks = 6
    return plot


def _curve_figure(sources: dict[str, ColumnDataSource]) -> figure:
    plot = quiet_figure(
        CURVE_HEIGHT,
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        tools="xpan,xbox_zoom,reset,tap",
        toolbar_location="above",
        min_border_bottom=6,
        name="curves",
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.toolbar_inner = True
    plot.xaxis.visible = False
    # Labels are written by the script in tenths: a big count has thousands separators.
    plot.xaxis.formatter = CustomJSTickFormatter(
        code="return (+tick.toPrecision(3)).toLocaleString('en')"
    )
    _mark_holds(plot, sources["strip"])
    plot.patches(
        "xs", "ys", source=sources["bands"], fill_color="color", fill_alpha=0.22, line_alpha=0
    )
    rounded = {"line_join": "round", "line_cap": "round"}
    lines = plot.multi_line(
        "xs",
        "ys",
        source=sources["lines"],
        line_color="color",
        line_width="width",
        line_alpha="alpha",
        line_dash="dash",
        **rounded,
    )
    live = plot.multi_line(
        "xs",
        "ys",
        source=sources["live"],
        line_color="color",
        line_width=2.4,
        line_alpha="alpha",
        **rounded,
    )
    plot.scatter(
        "x", "y", source=sources["dots"], size=9, line_alpha=0, fill_color="color",
        fill_alpha="alpha",
    )  # fmt: skip
    picked = plot.multi_line(
        "xs", "ys", source=sources["picked"], line_color="color", line_width=3, **rounded
    )
    for renderer in (lines, live, picked):
        renderer.nonselection_glyph = None
        renderer.selection_glyph = None
    plot.text(
        "x",
        "y",
        "text",
        source=sources["labels"],
        text_color="color",
        text_align="align",
        text_baseline="middle",
        text_font=value(FONT),
        text_font_size="12px",
        text_font_style="bold",
    )
    plot.add_tools(
        HoverTool(renderers=[lines, live], tooltips=_TIP, line_policy="nearest", visible=False)
    )
    return plot


def _statistic_figure(sources: dict[str, ColumnDataSource]) -> figure:
    plot = quiet_figure(
        STATISTIC_HEIGHT,
        x_range=Range1d(0, 1),
        y_range=Range1d(1e-3, 1e-1),
        y_axis_type="log",
        tools="",
        toolbar_location=None,
        name="statistics",
    )
    plot.xaxis.axis_label = "Progress, share of planned tokens [%]"
    plot.xaxis.formatter = CustomJSTickFormatter(code="return Math.round(tick * 100)")
    plot.yaxis.axis_label = "Relative sd"
    plot.yaxis.ticker = FixedTicker(ticks=[10.0**k for k in range(-7, 3)])
    plot.yaxis.formatter = CustomJSTickFormatter(
        code="const p = tick * 100; return `${p >= 1 ? p.toFixed(0) : +p.toPrecision(1)} %`"
    )
    _mark_holds(plot, sources["strip_below"])
    plot.varea("x", "deviation", "upper", source=sources["gap"], fill_color=_GREEN, fill_alpha=0.22)
    plot.multi_line(
        "xs",
        "ys",
        source=sources["statistics"],
        line_color="color",
        line_width="width",
        line_dash="dash",
        line_join="round",
    )
    plot.text(
        "x",
        "y",
        "text",
        source=sources["statistic_names"],
        text_color="color",
        text_baseline="middle",
        text_font=value(FONT),
        text_font_size="12px",
        text_font_style="bold",
    )
    return plot


def _mark_holds(plot: figure, source: ColumnDataSource) -> None:
    """Tint where Δ < σ to the end, with one dotted line where it begins."""
    plot.vstrip(
        "left",
        "right",
        source=source,
        fill_color=_GREEN,
        fill_alpha=0.07,
        line_alpha=0,
        level="underlay",
    )
    plot.vspan("left", source=source, line_color=_GREEN, line_dash=[2, 3], line_width=1.2)


def small_figure(source: ColumnDataSource) -> figure:
    """Return a small curve figure over progress, one line per row of `source`."""
    plot = quiet_figure(
        200,
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        tools="",
        toolbar_location=None,
    )
    plot.min_border_left = 44
    plot.xaxis.axis_label = "Progress, share of planned tokens [%]"
    plot.xaxis.formatter = CustomJSTickFormatter(code="return Math.round(tick * 100)")
    plot.multi_line(
        "xs",
        "ys",
        source=source,
        line_color="color",
        line_width=1.8,
        line_alpha=0.95,
        line_join="round",
    )
    return plot


def tint(plot: figure, mode: Mode) -> None:
    """Write the axes of a figure in the colours of a theme."""
    tokens = TOKENS[mode]
    for axis in plot.axis:
        axis.major_label_text_color = tokens["muted"]
        axis.axis_label_text_color = tokens["ink"]
    plot.ygrid.grid_line_color = tokens["line"]
