"""Consolidated curves in a folder: a Zarr group per generation, put in place by one rename."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from workbench.store.generation import (
    generation_path,
    open_generation,
    point_to,
    remove_generations,
    sync_path,
    write_generation,
)
from workbench.store.tier import Aside, Generation

_ABANDONED_SECONDS = 24 * 3600


class FolderTier:
    """Generations in a folder that every reader and writer reaches; see ``CurveTier``.

    ``CURRENT`` names the newest generation for tools that read Zarr and not the registry. The last
    two generations are kept: the older one for readers in the middle of it.

    Parameters
    ----------
    root : Path
        The folder.
    """

    loud = False  # Zarr reads a chunk that is gone as fill values

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._root)

    def write(self, runs: xr.Dataset, number: int) -> Aside:
        """Write runs beside the generations, synced to disk."""
        return Aside(number, str(write_generation(self._root, runs)))

    def publish(self, aside: Aside) -> None:
        """Rename what was written to the name of its generation."""
        target = generation_path(self._root, aside.number)
        if target.exists():  # left by a process that was killed before it committed
            shutil.rmtree(target)
        Path(aside.name).rename(target)
        sync_path(self._root)

    def discard(self, aside: Aside) -> None:
        """Remove what was written and not renamed."""
        shutil.rmtree(aside.name, ignore_errors=True)

    def announce(self, aside: Aside) -> None:
        """Let ``CURRENT`` name the generation."""
        point_to(self._root, aside.number)

    def open(self, generation: int, snapshot: str | None = None) -> xr.Dataset:
        """Open a generation (run, obs): run coordinates in memory, records on disk."""
        return open_generation(self._root, generation)

    def kept(self, generations: Sequence[Generation]) -> tuple[Generation, ...]:
        """Return the last two generations."""
        return tuple(generations[-2:])

    def tidy(self, kept: Sequence[Generation]) -> None:
        """Remove older generations, and what killed processes wrote more than a day ago."""
        remove_generations(self._root, before=kept[-1].generation - 1)
        for path in self._root.glob("*.partial"):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    def problems(self, generations: Sequence[Generation]) -> tuple[str, ...]:
        """Return which of the generations are not in the folder."""
        gone = [g for g, *_ in generations if not generation_path(self._root, g).is_dir()]
        return tuple(f"generation {g} is not in {self.place}." for g in gone)
