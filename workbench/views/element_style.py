"""How the elements look: sizes by colour, few curves thick and many thin, quiet axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import NumeralTickFormatter
from numpy.typing import NDArray

from workbench.curves import XAxis
from workbench.views import theme

_HEIGHT = 340
_AXIS_NAMES = {
    "progress": "Share of the planned run",
    "tokens": "Tokens seen",
    "compute": "Training compute",
    "step": "Optimiser step",
}
Floats = NDArray[np.float64]
Style = dict[str, Any]
Span = tuple[float, float]


def size_span(curves: xr.DataArray) -> Span | None:
    """Return the smallest and largest model size of runs, None where no size is recorded."""
    size = curves["model_size"].to_numpy()
    return (float(np.nanmin(size)), float(np.nanmax(size))) if np.isfinite(size).any() else None


def size_colours(
    sizes: Floats, *, span: Span | None = None, mode: theme.Mode = "light"
) -> list[str]:
    """Return a colour per model size: position by its logarithm in the size palette."""
    if not len(sizes):
        return []
    palette = theme.PALETTES[mode]["size"]
    low, high = np.log(span or (sizes.min(), sizes.max()))
    share = (np.log(sizes) - low) / (high - low) if high > low else np.ones_like(sizes)
    return [palette[round(float(s) * (len(palette) - 1))] for s in share]


def stroke(rank: float, n_run: int) -> dict[str, float]:
    """Line width and opacity: few nested stripes stay visible, many curves stay readable."""
    if n_run <= 12:
        return {"line_width": 3.4 - 2.0 * rank}
    for most, width, alpha in ((60, 1.4, 0.9), (300, 1.0, 0.6)):
        if n_run <= most:
            return {"line_width": width, "alpha": alpha}
    return {"line_width": 0.8, "alpha": 0.35}


def axis_labels(x: XAxis, unit: str, ylabel: str) -> Style:
    """Return the titles of both axes; progress is written in per cent from 0 to 1."""
    name = _AXIS_NAMES[x]
    labels: Style = {"xlabel": f"{name} [{unit}]" if unit else name, "ylabel": ylabel}
    if x == "progress":
        labels |= {"xformatter": NumeralTickFormatter(format="0%"), "xlim": (0.0, 1.0)}
    return labels


def frame_style(mode: theme.Mode, *, height: int = _HEIGHT, legend_cols: int = 2) -> Style:
    """Return the options of an overlay: height, legend, tools and quiet axes."""
    return {
        "height": height,
        "responsive": True,
        "show_grid": True,
        "show_legend": True,
        "legend_limit": 1000,  # HoloViews drops the legend of an overlay with more layers
        "title": "",
        "legend_position": "top_right",
        "legend_cols": legend_cols,
        "active_tools": [],
        "default_tools": ["box_zoom", "wheel_zoom", "pan", "reset", "save"],
        "hooks": [_finish(mode)],
    }


def _finish(mode: theme.Mode) -> Callable[[Any, Any], None]:
    tokens = theme.TOKENS[mode]

    def finish(plot: Any, _element: Any) -> None:
        figure = plot.state
        figure.toolbar.update(autohide=True, logo=None)
        figure.update(
            outline_line_color=None,
            background_fill_color=tokens["card"],
            border_fill_color=tokens["card"],
        )
        figure.xgrid.grid_line_color = None
        figure.ygrid.grid_line_color = tokens["line"]
        for axis in figure.axis:
            axis.update(
                axis_line_color=None,
                major_tick_line_color=None,
                minor_tick_line_color=None,
                major_label_text_color=tokens["muted"],
                major_label_text_font_size="12px",
                axis_label_text_color=tokens["ink"],
                axis_label_text_font_size="13px",
                axis_label_text_font_style="normal",
            )
        for legend in figure.legend:
            legend.update(
                border_line_color=None,
                background_fill_color=tokens["card"],
                background_fill_alpha=0.75,
                label_text_color=tokens["ink"],
                label_text_font_size="12px",
                label_height=14,
                label_width=44,
                glyph_height=14,
                spacing=2,
            )

    return finish
