"""SQLite databases of other programs, read without leaving a trace in their folder.

A database may be in use. In place it is opened read-only, which takes SQLite's shared lock and
sees a live write-ahead log. Opening one whose write-ahead log is gone would make SQLite create
files beside it, so it is opened as immutable and read again should it have changed meanwhile; one
whose writer died in mid-transaction has to be recovered, which is done on a copy.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from workbench.errors import DataError
from workbench.io.result import Source

_T = TypeVar("_T")
# A message that quotes a damaged name is not UTF-8, and then Python fails to make the error of it.
_FAILURES = (sqlite3.Error, UnicodeDecodeError)
_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-wal", "-journal")
_BUSY_SECONDS = 5.0
_TRIES = 5
# A damaged tree can lead back to itself. A row takes 6 bytes at least and some 20 operations.
_OPERATIONS_A_BYTE = 20
_LEAST_OPERATIONS = 1_000_000
_BETWEEN_LOOKS = 10_000
_Fingerprint = tuple[tuple[int, int] | None, ...]


def is_sqlite(source: Source) -> bool:
    """Tell whether a file starts as SQLite's do."""
    return source.head.startswith(_MAGIC)


def tables_of(source: Source) -> frozenset[str]:
    """Return the names of the tables of a SQLite file, in lower case; empty when it is none."""
    return _glance(source, "SELECT name FROM sqlite_master WHERE type = 'table'")


def table_columns(source: Source, table: str) -> frozenset[str]:
    """Return the columns of a table, in lower case; empty when there is none."""
    return _glance(source, f"SELECT name FROM pragma_table_info('{table}')")


def _glance(source: Source, query: str) -> frozenset[str]:
    """Return the names a query on the layout gives, without waiting for locks."""

    def names(connection: sqlite3.Connection) -> frozenset[str]:
        return frozenset(str(name).lower() for (name,) in connection.execute(query))

    if not is_sqlite(source):
        return frozenset()
    try:
        with _connected(source.path, "mode=ro&immutable=1") as connection:
            found = names(connection)
        if not found and _beside(source.path, "-wal").exists():
            found = read_database(source.path, names)
    except (*_FAILURES, OSError, DataError):
        return frozenset()
    return found


def require_columns(
    connection: sqlite3.Connection, path: Path, table: str, needed: Collection[str], *, hint: str
) -> frozenset[str]:
    """Return the columns of a table, in lower case; `DataError` when a needed one is missing.

    A view in the table's place is refused: it can have rows without an end.

    Parameters
    ----------
    connection : Connection
        To the database.
    path : Path
        Of the database, for the message.
    table : str
        Name of the table, trusted.
    needed : collection of str
        Columns without which it cannot be read.
    hint : str
        What to do about it, a sentence.
    """
    query = "SELECT type FROM sqlite_master WHERE lower(name) = ? AND type = 'view'"
    if connection.execute(query, (table,)).fetchone():
        msg = f"{table!r} of {path} is a view, where a table should be. {hint}"
        raise DataError(msg)
    rows = connection.execute(f"PRAGMA table_info({table})")
    found = frozenset(str(row[1]).lower() for row in rows)
    missing = sorted(set(needed) - found)
    if missing:
        msg = f"table {table!r} of {path} has no column {', '.join(missing)}. {hint}"
        raise DataError(msg)
    return found


def read_database(path: Path, query: Callable[[sqlite3.Connection], _T]) -> _T:
    """Return what `query` reads from a database: one consistent state, nothing written beside it.

    Parameters
    ----------
    path : Path
        The database.
    query : callable of Connection
        Reads everything it needs; may be called again when the database changed meanwhile.

    Raises
    ------
    DataError
        If the database is locked, damaged, or changes each time it is read.
    """
    try:
        return _read(path, query)
    except _FAILURES as error:
        raise DataError(_reason(path, error)) from error
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}. Check the file and its folder."
        raise DataError(msg) from error


def copy_database(path: Path, target: Path) -> None:
    """Write one consistent state of a database to a new file; `DataError` as `read_database`."""

    def copy(connection: sqlite3.Connection) -> None:
        # Takes the lock, or fails: `backup` itself waits for one without end.
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        with closing(sqlite3.connect(target)) as copied:
            connection.backup(copied)

    read_database(path, copy)


def _read(path: Path, query: Callable[[sqlite3.Connection], _T]) -> _T:
    for _ in range(_TRIES):
        before = _fingerprint(path)
        if not _is_wal(path):
            try:
                return _query_in_place(path, query)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                    raise
        elif _size(_beside(path, "-wal")) and _beside(path, "-shm").exists():
            return _query_in_place(path, query)
        elif not _size(_beside(path, "-wal")):
            try:
                with _connected(path, "mode=ro&immutable=1") as connection:
                    result = query(connection)
            except _FAILURES:
                if _fingerprint(path) == before:
                    raise
                continue
            if _fingerprint(path) == before:
                return result
            continue
        with tempfile.TemporaryDirectory() as folder:
            copy = _copy(path, Path(folder))
            if _fingerprint(path) == before:
                with _connected(copy, "mode=rw") as connection:
                    return query(connection)
    msg = f"{path} changed each time it was read. Import it when its writer pauses or is done."
    raise DataError(msg)


def _query_in_place(path: Path, query: Callable[[sqlite3.Connection], _T]) -> _T:
    with _connected(path, "mode=ro") as connection:
        connection.execute("BEGIN")  # one state for all of its statements
        return query(connection)


@contextmanager
def _connected(path: Path, options: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.resolve().as_uri()}?{options}"
    size = _size(path) + _size(_beside(path, "-wal"))
    budget = max(_LEAST_OPERATIONS, size * _OPERATIONS_A_BYTE) // _BETWEEN_LOOKS
    used = 0

    def look() -> int:
        nonlocal used
        used += 1
        return int(used > budget)

    with closing(
        sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    ) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(size, 1 << 20))
        connection.set_progress_handler(look, _BETWEEN_LOOKS)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        yield connection


def _copy(path: Path, folder: Path) -> Path:
    for suffix in ("", *_BESIDE):
        if _beside(path, suffix).exists():
            shutil.copyfile(_beside(path, suffix), folder / f"copy.db{suffix}")
    return folder / "copy.db"


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_wal(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20)[19:] == b"\x02"  # the version to read by; SQLite asks no more


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _fingerprint(path: Path) -> _Fingerprint:
    found: list[tuple[int, int] | None] = []
    for suffix in ("", *_BESIDE):
        try:
            status = _beside(path, suffix).stat()
            found.append((status.st_size, status.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def _reason(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return (
            f"{path} is locked by the program that writes it. Import it when that is done, or "
            "from a copy made with: sqlite3 FILE '.backup COPY'"
        )
    if code == "SQLITE_INTERRUPT":
        return f"{path} is damaged: reading it finds no end. Restore it from a backup."
    return (
        f"{path} cannot be read as SQLite: {error}. It is damaged, cut or not a database; restore "
        "it from a backup."
    )
