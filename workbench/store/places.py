"""Open a store where its address says: its registry, and the place that has recorded its curves."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

from workbench.errors import ArgumentError, WorkbenchError
from workbench.store.address import Address
from workbench.store.folder import MARK, FolderTier
from workbench.store.postgres import PostgresRegistry
from workbench.store.registry import Registry, fact_of
from workbench.store.s3 import S3Tier
from workbench.store.s3_place import new_place, parse_place
from workbench.store.sqlite import SqliteRegistry
from workbench.store.tier import CurveTier

REGISTRY = "registry.sqlite"
CURVES, OWNER = "curves", "owner"


def open_places(address: Address, *, create: bool) -> tuple[Registry, CurveTier]:
    """Open the registry of a store and the place of its curves, or make both; see ``open_store``.

    Raises
    ------
    ArgumentError
        If there is no store, or its curves are, or cannot be, where the address says.
    DataError
        If the registry cannot be read or reached.
    """
    if address.url is None:
        registry: Registry = _open_file(Path(str(address.root)), address, create=create)
    else:
        registry = _open_database(address, create=create)
    try:
        return registry, _curves_of(registry, address)
    except WorkbenchError:
        registry.close()
        raise


def _open_file(root: Path, address: Address, *, create: bool) -> SqliteRegistry:
    path = root / REGISTRY
    if path.is_file():
        return SqliteRegistry.open(path)
    if not create:
        msg = (
            f"There is no store at {str(root)!r}. Make one with: workbench import LOG --store "
            f"{root}, or: workbench train --store {root}; or name another one with --store."
        )
        raise ArgumentError(msg)
    require_vacant(root, besides=REGISTRY)
    stated = {} if address.curves is None else _take_place(address.curves)
    root.mkdir(parents=True, exist_ok=True)
    return SqliteRegistry.create(path, stated)


def _open_database(address: Address, *, create: bool) -> PostgresRegistry:
    registry = PostgresRegistry(address)
    try:
        if not registry.open():
            if not create:
                msg = (
                    f"There is no store at {address}. Make one with: workbench import LOG --store "
                    f"'{address}?curves=/shared/folder'; or name another one with --store."
                )
                raise ArgumentError(msg)
            registry.create(lambda: _take_shared(address))
    except WorkbenchError:
        registry.close()
        raise
    return registry


def _curves_of(registry: Registry, address: Address) -> CurveTier:
    """Return the place a registry has recorded; `ArgumentError` if the address says another."""
    with registry.read() as connection:
        recorded, owner = fact_of(connection, CURVES), fact_of(connection, OWNER)
    if address.curves is not None and not _is_same(recorded, address.curves):
        there = str(address) if recorded is None else recorded
        there = str(parse_place(there)) if _is_url(recorded) else there
        msg = (
            f"The store {str(address)!r} keeps its curves in {there!r}, not where curves= says. "
            "Leave curves= away; a store's curves stay where they are."
        )
        raise ArgumentError(msg)
    if recorded is None:
        return FolderTier(Path(str(address.root)))
    if "://" in recorded:
        return S3Tier(parse_place(recorded))
    return FolderTier(Path(recorded), owner=owner)


def _is_same(recorded: str | None, stated: str) -> bool:
    if _is_url(recorded) and _is_url(stated):
        return replace(parse_place(str(recorded)), store="") == parse_place(stated)
    return recorded is not None and not _is_url(stated) and recorded == _absolute(stated)


def _is_url(place: str | None) -> bool:
    return place is not None and "://" in place


def _absolute(place: str) -> str:
    return os.fspath(Path(place).expanduser().resolve())


def _take_shared(address: Address) -> dict[str, str]:
    """Take the place of the curves of a new store in a database."""
    if address.curves is None:
        msg = (
            f"a new store at {address} needs a place for its consolidated curves: an empty or a "
            "new folder that every machine reaches, or s3://bucket/prefix. Add "
            "?curves=/shared/folder to the URL."
        )
        raise ArgumentError(msg)
    if _is_url(address.curves):
        return _take_place(address.curves)
    root, owner = Path(_absolute(address.curves)), uuid.uuid4().hex
    require_vacant(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).write_text(f"{owner}\n", encoding="utf-8")
    return {CURVES: os.fspath(root), OWNER: owner}


def _take_place(curves: str) -> dict[str, str]:
    """Make the repository of a new store's curves on S3; return what its registry notes of it."""
    place = new_place(curves)
    S3Tier(place).create()
    return {CURVES: place.recorded}


def require_vacant(root: Path, *, besides: str | None = None) -> None:
    """Raise `ArgumentError` unless `root` is missing, or a folder with nothing in it.

    Parameters
    ----------
    root : Path
        Where a store is to be made.
    besides : str, optional
        A folder that holds a name with this beginning is a store in the making, and fine.
    """
    if root.exists() and not root.is_dir():
        msg = f"store {str(root)!r} is a file. Give a folder."
        raise ArgumentError(msg)
    foreign = [p.name for p in root.iterdir() if p.name[0] != "."] if root.exists() else []
    if besides is not None and any(name.startswith(besides) for name in foreign):
        return
    if foreign:
        msg = (
            f"store {str(root)!r} is a folder with other things in it ({foreign[0]!r}). "
            "Give an empty or a new folder."
        )
        raise ArgumentError(msg)
