"""Every figure and table of the two papers, by name."""

from __future__ import annotations

from workbench.errors import ArgumentError
from workbench.reports.papers.boxes_bergsma import BERGSMA
from workbench.reports.papers.boxes_qiu import QIU
from workbench.reports.papers.entry import Entry

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in (*BERGSMA, *QIU)}
"""Every box of both papers, in their order."""


def find_entry(name: str) -> Entry:
    """Return a box by name; `ArgumentError` lists those of its paper when there is none."""
    if name in ENTRIES:
        return ENTRIES[name]
    paper = name.split("-")[0]
    known = [key for key in ENTRIES if key.startswith(paper)] or list(ENTRIES)
    msg = f"No figure {name!r}. There are: {', '.join(known)}."
    raise ArgumentError(msg)
