"""Where curves come from: one reader per log format, and a report of what was mapped."""

from __future__ import annotations

from workbench.io.follow import FollowEvent, FollowResult, follow_sources
from workbench.io.formats import FORMATS
from workbench.io.mapping import ColumnMapping, load_mapping
from workbench.io.reading import import_sources, read
from workbench.io.result import Format, MappingReport, ReadResult

__all__ = [
    "FORMATS",
    "ColumnMapping",
    "FollowEvent",
    "FollowResult",
    "Format",
    "MappingReport",
    "ReadResult",
    "follow_sources",
    "import_sources",
    "load_mapping",
    "read",
]
