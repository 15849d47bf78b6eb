"""Loss-curve collapse, from logs to a verdict."""

from __future__ import annotations

__version__ = "0.1.0"
