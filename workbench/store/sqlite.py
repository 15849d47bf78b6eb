"""The registry as a file: SQLite in WAL mode, for any number of processes of one machine.

Readers never block the writers nor see half a write; writers take turns. Against a power cut the
log is synced to disk at most once a second, by whichever process writes first, and always when a
run ends or a generation is published: a sync takes in what every process wrote before.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from workbench.errors import DataError
from workbench.store.registry import Batch, Registry, shard_of

BUSY_SECONDS = 60
SYNC_SECONDS = 1.0
_TURN_MILLISECONDS = 3
_CLAIM = """
UPDATE runs SET heartbeat = ?, updated = ? WHERE run_id = ? AND token = ? AND status = 'running'
"""
_ADD = "INSERT INTO points (run_id, attempt, sequence, packed) VALUES (?, ?, ?, ?)"
_RAISE = "UPDATE meta SET value = value + 1 WHERE key = ?"
_SYNCED = """
INSERT INTO meta (key, value) VALUES ('synced', :now)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class SqliteRegistry(Registry):
    """Transactions on the registry in a file; made by `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: tuple[int, int] | None = None
        engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
        )
        sa.event.listen(engine, "connect", _own_transactions)
        sa.event.listen(engine, "begin", _begin)
        super().__init__(engine, str(path))

    @classmethod
    def create(cls, path: Path, stated: Mapping[str, str] | None = None) -> SqliteRegistry:
        """Make an empty registry, or open the one another process made at the same moment.

        Parameters
        ----------
        path : Path
            Of the file.
        stated : mapping of str to str, optional
            Facts to keep in it.
        """
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        fresh = cls(partial)
        with fresh._translated(), fresh._engine.connect() as connection:
            _driver(connection).execute("PRAGMA journal_mode=WAL")
        with fresh.write(durable=True) as connection:
            fresh._make(connection, stated or {})
        fresh.close()
        try:
            os.link(partial, path)  # fails where the name is taken, unlike a rename
        except FileExistsError:
            pass
        finally:
            partial.unlink()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> SqliteRegistry:
        """Open a registry; `DataError` when it is not one or comes from a newer version."""
        found = cls(path)
        try:
            found._bring_up_to_date()
        except DataError:
            found.close()
            raise
        return found

    def problems(self) -> tuple[str, ...]:
        """Return what SQLite finds wrong with the file."""
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return tuple(f"registry: {text}." for text in found if text != "ok")

    @contextmanager
    def _transaction(
        self, *, writes: bool, durable: bool = False, probe: bool = False
    ) -> Iterator[sa.Connection]:
        if not writes:
            with self._live_engine().connect() as connection:
                yield connection
            return
        engine = self._live_engine().execution_options(writes=True)
        with engine.connect() as connection, connection.begin():
            self._require_same_file()
            yield connection
            sync = durable or _sync_is_due(_driver(connection))
            if sync:
                _driver(connection).execute(_SYNCED, {"now": int(1e3 * time.time())})
        if sync:
            self._sync()

    def _require_same_file(self) -> None:
        # SQLite goes on writing into a file that was deleted or replaced, and says it is fine.
        try:
            status = self.path.stat()
        except OSError as error:
            msg = (
                f"The registry {self.path} is not there any more: {error.strerror}. Bring the "
                "store back to where it was; what was written before is in it."
            )
            raise DataError(msg) from None
        found = (status.st_dev, status.st_ino)
        if self._file not in (None, found):
            self._file = None
            self._engine.dispose()  # the next transaction opens what is there now
            msg = f"The registry {self.path} was replaced by another one. Nothing was written."
            raise DataError(msg)
        self._file = found

    def add_at_once(self, batch: Batch) -> bool:
        """Claim the run, add the batch and raise the revision in as short a turn as can be.

        Whoever loses the processor in its turn keeps all others waiting.
        """
        key = (batch.run_id, batch.attempt, batch.sequence)
        with self.write() as connection:
            now = time.time()
            claim = connection.exec_driver_sql(_CLAIM, (now, now, batch.run_id, batch.token))
            if claim.rowcount != 1:
                return False
            connection.exec_driver_sql(_ADD, (*key, batch.packed))
            connection.exec_driver_sql(_RAISE, (shard_of(batch.run_id),))
        return True

    def _sync(self) -> None:
        """Make durable what every process has committed; no other waits for this meanwhile.

        SQLite itself would sync before it lets the next writer in. What is no longer in the log it
        has synced when it moved it into the file.
        """
        try:
            log = os.open(f"{self.path}-wal", os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            getattr(os, "fdatasync", os.fsync)(log)
        finally:
            os.close(log)

    def _why(self, error: DBAPIError) -> str:
        return (
            "If it is locked, another process is holding a long write; if it is damaged, restore "
            "the store from a copy."
        )


def _own_transactions(dbapi_connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `_begin` says which kind is wanted.
    dbapi_connection.isolation_level = None
    dbapi_connection.execute("PRAGMA synchronous=NORMAL")
    dbapi_connection.create_function("workbench_clock", 0, time.time)


def _begin(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    # SQLite's own waiting sleeps ever longer, up to 100 ms, and whoever came last goes first: with
    # many writers some wait for seconds. Short sleeps, begun anew, give everyone a turn.
    driver, deadline = _driver(connection), time.monotonic() + BUSY_SECONDS
    driver.execute(f"PRAGMA busy_timeout={_TURN_MILLISECONDS}")
    try:
        while time.monotonic() < deadline:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    break
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # what is wrong is said as all errors are
    finally:
        driver.execute(f"PRAGMA busy_timeout={int(1e3 * BUSY_SECONDS)}")


def _sync_is_due(driver: Any) -> bool:
    row = driver.execute("SELECT value FROM meta WHERE key = 'synced'").fetchone()
    return row is None or abs(time.time() - row[0] / 1e3) >= SYNC_SECONDS


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection
