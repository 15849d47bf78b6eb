"""HoloViews objects as captioned HTML figures that need no network."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import holoviews as hv
import xarray as xr
from bokeh.embed import components
from bokeh.resources import Resources
from IPython.display import publish_display_data

from workbench.collapse import CollapseReport
from workbench.collapse.verdict import HALF
from workbench.text import percent_two_digits, plural
from workbench.views.elements import thinned


@dataclass(frozen=True)
class Html:
    """A piece of a page; shown as it is by a notebook and by the HTML export."""

    text: str

    def _repr_html_(self) -> str:
        return self.text


def show(*pieces: Html) -> None:
    """Display pieces of a page in a notebook, in order."""
    for piece in pieces:
        publish_display_data({"text/html": piece.text})  # type: ignore[no-untyped-call]


def bokeh_runtime() -> Html:
    """Return BokehJS itself as inline scripts; a page needs it once, before its first figure."""
    scripts = Resources(mode="inline", components=["bokeh"]).js_raw
    return Html("".join(f"<script>{text}</script>" for text in scripts))


def figure(element: hv.Dimensioned, *, title: str, caption: str) -> Html:
    """Return an interactive figure with a title and a caption.

    Parameters
    ----------
    element : HoloViews object
        What to draw; its Bokeh options decide the height, the page decides the width.
    title, caption : str
        Plain text; escaped.
    """
    # HoloViews asks for WebGL; without a graphics card its software path is tens of times slower.
    plot = hv.renderer("bokeh").instance(webgl=False).get_plot(element).state
    script, div = components(plot)
    return Html(
        f"<figure><h3>{escape(title)}</h3>{div}{script}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def side_by_side(*figures: Html) -> Html:
    """Return figures next to one another; below one another where the page is narrow."""
    return Html(f'<div class="pair">{"".join(item.text for item in figures)}</div>')


def drawn(curves: xr.DataArray) -> str:
    """Say how many runs and points a figure holds."""
    points, all_points = thinned(curves).sizes["progress"], curves.sizes["progress"]
    kept = f"{points} points" if points == all_points else f"{points} of {all_points} points"
    return f"{plural(curves.sizes['run'], 'run')}, {kept} each."


def against_noise(report: CollapseReport) -> str:
    """Say what the panel of Δ and σ shows."""
    offset = f"Offset {report.offset.value:.4f} nats/token."
    if report.noise_floor is None:
        return f"{offset} Only Δ: no setting has two seeds, so there is no σ to compare with."
    line = "" if report.beyond is None else "; from the dotted line on that lasts to the end"
    return f"{offset} Green where Δ < σ{line}. Towards the end Δ falls to 0 by construction."


def half_way(report: CollapseReport) -> str:
    """Say Δ and σ half-way, and their ratio: Δ alone does not compare between offsets."""
    delta = float(report.deviation.sel(progress=HALF, method="nearest"))
    if report.noise_floor is None:
        return f"Half-way Δ = {percent_two_digits(delta)}; no seeds to compare with."
    sigma = float(report.noise_floor.sel(progress=HALF, method="nearest"))
    return (
        f"Half-way Δ = {percent_two_digits(delta)}, {delta / sigma:.2g} times "
        f"σ = {percent_two_digits(sigma)}."
    )
