"""One module per log format of other tools; each offers a ``FORMAT``."""

from __future__ import annotations
