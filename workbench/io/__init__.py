"""Where curves come from: one reader per log format, and a report of what was mapped."""

from __future__ import annotations

from workbench.io.formats import FORMATS
from workbench.io.reading import import_sources, read
from workbench.io.result import Format, MappingReport, ReadResult

__all__ = ["FORMATS", "Format", "MappingReport", "ReadResult", "import_sources", "read"]
