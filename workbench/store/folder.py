"""Consolidated curves in a folder: a Zarr group per generation, put in place by one rename."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import xarray as xr

from workbench.store.generation import open_curves, write_curves
from workbench.store.tier import Aside, Generation

_ABANDONED_SECONDS = 24 * 3600


def generation_path(root: Path, number: int) -> Path:
    """Return where generation `number` lies."""
    return root / f"curves-{number}.zarr"


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
        path = self._root / f"curves-{uuid.uuid4().hex}.partial"
        write_curves(path, runs)
        sync_tree(path)
        return Aside(number, str(path))

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
        path = generation_path(self._root, generation).absolute()
        return open_curves(path, place=str(path)).assign_attrs(folder=str(path))

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


def sync_tree(path: Path) -> None:
    """Make a folder and everything in it durable."""
    for folder, _, files in os.walk(path):
        for name in files:
            sync_path(Path(folder) / name)
        sync_path(Path(folder))


def sync_path(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_to(root: Path, number: int) -> None:
    """Replace ``CURRENT`` in one step by the name of generation `number`."""
    fresh = root / f"CURRENT.{uuid.uuid4().hex}.partial"
    fresh.write_text(f"{generation_path(root, number).name}\n", encoding="utf-8")
    sync_path(fresh)
    fresh.replace(root / "CURRENT")
    sync_path(root)


def remove_generations(root: Path, *, before: int) -> None:
    """Remove the generations older than `before`; what cannot be removed stays for next time."""
    for path in root.glob("curves-*.zarr"):
        number = path.stem.removeprefix("curves-")
        if number.isdecimal() and int(number) < before:
            # Gone at once for a reader, who would take chunks that are missing for fill values.
            leaving = root / f"curves-{uuid.uuid4().hex}.partial"
            with suppress(OSError):
                path.rename(leaving)
            shutil.rmtree(leaving, ignore_errors=True)
