"""The registry: which runs there are, who may write them, and the points not yet consolidated.

SQLite through SQLAlchemy Core, in WAL mode: readers never block the writers nor see half a write.
A killed process loses nothing that was committed; against a power cut the log is synced to disk at
most once a second, and always when a run ends or a generation is published.
"""

from __future__ import annotations

import os
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from workbench.errors import DataError

SCHEMA_VERSION = 2
BUSY_SECONDS = 60
SYNC_SECONDS = 1.0

metadata = sa.MetaData()
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
facts = sa.Table(
    "facts",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
# The generations of consolidated curves that are kept; see ``workbench.store.tier.Generation``.
generations = sa.Table(
    "generations",
    metadata,
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("n_runs", sa.BigInteger, nullable=False),
    sa.Column("snapshot", sa.Text),
)
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("family", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("heartbeat", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    # What the consolidated curves hold of this run; `settled` when that is all there is of it.
    sa.Column("settled", sa.Boolean, nullable=False),
    sa.Column("digest", sa.Text),
    sa.Column("n_records", sa.Integer, nullable=False),
    sa.Column("last_step", sa.BigInteger),
    sa.Column("final_train_loss", sa.Float),
    sa.Column("final_eval_loss", sa.Float),
)
points = sa.Table(
    "points",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("packed", sa.LargeBinary, nullable=False),
)


class Registry:
    """Transactions on the registry of one store; made by `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._synced = 0.0
        self._pid = os.getpid()
        self._file: tuple[int, int] | None = None
        self._engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
        )
        weakref.finalize(self, self._engine.dispose)
        sa.event.listen(self._engine, "connect", _own_transactions)
        sa.event.listen(self._engine, "begin", _begin)

    @classmethod
    def create(cls, path: Path, stated: Mapping[str, str] | None = None) -> Registry:
        """Make an empty registry, or open the one another process made at the same moment.

        Parameters
        ----------
        path : Path
            Its file.
        stated : mapping of str to str, optional
            Facts to write into it; see `fact_of`.
        """
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        fresh = cls(partial)
        with fresh._translated(), fresh._engine.connect() as connection:
            _driver(connection).execute("PRAGMA journal_mode=WAL")
        with fresh.write(durable=True) as connection:
            metadata.create_all(connection)
            start = {"schema_version": SCHEMA_VERSION, "revision": 0, "generation": 0}
            rows = [{"key": key, "value": value} for key, value in start.items()]
            connection.execute(sa.insert(meta), rows)
            if stated:
                known = [{"key": key, "value": value} for key, value in stated.items()]
                connection.execute(sa.insert(facts), known)
        fresh.close()
        try:
            os.link(partial, path)  # fails where the name is taken, unlike a rename
        except FileExistsError:
            pass
        finally:
            partial.unlink()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Registry:
        """Open a registry; `DataError` when it is not one or comes from a newer version."""
        found = cls(path)
        try:
            found._bring_up_to_date()
        except DataError:
            found.close()
            raise
        return found

    def _bring_up_to_date(self) -> None:
        """Migrate an older registry; `DataError` when it comes from a newer version."""
        with self.read() as connection:
            version = value_of(connection, "schema_version")
        if version > SCHEMA_VERSION:
            msg = (
                f"The store {self.path.parent} has registry version {version}, newer than the "
                f"{SCHEMA_VERSION} this workbench reads. Upgrade with: pip install --upgrade "
                "collapse-workbench. Nothing was changed."
            )
            raise DataError(msg)
        if version < SCHEMA_VERSION:
            with self.write(durable=True) as connection:
                if value_of(connection, "schema_version") < SCHEMA_VERSION:
                    _to_version_2(connection)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a read transaction: one consistent moment of the registry."""
        with self._translated(), self._live_engine().connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """Open a write transaction, committed when the block ends without an error.

        Parameters
        ----------
        durable : bool
            Sync to disk before returning; without it at most once a second.
        """
        now = time.monotonic()
        sync = durable or now - self._synced >= SYNC_SECONDS
        engine = self._live_engine().execution_options(writes=True)
        with self._translated(), engine.connect() as connection:
            # The level cannot be changed inside a transaction, so it is set before one begins.
            _driver(connection).execute(f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}")
            with connection.begin():
                self._require_same_file()
                yield connection
        if sync:
            self._synced = now

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

    def problems(self) -> tuple[str, ...]:
        """Return what SQLite finds wrong with the file."""
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return tuple(f"registry: {text}." for text in found if text != "ok")

    def close(self) -> None:
        """Close the connections; a later transaction opens new ones."""
        self._engine.dispose()

    def _live_engine(self) -> sa.Engine:
        if self._pid != os.getpid():  # a fork must not share its parent's connections
            self._engine.dispose(close=False)
            self._pid = os.getpid()
        return self._engine

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            msg = (
                f"The registry {self.path} cannot be used: {error.orig}. If it is locked, another "
                "process is holding a long write; if it is damaged, restore the store from a copy."
            )
            raise DataError(msg) from error


def _to_version_2(connection: sa.Connection) -> None:
    """Add the facts in text, and what is known of the generations."""
    facts.create(connection)
    generations.create(connection)
    newest = value_of(connection, "generation")
    if newest:  # when it was published is not known; it is from now on
        held = sa.select(sa.func.count()).where(runs.c.digest.is_not(None))
        count = connection.execute(held).scalar_one()
        row = {"generation": newest, "time": time.time(), "n_runs": count, "snapshot": None}
        connection.execute(sa.insert(generations), row)
    two = sa.update(meta).where(meta.c.key == "schema_version").values(value=2)
    connection.execute(two)


def value_of(connection: sa.Connection, key: str) -> int:
    """Return one counter of the store: ``schema_version``, ``revision`` or ``generation``."""
    return int(connection.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar_one())


def bump(connection: sa.Connection, key: str) -> int:
    """Increase a counter by one and return its new value."""
    raised = sa.update(meta).where(meta.c.key == key).values(value=meta.c.value + 1)
    return int(connection.execute(raised.returning(meta.c.value)).scalar_one())


def fact_of(connection: sa.Connection, key: str) -> str | None:
    """Return a fact the store was made with, such as ``curves``; None where it was not stated."""
    return connection.execute(sa.select(facts.c.value).where(facts.c.key == key)).scalar()


def _own_transactions(dbapi_connection: object, _record: object) -> None:
    # The driver must not begin transactions by itself: `_begin` says which kind is wanted.
    dbapi_connection.isolation_level = None  # type: ignore[attr-defined]


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection
