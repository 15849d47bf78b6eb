"""The page around what a view shows: header, drawer of controls, cards, light and dark."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, CustomJS
from panel.util import edit_readonly

from workbench.views.theme import THEME_CONFIG, css_variables

_THEME_LINK = """
const page = source.data && source.data.dark_theme !== undefined ? source.data : source;
target.data.dark = [page.dark_theme];
engine.execute(target);
"""
_PAGE_SX: dict[str, Any] = {
    "&.mui-light": css_variables("light"),
    "&.mui-dark": css_variables("dark"),
    "& .header": {
        "background": "var(--wb-card)",
        "color": "var(--wb-ink)",
        "boxShadow": "none",
        "borderBottom": "1px solid var(--wb-line)",
    },
    "& .header *": {"color": "inherit"},
    "& .header .title": {"fontSize": "18px", "fontWeight": 700, "color": "var(--wb-ink)"},
    "& .MuiDrawer-paper": {"background": "var(--wb-card)"},
    "& .main-content, & main": {"background": "var(--wb-bg)"},
    "background": "var(--wb-bg)",
}


def shell(
    *,
    header: pn.viewable.Viewable,
    sidebar: pn.viewable.Viewable,
    main: pn.viewable.Viewable,
    state: ColumnDataSource,
    engine: CustomJS,
) -> pmui.Page:
    """Return a whole page.

    Parameters
    ----------
    header, sidebar, main : Viewable
        Its parts.
    state : ColumnDataSource
        Its column ``dark`` follows the theme of the page.
    engine : CustomJS
        Runs in the browser when the theme changes.
    """
    page = pmui.Page(
        title="Collapse",
        busy_indicator=None,
        sidebar_width=300,
        sidebar_resizable=False,
        theme_config=THEME_CONFIG,
        sidebar=[sidebar],
        header=[header],
        main=[main],
        sx=_PAGE_SX,
    )
    # The busy flag travels with every message, several times the size of a slider move.
    with edit_readonly(page):
        page.busy = False
    page.jslink(state, code={"dark_theme": _THEME_LINK}, args={"engine": engine})
    return page
