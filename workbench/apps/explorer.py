"""The page of the Explorer, one object per visitor."""

from __future__ import annotations

import os

import panel as pn
import panel_material_ui as pmui

from workbench.errors import WorkbenchError
from workbench.store import Address, open_store
from workbench.views import cards
from workbench.views.explorer import Explorer
from workbench.views.theme import CARD_CSS, TEXT_CSS, THEME_CONFIG


def explorer_page(store: str | os.PathLike[str] | Address) -> pmui.Page:
    """Return a fresh page on a store; what cannot be opened is said on the page.

    Parameters
    ----------
    store : path, str or Address
        Folder or URL of the store.
    """
    pn.extension("tabulator")
    try:
        return Explorer(open_store(store), standalone=True).page()
    except WorkbenchError as error:
        card = pn.pane.HTML(
            cards.error_html("The store cannot be opened", str(error)),
            stylesheets=[TEXT_CSS, cards.STATE_CSS, CARD_CSS],
            sizing_mode="stretch_width",
            margin=16,
        )
        return pmui.Page(title="Collapse", theme_config=THEME_CONFIG, main=[card])
