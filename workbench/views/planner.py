"""The Planner: from a size and a horizon to a recipe, its cost and the loss to expect.

One object: a page (``.servable()``), a notebook cell (the last expression) or a part of a layout.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import xarray as xr
from bokeh.models import CustomJSTickFormatter

from workbench.errors import WorkbenchError
from workbench.views import cards
from workbench.views.controls import html, wrapping_row
from workbench.views.live_html import LiveHtml, code_html
from workbench.views.pages import navigation_html
from workbench.views.planner_figures import PlannerFigures
from workbench.views.planner_model import PlannerModel
from workbench.views.planner_words import (
    MAP_NOTE,
    PLANNER_CSS,
    details_html,
    notes_html,
    recipe_html,
    trade_html,
    wrong_html,
)
from workbench.views.shell import card, group, in_cell, shell
from workbench.views.source import RunStore, opened
from workbench.views.theme import (
    Mode,
)

_WIDE = {"sizing_mode": "stretch_width"}
_SYNCED = {
    name: name
    for name in (
        "size", "horizon", "recipe", "batch", "warmup", "accelerator", "devices", "utilisation",
    )
}  # fmt: skip
_COUNT_TEXT = """
const n = 10 ** tick, unit = n >= 1e12 ? [1e12, "T"] : n >= 1e9 ? [1e9, "B"]
  : n >= 1e6 ? [1e6, "M"] : [1e3, "k"];
return `${+(n / unit[0]).toPrecision(3)}${unit[1]}`
"""
_NUMBER_TEXT = "return String(+(10 ** tick).toPrecision(3))"


class Planner(pn.viewable.Viewer):
    """Planner over the runs of a store, or without any.

    Parameters
    ----------
    source : str, Path, Dataset (run, obs), store or None
        Where the runs for the map and the predicted loss come from.
    standalone : bool
        Whether the object has a page of its own, beside the other pages.

    Raises
    ------
    ArgumentError
        If `source` is none of these.
    DataError
        If the store cannot be read.
    """

    def __init__(
        self, source: str | Path | xr.Dataset | RunStore, *, standalone: bool = False
    ) -> None:
        super().__init__()
        _, runs, self._title = opened(source)
        self._standalone = standalone
        self._mode: Mode = "dark" if str(pn.config.theme) == "dark" else "light"
        self.model = PlannerModel(runs)
        self.figures = PlannerFigures()
        self._build_controls()
        self._build_cards()
        self.model.param.watch(self._show, list(_SYNCED))
        self._show()

    def _build_controls(self) -> None:
        p = self.model.param
        slider = {"size": "small", "track": False, "description": "", **_WIDE}
        field = {"size": "small", "description": "", **_WIDE}
        self.controls = pn.Column(
            group(
                "Model and horizon",
                pmui.FloatSlider.from_param(
                    p.size, label="Parameters N", step=0.02,
                    format=CustomJSTickFormatter(code=_COUNT_TEXT), **slider,
                ),
                pmui.FloatSlider.from_param(
                    p.horizon, label="Tokens per parameter", step=0.02,
                    format=CustomJSTickFormatter(code=_NUMBER_TEXT), **slider,
                ),
            ),
            group(
                "Recipe",
                pmui.Select.from_param(p.recipe, label="Published recipe", **field),
                pmui.TextInput.from_param(
                    p.batch, label="Batch, tokens", placeholder="as the recipe says", **field
                ),
                pmui.TextInput.from_param(
                    p.warmup, label="Warm-up, share of the run",
                    placeholder="as the recipe says", **field,
                ),
            ),
            group(
                "Hardware",
                pmui.Select.from_param(p.accelerator, label="Accelerator", **field),
                pmui.Select.from_param(p.devices, label="How many", **field),
                pmui.FloatSlider.from_param(
                    p.utilisation, label="Share of the peak rate (MFU)", step=0.05,
                    format="0 %", **slider,
                ),
            ),
            margin=0,
            **_WIDE,
        )  # fmt: skip

    def _build_cards(self) -> None:
        names = ("recipe", "details", "map_note", "trade_note", "notes", "copy")
        self._text = {
            name: LiveHtml(margin=0, stylesheets=[PLANNER_CSS], **_WIDE) for name in names
        }
        self.header = pn.pane.HTML("", stylesheets=[cards.HEADER_CSS], margin=0, **_WIDE)
        pictures = wrapping_row(
            _half("Where it lies", self.figures.map, self._text["map_note"]),
            _half("What its TPP costs", self.figures.trade, self._text["trade_note"]),
            gap="12px 24px",
        )
        self._answer = card(self._text["recipe"])
        self._rest = [
            card(pictures),
            card(self._text["details"]),
            card(self._text["notes"]),
            card(self._text["copy"]),
        ]
        self.main = pn.Column(self._answer, *self._rest, margin=16, **_WIDE)

    def _show(self, *_: Any) -> None:
        """Work the recipe out again and bring every card in line."""
        model = self.model
        self.header.object = cards.header_html(
            navigation_html("Planner", linked=self._standalone), self._title, ""
        )
        try:
            plan = model.plan()
        except WorkbenchError as error:
            self._text["recipe"].html = wrong_html(str(error))
            for each in self._rest:
                each.visible = False
            return
        try:
            predicted: Any = model.predicted(plan)
        except WorkbenchError as error:
            predicted = str(error)
        self._text["recipe"].html = recipe_html(plan, predicted)
        self._text["details"].html = details_html(
            plan,
            days=model.days(plan),
            devices=model.devices,
            accelerator=model.accelerator,
        )
        self._text["map_note"].html = MAP_NOTE
        self._text["trade_note"].html = trade_html(model.trade(plan))
        self._text["notes"].html = notes_html(plan)
        self._text[
            "copy"
        ].html = (
            f"<pre>{escape(model.command())}</pre>{code_html('The same again', model.python())}"
        )
        self.figures.show(model, plan, self._mode)
        for each in self._rest:
            each.visible = True

    def _theme_changed(self, event: Any) -> None:
        self._mode = "dark" if event.new else "light"
        self._show()

    # -- faces --------------------------------------------------------------------------------

    def __panel__(self) -> pn.viewable.Viewable:
        return in_cell(header=self.header, controls=self.controls, main=self.main, mode=self._mode)

    def page(self) -> pmui.Page:
        """Return the whole page: header, drawer of controls, cards."""
        page = shell(
            navigation=navigation_html("Planner", linked=True),
            header=self.header,
            sidebar=self.controls,
            main=self.main,
        )
        page.param.watch(self._theme_changed, ["dark_theme"])
        if pn.state.location is not None:
            pn.state.location.sync(self.model, _SYNCED)
        self._mode = "dark" if page.dark_theme else "light"
        self._show()
        return page

    def servable(self, *args: Any, **kwargs: Any) -> pn.viewable.Viewable:
        """Serve the whole page; parameters are Panel's."""
        return self.page().servable(*args, **kwargs)


def _half(title: str, plot: Any, note: pn.viewable.Viewable) -> pn.Column:
    return pn.Column(
        html(f'<div class="group">{title}</div>'),
        pn.pane.Bokeh(plot, margin=0, **_WIDE),
        note,
        margin=0,
        min_width=260,
        styles={"flex": "1 1 320px"},
        **_WIDE,
    )
