"""The Explorer: curves of a selection, the offset that makes them one, and the verdict in words.

One object: a page (``.servable()``), a notebook cell (the last expression) or a part of a layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import xarray as xr
from panel.io import hold

from workbench.curves import POINTS
from workbench.errors import DataError, WorkbenchError
from workbench.views import cards
from workbench.views.browser_feed import BrowserFeed
from workbench.views.controls import FILTER_NAMES, Controls, html, wrapping_row
from workbench.views.explorer_model import ExplorerModel
from workbench.views.figures import build_canvas
from workbench.views.normalisation_card import NormalisationCard
from workbench.views.pages import navigation_html
from workbench.views.shell import card, in_cell, shell
from workbench.views.source import RunStore, in_event_loop, opened
from workbench.views.table_card import build_table, show_run, table_frame
from workbench.views.theme import CARD_CSS, TEXT_CSS

_WIDE = {"sizing_mode": "stretch_width"}
_SYNCED = {
    "offset": "offset",
    "view": "view",
    "x": "x",
    "loss": "loss",
    "smoothing": "smoothing",
    "colour_by": "colour",
    "divide": "divide",
    "selection": "selection",
}
_REST_MILLISECONDS = 300
_BY_CONSTRUCTION = "Towards the end"


class Explorer(pn.viewable.Viewer):
    """Dashboard of a store or of a dataset of runs.

    Parameters
    ----------
    source : str, Path, Dataset (run, obs) or store
        A store's path, ragged runs, or an opened store.
    points : int
        Points of progress each curve is drawn and measured with.
    refresh : float
        Seconds between looks at a store's revision.
    name : str, optional
        What the header calls the data; by default the store's name.
    standalone : bool
        Whether the object has a page of its own, where one-letter keys are commands; in a
        notebook they belong to the notebook.

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
        points: int = POINTS,
        refresh: float = 1.0,
        name: str | None = None,
        standalone: bool = False,
    ) -> None:
        super().__init__()
        self._store, runs, self._title = opened(source)
        self._title = name or self._title
        self._refresh = refresh
        self._standalone = standalone
        self._dark = _dark()
        self._polling = False
        self._waiting: Any = None
        self._revision = None if self._store is None else self._store.revision()
        self.model = ExplorerModel(runs, points=points)
        self.model.lost = frozenset() if self._store is None else self._store.lost()
        self.controls = Controls(self.model)
        self._build_sources(standalone=standalone)
        self._build_cards()
        self._connect()
        self._show_everything()

    # -- building -----------------------------------------------------------------------------

    def _build_sources(self, *, standalone: bool) -> None:
        self._feed = BrowserFeed(self.model, self.controls)
        self.canvas = build_canvas(self._feed.sources(), standalone=standalone)
        self.controls.link(
            self.canvas.engine,
            state=self._feed.state,
            allowed=self._feed.allowed,
            settled=self._feed.settled,
            commands=self.canvas.sources["commands"],
        )

    def _build_cards(self) -> None:
        canvas = self.canvas
        self.header = pn.pane.HTML("", stylesheets=[cards.HEADER_CSS], margin=0, **_WIDE)
        self.message = pn.pane.HTML(
            "", stylesheets=[TEXT_CSS, cards.STATE_CSS], margin=0, visible=False, **_WIDE
        )
        self.undo = pmui.Button(label="Undo the last filter", size="small", variant="outlined")
        self.everything = pmui.Button(label="Show all runs", size="small", variant="outlined")
        self.nothing = html()
        self._nothing_row = pn.Column(
            self.nothing, pn.Row(self.undo, self.everything, margin=0), visible=False, margin=0
        )
        self.table = build_table()
        self.table_title = html(_TABLE_TITLE, margin=(0, 0, 8, 0))
        self.normalisations = NormalisationCard()
        twin = pn.Column(
            self.controls.offset_twin,
            stylesheets=[":host{display:none}@media(max-width:900px){:host{display:flex}}"],
            **_WIDE,
        )
        top = wrapping_row(
            self.controls.view,
            pn.pane.Bokeh(canvas.legend, margin=0),
            gap="8px 18px",
            styles={"align-items": "center"},
            margin=(0, 0, 2, 0),
        )
        plots = [
            pn.pane.Bokeh(m, margin=0, **_WIDE) for m in (canvas.figure, canvas.below, canvas.note)
        ]
        self._message_card = card(self.message)
        self._data_cards = [
            card(pn.pane.Bokeh(canvas.verdict, margin=0, **_WIDE), self._nothing_row),
            card(top, twin, *plots),
            self.normalisations.panel,
            card(self.table_title, self.table),
        ]
        self.normalisations.panel.stylesheets = [CARD_CSS]
        self.normalisations.panel.margin = (0, 0, 12, 0)
        self.main = pn.Column(self._message_card, *self._data_cards, margin=16, **_WIDE)

    def _connect(self) -> None:
        model = self.model
        model.param.watch(self._settle, ["settled"])
        model.param.watch(self._choose, ["chosen"])
        model.param.watch(self._moved, ["position"])
        self.table.on_click(self._row_clicked)
        self.canvas.sources["chosen"].on_change("data", self._tapped)
        self.undo.on_click(lambda _: model.undo_filter())
        self.everything.on_click(lambda _: model.show_all())

    # -- showing ------------------------------------------------------------------------------

    def _show_everything(self) -> None:
        """Bring header, states, numbers and table in line with the model."""
        model = self.model
        badge = cards.badge_html(
            model.counts(),
            live=self._store is not None,
            last_point=cards.last_point_time(model.all_runs),
        )
        navigation = navigation_html("Explorer", linked=self._standalone)
        self.header.object = cards.header_html(navigation, self._title, badge)
        self._show_state()
        self._show_numbers()

    def _show_state(self) -> None:
        model = self.model
        drawable = model.table.n_runs > 0
        if not drawable and model.table.left_out:
            self.message.object = cards.undrawable_html(model.table.left_out)
        elif not drawable:
            self.message.object = cards.empty_html(self._title)
        self._message_card.visible = self.message.visible = not drawable
        for each in self._data_cards:
            if each is not self.normalisations.panel:
                each.visible = drawable
        nothing = drawable and not model.kept.any()
        self._nothing_row.visible = nothing
        if nothing:
            named = FILTER_NAMES.get(model.last_filter, "")
            self.nothing.object = cards.nothing_html(named, model.table.n_runs)
            self.undo.visible = bool(named)

    def _show_numbers(self) -> None:
        """Compute what needs the library: caveat, residuals, the second normalisation."""
        model = self.model
        caveat, residuals = "", {}
        if model.table.n_runs:
            try:
                report = model.report()
                said = [c for c in report.verdict.caveats if not c.startswith(_BY_CONSTRUCTION)]
                caveat = said[0] if said else ""
                residuals = model.residuals(report)
            except DataError:
                # Fewer than two finished runs: the verdict card says so, there are no residuals.
                residuals = {}
            self.table.value = table_frame(model.table, model.kept, residuals, model.lost)
            show_run(self.table, model.chosen[0] if model.chosen else None)
        self.normalisations.show(model.normalisations(), dark=self._dark)
        self._feed.send_settled(caveat)

    # -- reactions ----------------------------------------------------------------------------

    def _settle(self, *_: Any) -> None:
        """Send what changed as one message, so that the script never sees half of it."""
        with hold(pn.state.curdoc, policy="collect"):
            self._feed.send_table()
            self.controls.refresh()
            self._feed.send_allowed()
            self._show_everything()

    def _moved(self, *_: Any) -> None:
        """Wait until the slider rests; only then ask the library for what it alone knows."""
        document = pn.state.curdoc
        if document is None or document.session_context is None:
            self._rested()
            return
        if self._waiting is not None:
            document.remove_timeout_callback(self._waiting)
        self._waiting = document.add_timeout_callback(self._rested, _REST_MILLISECONDS)

    def _rested(self) -> None:
        self._waiting = None
        self.model.rest()
        with hold(pn.state.curdoc, policy="collect"):
            self._show_numbers()

    def _tapped(self, _attr: str, _old: Any, new: dict[str, list[str]]) -> None:
        self.model.chosen = [str(name) for name in new["run_id"]]

    def _choose(self, *_: Any) -> None:
        chosen = list(self.model.chosen)
        source = self.canvas.sources["chosen"]
        if list(source.data["run_id"]) != chosen:
            source.data = {"run_id": chosen}
        show_run(self.table, chosen[0] if chosen else None)

    def _row_clicked(self, event: Any) -> None:
        """Highlight the run of the clicked row, or clear it when it was highlighted."""
        name = str(self.table.value["Run"].iloc[event.row])
        self.model.chosen = [] if [name] == self.model.chosen else [name]

    def _theme_changed(self, event: Any) -> None:
        self._dark = bool(event.new)
        self.normalisations.show(self.model.normalisations(), dark=self._dark)

    def poll(self) -> None:
        """Look at the store once and take over what is new."""
        if self._store is None:
            return
        try:
            revision, lost = self._store.revision(), self._store.lost()
            if revision == self._revision and lost == self.model.lost:
                return
            runs = self._store.runs()
        except WorkbenchError as error:
            self._message_card.visible = self.message.visible = True
            self.message.object = cards.error_html("The store cannot be read", str(error))
            self._revision = None  # the card goes when it can be read again, changed or not
            return
        self._revision = revision
        self.model.lost = lost
        self.model.set_runs(runs)

    # -- faces --------------------------------------------------------------------------------

    def __panel__(self) -> pn.viewable.Viewable:
        self._watch_store()
        self.controls.place_twin()
        return in_cell(
            header=self.header,
            controls=self.controls.panel(),
            main=self.main,
            mode="dark" if self._dark else "light",
        )

    def page(self) -> pmui.Page:
        """Return the whole page: header, drawer of controls, cards."""
        self._watch_store()
        page = shell(
            navigation=navigation_html("Explorer", linked=True),
            header=self.header,
            sidebar=self.controls.panel(),
            main=self.main,
            state=self._feed.state,
            engine=self.canvas.engine,
        )
        page.param.watch(self._theme_changed, ["dark_theme"])
        self._dark = bool(page.dark_theme)
        if pn.state.location is not None:
            pn.state.location.sync(self.model, _SYNCED)
        # The address may have changed the model: the page starts from what it is now.
        self._feed.send_state(dark=self._dark)
        self.controls.place_twin()
        return page

    def servable(self, *args: Any, **kwargs: Any) -> pn.viewable.Viewable:
        """Serve the whole page; parameters are Panel's."""
        return self.page().servable(*args, **kwargs)

    def _watch_store(self) -> None:
        if self._store is None or self._polling or not in_event_loop():
            return
        self._polling = True
        pn.state.add_periodic_callback(self.poll, period=int(1000 * self._refresh))


_TABLE_TITLE = (
    '<div class="row"><b>Runs, worst residual first</b><span class="small">loss in nats/token; '
    "residual: largest distance to the mean curve beyond 20 % of training</span></div>"
)


def _dark() -> bool:
    return str(pn.config.theme) == "dark"
