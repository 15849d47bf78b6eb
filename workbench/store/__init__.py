"""Where curves live: a registry with live points, consolidated curves, a recorder, exports."""

from __future__ import annotations

from workbench.store.address import Address
from workbench.store.consolidate import AddResult
from workbench.store.recorder import Recorder
from workbench.store.store import Store, open_store
from workbench.store.writer import EndStatus, RunWriter

__all__ = ["AddResult", "Address", "EndStatus", "Recorder", "RunWriter", "Store", "open_store"]
