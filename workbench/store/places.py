"""Open a store on PostgreSQL: its registry, and the place it has recorded for its curves."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from workbench.errors import ArgumentError, DataError, WorkbenchError
from workbench.store.address import Address
from workbench.store.postgres import PostgresRegistry
from workbench.store.registry import Registry, fact_of
from workbench.text import without_password

CURVES, OWNER = "curves", "owner"
MARK = "STORE"
"""File in the folder of the curves that names the registry they belong to."""


def open_database(address: Address, *, create: bool) -> tuple[Path, Registry]:
    """Open the store in a database, or make it; see ``open_store``.

    Returns
    -------
    tuple of (Path, Registry)
        Folder of the consolidated curves, and the registry.

    Raises
    ------
    ArgumentError
        If there is no store, or its curves are, or cannot be, where the address says.
    DataError
        If the database cannot be reached.
    """
    registry = PostgresRegistry(address)
    try:
        root = _open(registry, address, create=create)
    except WorkbenchError:
        registry.close()
        raise
    return root, registry


def _open(registry: PostgresRegistry, address: Address, *, create: bool) -> Path:
    if not registry.open():
        if not create:
            msg = (
                f"There is no store at {address}. Make one with: workbench import LOG --store "
                f"'{address}?curves=/shared/folder'; or name another one with --store."
            )
            raise ArgumentError(msg)
        registry.create(lambda: _take_folder(address))
    with registry.read() as connection:
        recorded = fact_of(connection, CURVES) or ""
    if address.curves is not None and _absolute(address.curves) != recorded:
        msg = (
            f"store {address} has its curves in {recorded!r}, not in "
            f"{without_password(address.curves)!r}. Open it without saying where."
        )
        raise ArgumentError(msg)
    return Path(recorded)


def require_own_folder(root: Path, registry: Registry) -> None:
    """Raise `DataError` unless `root` is the folder that a registry elsewhere took for its curves.

    On a machine that does not reach the shared folder a new generation would otherwise be written
    where no other machine finds it.
    """
    owner = registry.query(lambda connection: fact_of(connection, OWNER))
    if owner is None:
        return
    try:
        found = (root / MARK).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        found = ""
    if found != owner:
        what = "belongs to another store" if found else "is not the shared folder it was made as"
        msg = (
            f"The curves of {registry.where} lie in {root}, which on this machine {what}. Mount "
            "it there, or run this on a machine that has it."
        )
        raise DataError(msg)


def _absolute(place: str) -> str:
    return os.fspath(Path(place).expanduser().resolve())


def _take_folder(address: Address) -> dict[str, str]:
    """Make the folder of the curves a new store's own; return what the registry notes of it."""
    if address.curves is None:
        msg = (
            f"a new store at {address} needs a place for its consolidated curves: an empty or a "
            "new folder that every machine reaches. Add ?curves=/shared/folder to the URL."
        )
        raise ArgumentError(msg)
    if "://" in address.curves:
        msg = f"curves={without_password(address.curves)!r} is an URL. Give a folder."
        raise ArgumentError(msg)
    root, owner = Path(_absolute(address.curves)), uuid.uuid4().hex
    require_vacant(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).write_text(f"{owner}\n", encoding="utf-8")
    return {CURVES: os.fspath(root), OWNER: owner}


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
