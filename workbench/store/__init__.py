"""Where curves live: a registry with live points, consolidated curves, a recorder, exports."""

from __future__ import annotations

from workbench.store.address import Address, to_address
from workbench.store.consolidate import AddResult
from workbench.store.recorder import Recorder
from workbench.store.store import Store, open_store
from workbench.store.table import matching_rows
from workbench.store.writer import ENDS, EndStatus, RunWriter

__all__ = [
    "ENDS",
    "AddResult",
    "Address",
    "EndStatus",
    "Recorder",
    "RunWriter",
    "Store",
    "matching_rows",
    "open_store",
    "to_address",
]
