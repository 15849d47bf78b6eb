"""Curves, Δ against σ and the power law as HoloViews elements: returned, never shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh  # registers the only backend drawn with
import numpy as np
import xarray as xr
from bokeh.models import NumeralTickFormatter
from numpy.typing import NDArray

from workbench.collapse import CollapseReport, largest_matched, residual
from workbench.curves import XAxis, final_loss, is_complete, x_scale
from workbench.errors import DataError
from workbench.laws import PFLOP
from workbench.views import theme
from workbench.views.format import axis_unit, distinct_labels

TRANSIENT = 0.04
"""The frame fits the curves from this progress on; the early transient may leave it."""
LEGEND_ENTRIES = 8
_BUDGET = 120_000
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


def raw_curves(
    curves: xr.DataArray, *, x: XAxis = "progress", mode: theme.Mode = "light"
) -> hv.Overlay:
    """Draw loss curves as they are, coloured by model size.

    Parameters
    ----------
    curves : DataArray (run, progress)
        Loss [nats/token] from ``on_progress``.
    x : {"progress", "tokens", "compute", "step"}
        Horizontal axis; all but progress are logarithmic.
    mode : {"light", "dark"}
        Which palette.

    Returns
    -------
    Overlay
    """
    curves = thinned(curves)
    factor = x_scale(curves, x)
    position = (curves["progress"] * factor).transpose(*curves.dims).to_numpy()
    divisor, unit = axis_unit(x, float(position.max()))
    lines = _lines(curves, position / divisor, mode)
    name = "Held-out loss" if curves.name == "eval_loss" else "Training loss"
    options = _labels(x, unit, f"{name} L [nats/token]") | _style(mode)
    if x != "progress":
        late = position[:, curves["progress"].to_numpy() >= TRANSIENT] / divisor
        options |= {"logx": True, "xlim": (float(late.min()), 1.2 * float(late.max()))}
    return hv.Overlay(lines).opts(ylim=_frame(curves), **options)


def normalised_curves(
    report: CollapseReport, *, span: Span | None = None, mode: theme.Mode = "light"
) -> hv.Overlay:
    """Draw the normalised curves ℓ of a report, coloured by model size, along its x-axis.

    Parameters
    ----------
    report : CollapseReport
        Its ``curves`` are drawn.
    span : (smallest, largest), optional
        Model sizes between which the palette runs, from ``size_span``; give that of all runs where
        a report leaves some out, so that a size keeps its colour.
    mode : {"light", "dark"}
        Which palette.
    """
    ell = thinned(report.curves)
    position = ell["x"].transpose(*ell.dims).to_numpy()
    divisor, unit = axis_unit(report.x, float(position.max()))
    label = "ℓ = L / L(1)" if report.offset.value == 0 else "ℓ = (L − offset) / (L(1) − offset)"
    return hv.Overlay(_lines(ell, position / divisor, mode, span)).opts(
        ylim=_frame(ell), **_labels(report.x, unit, label), **_style(mode)
    )


def residual_curves(
    report: CollapseReport, *, span: Span | None = None, mode: theme.Mode = "light"
) -> hv.Overlay:
    """Draw each size's mean residual ℓ/⟨ℓ⟩ − 1 over one grey ±σ band; see ``normalised_curves``."""
    by_size = _size_means(residual(report.curves))
    progress = by_size["progress"].to_numpy()
    position = np.broadcast_to(progress, by_size.shape)
    late = progress >= max(report.start, TRANSIENT)
    reach = 1.1 * float(np.nanmax(np.abs(by_size.to_numpy()[:, late])))
    layers: list[hv.Element] = []
    sigma = report.noise_floor
    if sigma is not None:
        band = sigma.to_numpy()
        reach = max(reach, 2.2 * float(np.nanmedian(band[late])))
        layers.append(
            hv.Area((progress, -band, band), "x", ["low", "high"], label="± σ").opts(
                color=theme.TOKENS[mode]["muted"], alpha=0.22, line_alpha=0
            )
        )
    layers += _lines(by_size, position, mode, span)
    return hv.Overlay(layers).opts(
        ylim=(-reach, reach),
        yformatter=NumeralTickFormatter(format="0.0%"),
        **_labels("progress", "", "Residual ℓ / ⟨ℓ⟩ − 1"),
        **_style(mode, legend_cols=3),
    )


