"""The pages of the dashboard, each a fresh object per visitor."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import panel as pn
import panel_material_ui as pmui

from workbench.errors import WorkbenchError
from workbench.store import Address, Store, open_store
from workbench.views import cards
from workbench.views.data_page import DataPage
from workbench.views.explorer import Explorer
from workbench.views.pages import PAGES
from workbench.views.planner import Planner
from workbench.views.theme import CARD_CSS, TEXT_CSS, THEME_CONFIG
from workbench.views.what_if import WhatIf


@dataclass(frozen=True)
class Rights:
    """What visitors may do besides looking.

    Parameters
    ----------
    write : bool
        Import runs into the store.
    paths : bool
        Name files of the serving machine to import.
    """

    write: bool = True
    paths: bool = True


Opener = Callable[[Store, Rights], Explorer | WhatIf | Planner | DataPage]

_OPENERS: dict[str, Opener] = {
    "Explorer": lambda store, _: Explorer(store, standalone=True),
    "What-if": lambda store, _: WhatIf(store, standalone=True),
    "Planner": lambda store, _: Planner(store, standalone=True),
    "Data": lambda store, rights: DataPage(
        store, writable=rights.write, paths=rights.paths, standalone=True
    ),
}


def page_makers(
    store: str | os.PathLike[str] | Address, rights: Rights
) -> dict[str, Callable[[], pmui.Page]]:
    """Return what makes each page, by the path it is served at.

    Parameters
    ----------
    store : path, str or Address
        Folder or URL of the store.
    rights : Rights
        What visitors may do.
    """

    def maker(title: str) -> Callable[[], pmui.Page]:
        return lambda: open_page(title, store, rights)

    return {f"/{page.path}": maker(page.title) for page in PAGES}


def open_page(
    title: str, store: str | os.PathLike[str] | Address, rights: Rights | None = None
) -> pmui.Page:
    """Return a fresh page on a store; what cannot be opened is said on the page.

    Parameters
    ----------
    title : str
        Which page.
    store : path, str or Address
        Folder or URL of the store.
    rights : Rights, optional
        What visitors may do; everything by default.
    """
    pn.extension("tabulator")
    try:
        return _OPENERS[title](open_store(store), rights or Rights()).page()
    except WorkbenchError as error:
        card = pn.pane.HTML(
            cards.error_html("The store cannot be opened", str(error)),
            stylesheets=[TEXT_CSS, cards.STATE_CSS, CARD_CSS],
            sizing_mode="stretch_width",
            margin=16,
        )
        return pmui.Page(title="Collapse", theme_config=THEME_CONFIG, main=[card])
