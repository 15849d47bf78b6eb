"""Curves, Δ against σ and the power law as HoloViews elements: returned, never shown."""

from __future__ import annotations

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
from workbench.views.element_style import (
    Floats,
    Span,
    Style,
    axis_labels,
    frame_style,
    size_colours,
    stroke,
)
from workbench.views.format import axis_unit, distinct_labels

TRANSIENT = 0.04
"""The frame fits the curves from this progress on; the early transient may leave it."""
LEGEND_ENTRIES = 8
_BUDGET = 120_000


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
    options = axis_labels(x, unit, f"{name} L [nats/token]") | frame_style(mode)
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
        ylim=_frame(ell), **axis_labels(report.x, unit, label), **frame_style(mode)
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
        **axis_labels("progress", "", "Residual ℓ / ⟨ℓ⟩ − 1"),
        **frame_style(mode, legend_cols=3),
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
        **axis_labels("progress", "", "sd / mean"),
        **frame_style(mode, height=240, legend_cols=1) | {"legend_position": "bottom_left"},
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
        **axis_labels("compute", unit, "Final loss [nats/token]"),
        **frame_style(mode),
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


def _lines(
    curves: xr.DataArray, position: Floats, mode: theme.Mode, span: Span | None = None
) -> list[hv.Element]:
    """One multi-line per model size, largest on top; past eight sizes the legend names eight."""
    size = curves["model_size"].to_numpy()
    known, n_run = np.unique(size[np.isfinite(size)]), curves.sizes["run"]
    layers: list[hv.Element] = []
    unknown = np.flatnonzero(~np.isfinite(size))
    if len(unknown):
        style = {"color": theme.TOKENS[mode]["muted"], **stroke(0.0, n_run)}
        layers.append(_bundle(curves, position, unknown, "size not recorded", style))
    labels = distinct_labels("model_size", known)
    colours = size_colours(known, span=span, mode=mode)
    named = np.linspace(0, len(known) - 1, min(len(known), LEGEND_ENTRIES)).round()
    for i, (value, colour, label) in enumerate(zip(known, colours, labels, strict=True)):
        style = {"color": colour, **stroke(i / max(len(known) - 1, 1), n_run)}
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
