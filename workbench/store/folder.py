"""Consolidated curves in a folder: a Zarr group per generation, put in place by one rename."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import xarray as xr

from workbench.errors import DataError
from workbench.store.generation import open_curves, write_curves
from workbench.store.tier import Aside, Found, Generation, Mended

ABANDONED_SECONDS = 24 * 3600
"""What a process wrote aside and did not touch for so long will not be published any more."""

UNDERWAY_SECONDS = 60.0
"""A younger generation may be one that is being published at this moment."""

MARK = "STORE"
"""File in a shared folder that names the store whose curves it holds."""

_GENERATION = re.compile(r"curves-(\d+)\.zarr")


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
    owner : str, optional
        What `MARK` in it says where the registry lies elsewhere. On a machine that does not reach
        the shared folder a generation would otherwise be written where no other machine finds it.
    """

    loud = False  # Zarr reads a chunk that is gone as fill values

    def __init__(self, root: Path, *, owner: str | None = None) -> None:
        self._root = root
        self._owner = owner

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._root)

    def write(self, runs: xr.Dataset, number: int) -> Aside:
        """Write runs beside the generations, synced to disk."""
        self.require_own()
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

    def open(
        self, generation: int, snapshot: str | None = None, *, damaged: bool = False
    ) -> xr.Dataset:
        """Open a generation (run, obs): run coordinates in memory, records on disk."""
        path = generation_path(self._root, generation).absolute()
        if not path.is_dir():
            self.require_own()
        runs = open_curves(path, place=str(path), damaged=damaged)
        return runs.assign_attrs(folder=str(path))

    def kept(self, generations: Sequence[Generation]) -> tuple[Generation, ...]:
        """Return the last two generations."""
        return tuple(generations[-2:])

    def tidy(self, kept: Sequence[Generation]) -> None:
        """Remove older generations, and what killed processes wrote more than a day ago."""
        remove_generations(self._root, before=kept[-1].generation - 1)
        for path in self._root.glob("*.partial"):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    def problems(self, generations: Sequence[Generation]) -> tuple[str, ...]:
        """Return generations that are gone, a ``CURRENT`` that is not right, and leftovers."""
        newest = _newest(generations)
        problems = [f"generation {g} is not in {self.place}." for g in self._gone(generations)]
        named = current(self._root)
        if named > newest:
            problems.append(
                f"CURRENT names generation {named}, the registry {newest}: the registry is older "
                "than the curves. Put the newer copy of it back before anything is written."
            )
        elif named < newest and not underway(generation_path(self._root, newest)):
            problems.append(f"CURRENT does not name generation {newest}, which is the newest.")
        left = leftovers(self._root, newest)
        return (*problems, *(f"{path.name} is a leftover." for path in left))

    def found(self, generations: Sequence[Generation]) -> tuple[Found, ...]:
        """Return the generations whose folders are there, newest first."""
        return tuple(Found(number) for number in generations_in(self._root))

    def set_aside(self, generation: int) -> str | None:
        """Give a damaged generation another name: more may be got out of it by hand."""
        damaged = generation_path(self._root, generation)
        if not damaged.exists():
            return None
        damaged.rename(self._root / f"damaged-{damaged.name}")
        return f"The damaged generation is kept as damaged-{damaged.name}."

    def _gone(self, generations: Sequence[Generation]) -> list[int]:
        return [g for g, *_ in generations[:-1] if not generation_path(self._root, g).is_dir()]

    def mend(self, generations: Sequence[Generation], *, sound: bool) -> Mended:
        """Let ``CURRENT`` name the newest generation, and remove leftovers."""
        self.require_own()
        newest, named, done = _newest(generations), current(self._root), []
        if named > newest:  # the registry is an old copy; the files are what is newest
            return Mended((), ())
        if named < newest and not underway(generation_path(self._root, newest)):
            point_to(self._root, newest)
            done.append(f"CURRENT names generation {newest}.")
        for path in leftovers(self._root, newest):
            if path.suffix == ".zarr" and not sound:
                continue  # it may hold what is missing elsewhere
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            done.append(f"The leftover {path.name} is removed.")
        return Mended(tuple(done), tuple(self._gone(generations)))

    def require_own(self) -> None:
        """Raise `DataError` unless this is the folder that its registry took for its curves."""
        if self._owner is None:
            return
        try:
            found = (self._root / MARK).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            found = ""
        if found != self._owner:
            what = "belongs to another store" if found else "is not the folder it was made as"
            msg = (
                f"The curves of this store lie in {self._root}, which on this machine {what}. "
                "Mount it there, or run this on a machine that has it."
            )
            raise DataError(msg)


def _newest(generations: Sequence[Generation]) -> int:
    return generations[-1].generation if generations else 0


def current(root: Path) -> int:
    """Return the generation that ``CURRENT`` names; 0 when it names none."""
    try:
        text = (root / "CURRENT").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return 0
    found = _GENERATION.fullmatch(text)
    return int(found[1]) if found else 0


def generations_in(root: Path) -> list[int]:
    """Return the numbers of the generations whose folders are there, newest first."""
    found = (_GENERATION.fullmatch(path.name) for path in root.glob("curves-*.zarr"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def leftovers(root: Path, generation: int) -> list[Path]:
    """Return what killed processes left: partial files, and generations never or no longer used."""
    partial = [p for p in sorted(root.glob("*.partial*")) if _age(p) > ABANDONED_SECONDS]
    others = [n for n in generations_in(root) if not generation - 1 <= n <= generation]
    unused = (generation_path(root, n) for n in others)
    return [*partial, *(path for path in unused if not underway(path))]


def underway(path: Path) -> bool:
    """Tell whether a generation is so young that it may be being published, or is gone again."""
    return _age(path, "st_ctime") < UNDERWAY_SECONDS


def _age(path: Path, stamp: str = "st_mtime") -> float:
    try:
        return time.time() - float(getattr(path.stat(), stamp))
    except FileNotFoundError:  # removed by another process in this moment
        return 0.0


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