def deviation_panel(report: CollapseReport, *, mode: theme.Mode = "light") -> hv.Overlay:
    """Draw Δ(x) against σ(x) on a logarithmic axis; green where Δ < σ.

    The last grid point is left out: there Δ is 0 by construction.
    """
    tokens = theme.TOKENS[mode]
    progress = report.deviation["progress"].to_numpy()[:-1]
    delta, sigma = report.deviation.to_numpy()[:-1], report.noise_floor
    layers: list[hv.Element] = []
    shown = [delta]
    if sigma is not None:
        floor = sigma.to_numpy()[:-1]
        shown.append(floor)
        low = np.fmin(delta, floor)
        layers.append(
            hv.Area((progress, low, floor), "x", ["low", "high"], label="Δ below σ").opts(
                color=tokens["good"], alpha=0.22, line_alpha=0
            )
        )
        layers += _beyond(report.beyond, tokens["good"])
        layers.append(
            hv.Curve((progress, floor), "x", "y", label="σ, seed noise").opts(
                color=tokens["muted"], line_width=1.8, line_dash="dashed"
            )
        )
    layers.append(
        hv.Curve((progress, delta), "x", "y", label="Δ, spread across runs").opts(
            color=tokens["ink"], line_width=2.4, tools=["hover"]
        )
    )
    late = np.concatenate([values[progress >= TRANSIENT] for values in shown])
    return hv.Overlay(layers).opts(
        logy=True,
        ylim=(0.7 * float(np.nanmin(late[late > 0])), 1.5 * float(np.nanmax(late))),
        yformatter=NumeralTickFormatter(format="0.[000]%"),
        **_labels("progress", "", "sd / mean"),
        **_style(mode, height=240, legend_cols=1) | {"legend_position": "bottom_left"},
    )


def power_law_fit(
    report: CollapseReport, curves: xr.DataArray, *, mode: theme.Mode = "light"
) -> hv.Overlay:
    """Draw final losses against compute, the fitted power law and L0 with its interval.

    Parameters
    ----------
    report : CollapseReport
        A report whose offset was fitted.
    curves : DataArray (run, progress)
        The loss curves [nats/token] the fit was made on.
    mode : {"light", "dark"}
        Which palette.

    Raises
    ------
    DataError
        If the offset of the report was not fitted.
    """
    fit = report.offset.fit
    if fit is None:
        msg = f"The offset was not fitted ({report.offset.method}); ask for offset='fit'."
        raise DataError(msg)
    tokens = theme.TOKENS[mode]
    done = curves.isel(run=np.flatnonzero(is_complete(curves)))
    compute, final = done["compute_total"].to_numpy(), final_loss(done).to_numpy()
    divisor, unit = axis_unit("compute", float(np.nanmax(compute)))
    along = np.geomspace(np.nanmin(compute) / 1.5, np.nanmax(compute) * 3, 200)
    law = hv.Curve((along / divisor, fit.predict(along / PFLOP)), "x", "y", label="power law")
    spread = float(np.ptp(final)) or float(final.max()) * 0.01
    low = min(float(final.min()), fit.L0.estimate) - 0.12 * spread
    return hv.Overlay(
        [
            hv.HSpan(max(fit.L0.lower, low - spread), fit.L0.upper).opts(
                color=tokens["accent"], alpha=0.1
            ),
            hv.HLine(fit.L0.estimate).opts(
                color=tokens["accent"], line_width=1.4, line_dash="dotted"
            ),
            law.opts(color=tokens["ink"], line_width=1.8),
            *_end_points(done, compute / divisor, final, mode),
        ]
    ).opts(
        logx=True,
        ylim=(low, float(final.max()) + 0.12 * spread),
        **_labels("compute", unit, "Final loss [nats/token]"),
        **_style(mode),
    )


def _end_points(
    done: xr.DataArray, compute: Floats, final: Floats, mode: theme.Mode
) -> list[hv.Points]:
    """Return final losses of the runs the fit used, and, hollow, of the others."""
    tokens = theme.TOKENS[mode]
    used = np.isin(np.arange(len(final)), largest_matched(done)[1])
    groups = [(used, "runs fitted", tokens["accent"]), (~used, "other runs", tokens["card"])]
    return [
        hv.Points(
            (compute[rows], final[rows], done["run_id"].to_numpy()[rows]),
            ["x", "y"],
            "run",
            label=label,
        ).opts(size=6, color=colour, line_color=tokens["accent"], tools=["hover"])
        for rows, label, colour in groups
        if rows.any()
    ]


