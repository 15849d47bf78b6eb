"""The Data page: every run in a table, logs in, files out, and whether the store is sound.

One object: a page (``.servable()``), a notebook cell (the last expression) or a part of a layout.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from workbench.errors import WorkbenchError
from workbench.io import FORMATS, MappingReport
from workbench.io.report_text import report_lines
from workbench.store import Store, open_store
from workbench.text import plural
from workbench.views import cards
from workbench.views.controls import html
from workbench.views.data_model import EXPORTS, MAX_UPLOAD, DataModel, as_shown, summary
from workbench.views.format import escape
from workbench.views.live_html import LiveHtml
from workbench.views.pages import navigation_html
from workbench.views.planner_words import PLANNER_CSS
from workbench.views.shell import card, group, in_cell, shell
from workbench.views.theme import (
    TABLE_CSS,
    Mode,
)

_WIDE = {"sizing_mode": "stretch_width"}
_PAGE_SIZE = 15
_FIELD: dict[str, Any] = {"size": "small", "description": "", **_WIDE}


class DataPage(pn.viewable.Viewer):
    """What a store holds, what goes in and what comes out.

    Parameters
    ----------
    store : Store or path
        The store.
    writable : bool
        Whether imports are taken.
    paths : bool
        Whether files of the serving machine may be named, besides being sent.
    standalone : bool
        Whether the object has a page of its own, beside the other pages.

    Raises
    ------
    ArgumentError, DataError
        As `open_store`.
    """

    def __init__(
        self,
        store: Store | str | Path,
        *,
        writable: bool = True,
        paths: bool = True,
        standalone: bool = False,
    ) -> None:
        super().__init__()
        opened = store if isinstance(store, Store) else open_store(store)
        self._standalone = standalone
        self._mode: Mode = "dark" if str(pn.config.theme) == "dark" else "light"
        self.model = DataModel(opened, writable=writable, paths=paths)
        self._build_controls()
        self._build_cards()
        self.model.param.watch(self._show_table, ["where"])
        self.refresh()

    def _build_controls(self) -> None:
        p, model = self.model.param, self.model
        self.files = pmui.FileInput(
            label="Send logs", multiple=True, size="small", max_file_size=MAX_UPLOAD, **_WIDE
        )
        self.path = pmui.TextInput(label="Or a path on the serving machine", **_FIELD)
        self.path_button = pmui.Button(label="Import the path", size="small", variant="outlined")
        self.export_kind = pmui.Select(label="Format", options=list(EXPORTS), **_FIELD)
        self.download = pmui.FileDownload(
            callback=self._exported, filename="curves.nc", label="Export these runs", size="small",
            **_WIDE,
        )  # fmt: skip
        # Given to the constructor, it is taken for a second, deprecated name of itself.
        self.download.variant = "outlined"
        self.check_button = pmui.Button(label="Check the store", size="small", variant="outlined")
        self.files.param.watch(self._files_sent, "value")
        self.path_button.on_click(lambda _: self._path_given())
        self.export_kind.param.watch(self._name_export, "value")
        self.check_button.on_click(lambda _: self._check())
        taken = [
            pmui.Select.from_param(
                p.format, label="Log format", options=["auto", *FORMATS], **_FIELD
            ),
            pmui.TextInput.from_param(
                p.family, label="Family", placeholder="as the logs say", **_FIELD
            ),
            pmui.TextInput.from_param(
                p.settings, label="Coordinates, NAME=VALUE; …", placeholder="tpp=20; seed=1",
                **_FIELD,
            ),
            self.files,
        ]  # fmt: skip
        if model.paths:
            taken += [self.path, self.path_button]
        off = html('<p class="small">Off: others can reach this page without a login.</p>')
        self.controls = pn.Column(
            group("Import", *(taken if model.writable else [off])),
            group("Export", self.export_kind, self.download),
            group("Health", self.check_button),
            margin=0,
            **_WIDE,
        )

    def _build_cards(self) -> None:
        self.header = pn.pane.HTML("", stylesheets=[cards.HEADER_CSS], margin=0, **_WIDE)
        self.report, self.health, self.count = (
            LiveHtml(margin=0, stylesheets=[PLANNER_CSS], **_WIDE) for _ in range(3)
        )
        self._report_card = card(self.report)
        self._report_card.visible = False
        self.where = pmui.TextInput.from_param(
            self.model.param.where,
            label="Filter, NAME OP VALUE; …",
            placeholder="tpp>=18; schedule=linear,cosine",
            **_FIELD,
        )
        self.table = pn.widgets.Tabulator(
            None,
            show_index=False,
            disabled=True,
            pagination="remote",
            page_size=_PAGE_SIZE,
            layout="fit_data_stretch",
            theme="simple",
            margin=(8, 0, 0, 0),
            stylesheets=[TABLE_CSS],
            sizing_mode="stretch_width",
        )
        self.main = pn.Column(
            self._report_card,
            card(self.health),
            card(self.count, self.where, self.table),
            margin=16,
            **_WIDE,
        )

    # -- showing ------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the store again and show what it holds."""
        navigation = navigation_html("Data", linked=self._standalone)
        self.header.object = cards.header_html(navigation, self.model.store.name, "")
        try:
            rows = summary(self.model.health())
        except WorkbenchError as error:
            self.health.html = cards.error_html("The store cannot be read", str(error))
            return
        self._show_health(rows)
        self._show_table()

    def _show_health(self, rows: list[tuple[str, str]]) -> None:
        body = "".join(f"<tr><th>{n}</th><td>{escape(text)}</td></tr>" for n, text in rows)
        self.health.html = f'<div class="group">The store</div><table>{body}</table>'

    def _show_table(self, *_: Any) -> None:
        try:
            table = self.model.table()
        except WorkbenchError as error:
            self.count.html = (
                '<div class="group">Runs</div>'
                f'<p role="alert"><span class="tag no">Filter</span> {escape(str(error))}</p>'
            )
            self.download.disabled = True
            return
        self.count.html = f'<div class="group">{plural(len(table), "run")}</div>'
        self.table.value = as_shown(table)
        self.table.visible = len(table) > 0
        self.download.disabled = not len(table)

    def _told(self, html_text: str) -> None:
        self.report.html = html_text
        self._report_card.visible = True

    # -- reactions ----------------------------------------------------------------------------

    def _files_sent(self, event: Any) -> None:
        if not event.new:
            return
        names = self.files.filename
        contents = event.new if isinstance(event.new, list) else [event.new]
        named = names if isinstance(names, list) else [names]
        files = dict(zip(map(str, named), contents, strict=True))
        self._import(lambda: self.model.import_files(files))

    def _path_given(self) -> None:
        self._import(lambda: self.model.import_path(self.path.value))

    def _import(self, work: Any) -> None:
        self._told('<p class="muted" role="status">Reading …</p>')
        try:
            report: MappingReport = work()
        except WorkbenchError as error:
            self._told(cards.error_html("Nothing was imported", str(error)))
            return
        self._told(_report_html(report))
        self.refresh()

    def _name_export(self, event: Any) -> None:
        self.download.filename = f"curves{EXPORTS[event.new]}"

    def _exported(self) -> BytesIO:
        try:
            return self.model.export(self.export_kind.value)
        except WorkbenchError as error:
            self._told(cards.error_html("Nothing was exported", str(error)))
            raise

    def _check(self) -> None:
        try:
            problems = self.model.check()
        except WorkbenchError as error:
            self._told(cards.error_html("The store cannot be checked", str(error)))
            return
        items = "".join(f"<li>{escape(text)}</li>" for text in problems)
        found = f"<ul>{items}</ul><p>Repair: workbench check --repair</p>"
        self._told(
            '<div class="state" role="status"><span class="tag ok">Sound</span>'
            "<h2>No problem found</h2><p>Hashes, counts and steps of every run are as recorded."
            "</p></div>"
            if not problems
            else '<div class="state" role="alert"><span class="tag no">Problems</span>'
            f"<h2>{plural(len(problems), 'problem')}</h2>{found}</div>"
        )

    # -- faces --------------------------------------------------------------------------------

    def __panel__(self) -> pn.viewable.Viewable:
        return in_cell(header=self.header, controls=self.controls, main=self.main, mode=self._mode)

    def page(self) -> pmui.Page:
        """Return the whole page: header, drawer of controls, cards."""
        page = shell(
            navigation=navigation_html("Data", linked=True),
            header=self.header,
            sidebar=self.controls,
            main=self.main,
        )
        if pn.state.location is not None:
            pn.state.location.sync(self.model, {"where": "where"})
        return page

    def servable(self, *args: Any, **kwargs: Any) -> pn.viewable.Viewable:
        """Serve the whole page; parameters are Panel's."""
        return self.page().servable(*args, **kwargs)


def _report_html(report: MappingReport) -> str:
    records = sum(int(row["records"]) for row in report.imported)
    items = "".join(f"<li>{escape(line)}</li>" for line in report_lines(report))
    return (
        '<div class="state" role="status"><span class="tag ok">Imported</span>'
        f"<h2>{plural(len(report.imported), 'run')}, {plural(records, 'record')}</h2>"
        f"<ul>{items}</ul></div>"
    )
