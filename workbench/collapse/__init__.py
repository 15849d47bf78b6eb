"""See the module names."""

from __future__ import annotations
