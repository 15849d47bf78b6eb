"""The card "Two normalisations": L/L(1) beside excess loss, with what the numbers say."""

from __future__ import annotations

from html import escape

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure

from workbench.collapse import Normalisation, comparison_sentence, replicate_cells
from workbench.views.controls import html, wrapping_row
from workbench.views.figures import small_figure, tint
from workbench.views.format import percent_two_digits
from workbench.views.theme import PALETTES, Mode

_FROM = 0.04


class NormalisationCard:
    """Two small figures side by side and one sentence; hidden where H is unknown."""

    def __init__(self) -> None:
        self.sentence = html(margin=(0, 0, 8, 0))
        self.texts = [html(), html()]
        self.sources = [ColumnDataSource({"xs": [], "ys": [], "color": []}) for _ in range(2)]
        self.figures: list[figure] = [small_figure(source) for source in self.sources]
        panes = [
            pn.Column(
                text,
                pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0),
                sizing_mode="stretch_width",
                margin=0,
                min_width=260,
                styles={"flex": "1 1 300px"},
            )
            for text, plot in zip(self.texts, self.figures, strict=True)
        ]
        self.panel = pn.Column(
            self.sentence,
            wrapping_row(*panes, gap="8px 24px"),
            sizing_mode="stretch_width",
            visible=False,
        )

    def show(self, pair: tuple[Normalisation, Normalisation] | None, *, dark: bool) -> None:
        """Fill the card, or hide it when there is nothing to compare."""
        self.panel.visible = pair is not None
        if pair is None:
            return
        self.sentence.object = (
            f'<div class="group">Two normalisations</div><p>{escape(comparison_sentence(pair))}</p>'
        )
        for one, text, source, plot in zip(
            pair, self.texts, self.sources, self.figures, strict=True
        ):
            text.object = _numbers(one)
            _draw(one, source, plot, dark=dark)


def _numbers(one: Normalisation) -> str:
    noise = "–" if one.noise_half is None else percent_two_digits(one.noise_half)
    return (
        f'<div class="line"><span class="axis">{escape(one.name)}: {escape(one.formula)}</span>'
        f"<span>half-way Δ {percent_two_digits(one.deviation_half)}</span><span>σ {noise}</span>"
        "</div>"
    )


def _draw(one: Normalisation, source: ColumnDataSource, plot: figure, *, dark: bool) -> None:
    mode: Mode = "dark" if dark else "light"
    palette = PALETTES[mode]["size"]
    curves = one.curves
    progress = curves["progress"].to_numpy()
    cells = replicate_cells(curves)
    size = np.log(np.array([float(curves["model_size"].to_numpy()[rows[0]]) for rows in cells]))
    order = np.argsort(size)
    low, high = size.min(), size.max()
    span = high - low if high > low else 1.0
    means = [curves.to_numpy()[cells[i]].mean(axis=0) for i in order]
    place = [round((len(palette) - 1) * float((size[i] - low) / span)) for i in order]
    source.data = {
        "xs": [progress] * len(means),
        "ys": means,
        "color": [palette[k] for k in place],
    }
    late = np.concatenate([mean[progress >= _FROM] for mean in means])
    late = late[np.isfinite(late)]
    pad = 0.05 * float(late.max() - late.min() or 1.0)
    plot.y_range = Range1d(float(late.min()) - pad, float(late.max()) + pad)
    tint(plot, mode)
