"""Text that changes while the page is open, the same on a page and in a notebook.

An HTML pane brings its style sheets along with every change, in a notebook from another host; this
component sends nothing but the text.
"""

from __future__ import annotations

from typing import ClassVar

import param
from panel.custom import JSComponent

from workbench.views.cards import STATE_CSS
from workbench.views.figures import script
from workbench.views.format import escape
from workbench.views.theme import TEXT_CSS


class LiveHtml(JSComponent):
    """A piece of HTML in the page's type.

    Parameters
    ----------
    html : str
        What is shown; names and values in it are escaped by whoever writes it.
    """

    html = param.String(default="")

    _esm = script(("live_html.js",))
    _stylesheets: ClassVar[list[str]] = [TEXT_CSS, STATE_CSS, ":host{display:block}"]


def code_html(title: str, code: str) -> str:
    """Return a block of code under a title, with a button that copies it."""
    return (
        f'<div class="row"><span class="group">{title}</span></div>'
        f'<pre tabindex="0" aria-label="{title}">{escape(code)}</pre>'
        '<button class="copy" type="button">Copy as Python</button>'
    )
