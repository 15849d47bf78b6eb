"""Make dashboards work as notebook cells, without a network."""

from __future__ import annotations

import panel as pn


def notebook() -> None:
    """Load what the dashboards need into this notebook; call it in the first cell.

    All scripts and styles are put into the notebook itself, so that nothing is fetched from
    another host. Importing the package never does this by itself: it would leave cells blank.
    """
    pn.extension("tabulator", inline=True)
