"""The page around what a view shows: header, drawer of controls, cards, light and dark."""

from __future__ import annotations

from importlib import resources
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, CustomJS, Range1d
from bokeh.plotting import figure
from panel.util import edit_readonly

from workbench.views.controls import html, wrapping_row
from workbench.views.pages import NAVIGATION_CSS
from workbench.views.theme import (
    CARD_CSS,
    GROUP_CSS,
    THEME_CONFIG,
    Mode,
    css_variables,
)

_WIDE: dict[str, Any] = {"sizing_mode": "stretch_width"}
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
        main=[main, _entrance()],
        sx=_PAGE_SX,
    )
    # The busy flag travels with every message, several times the size of a slider move.
    with edit_readonly(page):
        page.busy = False
    if state is not None:
        page.jslink(state, code={"dark_theme": _THEME_LINK}, args={"engine": engine})
    return page


def in_cell(
    *,
    header: pn.viewable.Viewable,
    controls: pn.viewable.Viewable,
    main: pn.viewable.Viewable,
    mode: Mode,
) -> pmui.Column:
    """Return the same parts as one object for a notebook cell: controls beside what they change."""
    aside = pn.Column(controls, width=300, margin=0, styles={"flex": "0 0 300px"})
    body = wrapping_row(
        aside,
        pn.Column(main, styles={"flex": "1 1 420px"}, min_width=320, margin=0, **_WIDE),
        styles={"align-items": "flex-start"},
    )
    frame = {**css_variables(mode), "background": "var(--wb-bg)"}
    return pmui.Column(header, body, styles=frame, margin=0, theme_config=THEME_CONFIG, **_WIDE)


def card(*items: Any) -> pn.Column:
    """Return items on a card."""
    return pn.Column(*items, stylesheets=[CARD_CSS], margin=(0, 0, 12, 0), **_WIDE)


def group(title: str, *items: Any) -> pn.Column:
    """Return controls under a title, with a line below them."""
    heading = html(f'<div class="group">{title}</div>', margin=(0, 10, 4, 10))
    return pn.Column(heading, *items, stylesheets=[GROUP_CSS], margin=0, **_WIDE)


def _entrance() -> pn.pane.Bokeh:
    """Return a figure nobody sees: its first layout is when the page is there."""
    anchor = figure(
        height=1,
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        sizing_mode="stretch_width",
        toolbar_location=None,
        outline_line_color=None,
        min_border=0,
        background_fill_alpha=0,
        border_fill_alpha=0,
        name="entrance",
    )
    anchor.axis.visible = anchor.grid.visible = False
    anchor.scatter([], [])
    code = (resources.files("workbench.views") / "js" / "enter.js").read_text("utf-8")
    script = CustomJS(code=code, args={"anchor": anchor}, module=True)
    anchor.js_on_change("inner_width", script)
    return pn.pane.Bokeh(anchor, margin=0, height=1, styles={"opacity": "0"}, **_WIDE)
