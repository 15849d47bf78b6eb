"""Where the runs of a page come from: a store's path, an opened store, or a dataset."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from workbench.errors import ArgumentError
from workbench.schema import conform, make_runs


class RunStore(Protocol):
    """What the Explorer needs of a store."""

    def runs(self) -> xr.Dataset:
        """Return all runs, consolidated and live, Dataset (run, obs)."""

    def revision(self) -> object:
        """Return something that differs whenever the runs differ."""

    def lost(self) -> frozenset[str]:
        """Return the runs that say they are running and are not heard of any more."""


def no_runs() -> xr.Dataset:
    """Return a dataset of runs that holds none."""
    names = ("model_size", "tau", "tpp", "seed", "tokens_total", "total_steps", "compute_total")
    coords: dict[str, list[Any]] = {name: [] for name in ("run_id", "family", "status", "schedule")}
    coords |= {name: [] for name in names}
    return make_runs(coords, {"step": [], "train_loss": []}, row_size=[])


def opened(
    source: str | Path | xr.Dataset | RunStore,
) -> tuple[RunStore | None, xr.Dataset, str]:
    """Return the store (None for a dataset), its runs and a name.

    Raises
    ------
    ArgumentError
        If `source` is none of these.
    DataError
        If the store cannot be read.
    """
    if isinstance(source, xr.Dataset):
        return None, conform(source) if source.sizes.get("run", 1) else source, "runs"
    if isinstance(source, str | Path):
        from workbench.store import open_store

        store = open_store(source)
        return store, store.runs(), store.name
    if hasattr(source, "runs") and hasattr(source, "revision"):
        return source, source.runs(), str(getattr(source, "name", "store"))
    msg = (
        f"Explorer shows a store or a dataset of runs, found {type(source).__name__}. "
        "Give a store's path, or runs from workbench.open(...)['runs'].to_dataset()."
    )
    raise ArgumentError(msg)


def in_event_loop() -> bool:
    """Return whether an event loop runs here, so that callbacks can be timed."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
