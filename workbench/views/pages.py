"""The pages of the dashboard and the links between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PageLink:
    """A page: what it is called and where it lies beside the others."""

    title: str
    path: str


NAVIGATION_CSS = """
nav{display:flex;gap:18px;align-items:center}
nav b{color:var(--wb-ink);font-weight:600;border-bottom:2px solid var(--wb-accent);padding:4px 0}
nav a{color:var(--wb-muted);text-decoration:none;padding:4px 0;
  border-bottom:2px solid transparent}
nav a:hover,nav a:focus-visible{color:var(--wb-ink);border-bottom-color:var(--wb-line)}
"""
PAGES = (
    PageLink("Explorer", ""),
    PageLink("What-if", "whatif"),
    PageLink("Planner", "plan"),
    PageLink("Data", "data"),
)


def navigation_html(current: str, *, linked: bool) -> str:
    """Return the links to all pages with the current one marked.

    Parameters
    ----------
    current : str
        Title of the page that is open.
    linked : bool
        Whether the other pages are served beside it; in a notebook they are not.
    """
    parts = []
    for page in PAGES:
        if page.title == current:
            parts.append(f'<b aria-current="page">{page.title}</b>')
        elif linked:
            parts.append(f'<a href="./{page.path}">{page.title}</a>')
    return f'<nav aria-label="Pages">{"".join(parts)}</nav>'