def thinned(curves: xr.DataArray) -> xr.DataArray:
    """Return every k-th grid point where a figure would hold too many; the end is kept."""
    points = curves.sizes["progress"]
    step = -(-curves.sizes["run"] * points // _BUDGET)
    return curves.isel(progress=np.arange(points - 1, -1, -step)[::-1])


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


def _lines(
    curves: xr.DataArray, position: Floats, mode: theme.Mode, span: Span | None = None
) -> list[hv.Element]:
    """One multi-line per model size, largest on top; past eight sizes the legend names eight."""
    size = curves["model_size"].to_numpy()
    known, n_run = np.unique(size[np.isfinite(size)]), curves.sizes["run"]
    layers: list[hv.Element] = []
    unknown = np.flatnonzero(~np.isfinite(size))
    if len(unknown):
        style = {"color": theme.TOKENS[mode]["muted"], **_stroke(0.0, n_run)}
        layers.append(_bundle(curves, position, unknown, "size not recorded", style))
    labels = distinct_labels("model_size", known)
    colours = size_colours(known, span=span, mode=mode)
    named = np.linspace(0, len(known) - 1, min(len(known), LEGEND_ENTRIES)).round()
    for i, (value, colour, label) in enumerate(zip(known, colours, labels, strict=True)):
        style = {"color": colour, **_stroke(i / max(len(known) - 1, 1), n_run)}
        layers.append(_bundle(curves, position, np.flatnonzero(size == value), label, style))
        if i in named:
            layers.append(_legend_entry(label, colour))
    return layers


def _bundle(
    curves: xr.DataArray, position: Floats, rows: NDArray[np.int64], label: str, style: Style
) -> hv.Contours:
    """Single precision halves the page and is finer than a screen can show."""
    x, y = position.astype(np.float32), curves.to_numpy().astype(np.float32)
    names = curves["run_id"].to_numpy()
    paths = [{"x": x[i], "y": y[i], "run": str(names[i]), "size": label} for i in rows]
    return hv.Contours(paths, ["x", "y"], ["run", "size"]).opts(
        tools=["hover"], hover_tooltips=[("run", "@run"), ("size", "@size")], **style
    )


def _legend_entry(label: str, colour: str) -> hv.Curve:
    """HoloViews gives multi-lines no legend entry; an empty curve carries it."""
    return hv.Curve([(np.nan, np.nan)], "x", "y", label=label).opts(color=colour, line_width=3)


def _stroke(rank: float, n_run: int) -> dict[str, float]:
    """Line width and opacity: few nested stripes stay visible, many curves stay readable."""
    if n_run <= 12:
        return {"line_width": 3.4 - 2.0 * rank}
    for most, width, alpha in ((60, 1.4, 0.9), (300, 1.0, 0.6)):
        if n_run <= most:
            return {"line_width": width, "alpha": alpha}
    return {"line_width": 0.8, "alpha": 0.35}


def _size_means(values: xr.DataArray) -> xr.DataArray:
    size = values["model_size"].to_numpy()
    known = np.unique(size)
    rows = [np.isnan(size) if np.isnan(v) else size == v for v in known]
    means = np.stack([values.to_numpy()[r].mean(axis=0) for r in rows])
    labels = [f"mean of {int(r.sum())}" for r in rows]
    coords = {
        "model_size": ("run", known),
        "run_id": ("run", labels),
        "progress": values["progress"].variable,
    }
    return xr.DataArray(means, dims=("run", "progress"), coords=coords, name="residual")


def _beyond(beyond: float | None, colour: str) -> list[hv.Element]:
    if beyond is None:
        return []
    return [
        hv.VSpan(beyond, 1.0).opts(color=colour, alpha=0.07),
        hv.VLine(beyond).opts(color=colour, line_dash="dotted", line_width=1.4),
    ]


def _frame(curves: xr.DataArray) -> tuple[float, float]:
    late = curves.to_numpy()[:, curves["progress"].to_numpy() >= TRANSIENT]
    low, high = float(np.nanmin(late)), float(np.nanmax(late))
    margin = 0.04 * (high - low or abs(high) or 1.0)
    return low - margin, high + margin


def _labels(x: XAxis, unit: str, ylabel: str) -> Style:
    name = _AXIS_NAMES[x]
    labels: Style = {"xlabel": f"{name} [{unit}]" if unit else name, "ylabel": ylabel}
    if x == "progress":
        labels |= {"xformatter": NumeralTickFormatter(format="0%"), "xlim": (0.0, 1.0)}
    return labels


def _style(mode: theme.Mode, *, height: int = _HEIGHT, legend_cols: int = 2) -> Style:
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
