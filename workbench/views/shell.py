"""The page around what a view shows: header, drawer of controls, cards, light and dark."""

from __future__ import annotations

from importlib import resources
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.plotting import figure
from panel.util import edit_readonly

from workbench.views.pages import NAVIGATION_CSS
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
    # Drawn by the template even when unused, and it has no name for screen readers.
    "& .MuiLinearProgress-root": {"display": "none"},
    "& .MuiDrawer-paper": {"background": "var(--wb-card)"},
    "& .main-content, & main": {"background": "var(--wb-bg)"},
    "background": "var(--wb-bg)",
}


# The header has room for the links from 1000 px on; below they stand in the drawer.
_DRAWER_CSS = (
    f":host{{padding:14px 18px 0}}{NAVIGATION_CSS}@media(min-width:1001px){{nav{{display:none}}}}"
)


def shell(
    *,
    navigation: str,
    header: pn.viewable.Viewable,
    sidebar: pn.viewable.Viewable,
    main: pn.viewable.Viewable,
    anchor: figure,
    state: ColumnDataSource | None = None,
    engine: CustomJS | None = None,
) -> pmui.Page:
    """Return a whole page.

    Parameters
    ----------
    navigation : str
        HTML of the links to the other pages, from `navigation_html`.
    header, sidebar, main : Viewable
        Its parts.
    anchor : figure
        A figure of `main`: its first layout is when the page is there.
    state : ColumnDataSource, optional
        Its column ``dark`` follows the theme of the page.
    engine : CustomJS, optional
        Runs in the browser when the theme changes.
    """
    page = pmui.Page(
        title="Collapse",
        busy_indicator=None,
        sidebar_width=300,
        sidebar_resizable=False,
        theme_config=THEME_CONFIG,
        sidebar=[pn.pane.HTML(navigation, stylesheets=[_DRAWER_CSS], margin=0), sidebar],
        header=[header],
        main=[main],
        sx=_PAGE_SX,
    )
    # The busy flag travels with every message, several times the size of a slider move.
    with edit_readonly(page):
        page.busy = False
    entering = (resources.files("workbench.views") / "js" / "enter.js").read_text("utf-8")
    anchor.js_on_change(
        "inner_width", CustomJS(code=entering, args={"anchor": anchor}, module=True)
    )
    if state is not None:
        page.jslink(state, code={"dark_theme": _THEME_LINK}, args={"engine": engine})
    return page
