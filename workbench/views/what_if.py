"""What-if: settings of a run that could be, and the curve they would give, over the real ones.

One object: a page (``.servable()``), a notebook cell (the last expression) or a part of a layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import xarray as xr
from bokeh.models import ColumnDataSource
from panel.io import hold

from workbench.errors import WorkbenchError
from workbench.views import cards
from workbench.views.controls import html, wrapping_row
from workbench.views.live_html import LiveHtml, code_html
from workbench.views.pages import navigation_html
from workbench.views.schedule_editor import ScheduleEditor
from workbench.views.shell import card, in_cell, shell
from workbench.views.source import RunStore, in_event_loop, opened
from workbench.views.theme import Mode
from workbench.views.what_if_code import python_code
from workbench.views.what_if_controls import WhatIfControls
from workbench.views.what_if_feed import run_columns, scene_json, state_columns
from workbench.views.what_if_figures import build_what_if
from workbench.views.what_if_model import SETTINGS, WhatIfModel, WhatIfSettings
from workbench.views.what_if_words import LEARNING_RATE, runs_html

_WIDE = {"sizing_mode": "stretch_width"}
_SYNCED = {name: name for name in SETTINGS}
_REST_MILLISECONDS = 300
_SKETCH = """
const [rates] = source.data.rates, [editing] = source.data.editing;
editor.data.setv({ rates, editing }, { sync: false });
"""


class WhatIf(pn.viewable.Viewer):
    """Predicted curves over the runs of a store, or without any.

    Parameters
    ----------
    source : str, Path, Dataset (run, obs), store or None
        Where the real curves come from; the surrogate is fitted to them where it can be.
    refresh : float
        Seconds between looks at a store's revision.
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
        self,
        source: str | Path | xr.Dataset | RunStore,
        *,
        refresh: float = 5.0,
        standalone: bool = False,
    ) -> None:
        super().__init__()
        self._store, runs, self._title = opened(source)
        self._revision = None if self._store is None else self._store.revision()
        self._place = "STORE" if self._store is None else str(getattr(source, "address", source))
        self._refresh, self._polling = refresh, False
        self._standalone = standalone
        self._dark = str(pn.config.theme) == "dark"
        self._waiting: Any = None
        self.model = WhatIfModel(runs)
        # What the address of the page says: follows the model when the controls rest.
        self._address = WhatIfSettings()
        self._update_address()
        self.controls = WhatIfControls(self.model)
        self._build_canvas()
        self._build_cards()
        self._connect()
        self._show()

    # -- building -----------------------------------------------------------------------------

    def _build_canvas(self) -> None:
        model = self.model
        self._state = ColumnDataSource(state_columns(model, dark=self._dark), name="what-if-state")
        self._runs = ColumnDataSource(run_columns(model.data))
        self._scene = ColumnDataSource({"json": [scene_json(model)]})
        tables = {"state": self._state, "runs": self._runs, "scene": self._scene}
        self.canvas = build_what_if(tables)
        self.editor = ScheduleEditor(text=model.points, margin=0, **_WIDE)
        self.controls.link(self.canvas.engine, state=self._state, editor=self.editor)
        pn.links.Callback(self.canvas.sketch, code={"data": _SKETCH}, args={"editor": self.editor})

    def _build_cards(self) -> None:
        canvas = self.canvas
        self.header = pn.pane.HTML("", stylesheets=[cards.HEADER_CSS], margin=0, **_WIDE)
        self._about, self._copy = LiveHtml(margin=0, **_WIDE), LiveHtml(margin=0, **_WIDE)
        self._about_card, self._copy_card = card(self._about), card(self._copy)
        top = wrapping_row(
            self.controls.view,
            pn.pane.Bokeh(canvas.legend, margin=0),
            gap="8px 18px",
            styles={"align-items": "center"},
            margin=(0, 0, 2, 0),
        )
        curves, mechanism, parts, note = (
            pn.pane.Bokeh(m, margin=0, **_WIDE)
            for m in (canvas.figure, canvas.mechanism, canvas.parts, canvas.note)
        )
        mechanism.margin = (10, 0, 4, 0)
        self.main = pn.Column(
            card(
                pn.pane.Bokeh(canvas.verdict, margin=0, **_WIDE),
                pn.pane.Bokeh(canvas.spoken, margin=0, height=1, **_WIDE),
            ),
            self._about_card,
            card(top, self.controls.twin(), curves, mechanism, parts, note),
            card(html(LEARNING_RATE), self.editor),
            self._copy_card,
            margin=16,
            **_WIDE,
        )

    def _connect(self) -> None:
        model, editor = self.model, self.editor
        editor.param.watch(lambda event: model.param.update(points=event.new), ["text"])
        model.param.watch(lambda event: editor.param.update(text=event.new), ["points"])
        model.param.watch(self._take_data, ["family"])
        model.param.watch(self._moved, [name for name in _SYNCED if name != "family"])

    # -- showing ------------------------------------------------------------------------------

    def _show(self) -> None:
        """Bring header, states and code in line with the model."""
        self.header.object = cards.header_html(
            navigation_html("What-if", linked=self._standalone), self._title, ""
        )
        self.controls.refresh()
        data = self.model.data
        self._about_card.visible = not data.settings
        if not self.model.runs.sizes["run"]:
            self._about.html = cards.empty_html(self._title)
        elif not data.settings:
            self._about.html = runs_html(data.problem)
        self._show_code()

    def _show_code(self) -> None:
        try:
            code = python_code(self.model, self._place)
        except WorkbenchError:  # the verdict card says that the points make no schedule
            self._copy_card.visible = False
            return
        self._copy_card.visible = True
        self._copy.html = code_html("The same again", code)

    # -- reactions ----------------------------------------------------------------------------

    def poll(self) -> None:
        """Look at the store once; take its runs over when another run has finished."""
        if self._store is None:
            return
        try:
            revision = self._store.revision()
            if revision == self._revision:
                return
            runs = self._store.runs()
        except WorkbenchError as error:
            self._about_card.visible = True
            self._about.html = cards.error_html("The store cannot be read", str(error))
            self._revision = None  # the card goes when it can be read again, changed or not
            return
        again = self._revision is None
        self._revision = revision
        if again or _finished(runs) != _finished(self.model.runs):
            self.model.set_runs(runs)
            self._take_data()

    def _take_data(self, *_: Any) -> None:
        with hold(pn.state.curdoc, policy="collect"):
            self._runs.data = run_columns(self.model.data)
            self._scene.data = {"json": [scene_json(self.model)]}
            self._state.data = state_columns(self.model, dark=self._dark)
            self._update_address()
            self._show()

    def _moved(self, *_: Any) -> None:
        """Wait until the controls rest; only then write the code again."""
        document = pn.state.curdoc
        if document is None or document.session_context is None:
            self._rested()
            return
        if self._waiting is not None:
            document.remove_timeout_callback(self._waiting)
        self._waiting = document.add_timeout_callback(self._rested, _REST_MILLISECONDS)

    def _rested(self) -> None:
        self._waiting = None
        self._update_address()
        self.controls.refresh()
        self._show_code()

    def _update_address(self) -> None:
        for name in ("family", "constants"):
            self._address.param[name].objects = list(self.model.param[name].objects)
        self._address.param.update(**self.model.settings())

    def _address_changed(self, *events: Any) -> None:
        self.model.param.update(**{event.name: event.new for event in events})

    def _theme_changed(self, event: Any) -> None:
        self._dark = bool(event.new)

    # -- faces --------------------------------------------------------------------------------

    def __panel__(self) -> pn.viewable.Viewable:
        self._watch_store()
        mode: Mode = "dark" if self._dark else "light"
        controls = self.controls.panel()
        return in_cell(header=self.header, controls=controls, main=self.main, mode=mode)

    def page(self) -> pmui.Page:
        """Return the whole page: header, drawer of controls, cards."""
        self._watch_store()
        page = shell(
            navigation=navigation_html("What-if", linked=True),
            header=self.header,
            sidebar=self.controls.panel(),
            main=self.main,
            state=self._state,
            engine=self.canvas.engine,
        )
        page.param.watch(self._theme_changed, ["dark_theme"])
        self._dark = bool(page.dark_theme)
        if pn.state.location is not None:
            self._address.param.watch(self._address_changed, list(SETTINGS))
            pn.state.location.sync(self._address, _SYNCED)
        # The address may have changed the model: the page starts from what it is now.
        self._state.data = state_columns(self.model, dark=self._dark)
        self._show()
        return page

    def servable(self, *args: Any, **kwargs: Any) -> pn.viewable.Viewable:
        """Serve the whole page; parameters are Panel's."""
        return self.page().servable(*args, **kwargs)

    def _watch_store(self) -> None:
        if self._store is None or self._polling or not in_event_loop():
            return
        self._polling = True
        pn.state.add_periodic_callback(self.poll, period=int(1000 * self._refresh))


def _finished(runs: xr.Dataset) -> set[str]:
    done = runs["status"].to_numpy().astype(str) == "done"
    return set(runs["run_id"].to_numpy()[done].astype(str))
