"""The registry on a PostgreSQL server, where several machines write one store.

Isolation is READ COMMITTED with row locks taken in one fixed order (see ``registry.bump``), not
SERIALIZABLE with repetition: every write of the store knows beforehand which rows it decides on,
and the locks make exactly those that touch one run take turns, as SQLite's single writer does,
while writers of different runs never wait for each other nor do work twice. A transaction that is
the victim of a deadlock all the same is begun again. Readers see one moment of everything:
REPEATABLE READ, read only.

Every commit waits for the server's disk, as its administrator set ``synchronous_commit``: a server
that is killed forgets commits that did not, and a killed server process is no power cut.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from workbench.errors import DataError
from workbench.store.address import Address
from workbench.store.registry import Batch, Registry, meta, shard_of

SCHEMA = "workbench"
BUSY_SECONDS = 60
DEADLOCKS = 5
WRITER_PATIENCE = 30.0
READER_PATIENCE = 5.0
"""So long a transaction tries to reach a server that has answered before: it may be restarting."""

_UNREACHABLE = {"", "57P01", "57P02", "57P03", "08000", "08001", "08004", "08006"}
_AGAIN = {"40001", "40P01"}
_CREATING = 0x776F726B  # an advisory lock of our own
_KEEPALIVE = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "application_name": "workbench",
}


_ADD = f"""
WITH claimed AS (
  UPDATE {SCHEMA}.runs
  SET (heartbeat, updated) = (SELECT now, now FROM extract(epoch FROM clock_timestamp()) AS now)
  WHERE run_id = %(run_id)s AND token = %(token)s AND status = 'running'
  RETURNING run_id
), added AS (
  INSERT INTO {SCHEMA}.points (run_id, attempt, sequence, packed)
  SELECT run_id, %(attempt)s, %(sequence)s, %(packed)s FROM claimed
), raised AS (
  UPDATE {SCHEMA}.meta SET value = value + 1
  WHERE key = %(shard)s AND EXISTS (SELECT FROM claimed)
)
SELECT count(*) FROM claimed
"""
_IS_ADDED = f"""
SELECT sequence FROM {SCHEMA}.points
WHERE run_id = %(run_id)s AND attempt = %(attempt)s AND sequence = %(sequence)s
"""


class PostgresRegistry(Registry):
    """Transactions on the registry in a database; `open` or `create` comes before the others.

    Parameters
    ----------
    address : Address
        Of the database, which must exist; the store in it may not.
    """

    def __init__(self, address: Address) -> None:
        if address.url is None:
            msg = f"{address} is not a database."
            raise ValueError(msg)
        self._reached = False
        super().__init__(_engine(address.url), str(address))

    def open(self) -> bool:
        """Make sure that this version can read the registry; False when there is none."""
        with self.read() as connection:
            if not _is_there(connection):
                return False
        self._bring_up_to_date()
        return True

    def create(self, prepare: Callable[[], Mapping[str, str]]) -> None:
        """Make an empty registry, unless another process made it at the same moment.

        Parameters
        ----------
        prepare : callable
            Called by the one process that makes it; returns the facts to keep in it.
        """
        with self.write() as connection:
            _require_utf8(connection, self.where)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
            if not _is_there(connection):
                connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
                self._make(connection, prepare())

    def problems(self) -> tuple[str, ...]:
        """Return nothing: the server looks after its own files."""
        return ()

    @contextmanager
    def _transaction(
        self, *, writes: bool, durable: bool = False, probe: bool = False
    ) -> Iterator[sa.Connection]:
        level = "READ COMMITTED" if writes else "REPEATABLE READ"
        opened = self._connected(level, writes=writes, probe=probe)
        with opened as connection, connection.begin():
            yield connection

    def add_at_once(self, batch: Batch) -> bool:
        """Claim the run, add the batch and raise the revision, by one statement and one commit.

        Over a network each statement is a wait, and on a busy machine a turn lost at either end.
        """
        values = batch._asdict() | {"shard": shard_of(batch.run_id)}

        def add(connection: sa.Connection, again: bool) -> bool:
            if again and connection.exec_driver_sql(_IS_ADDED, values).first() is not None:
                return True
            return bool(connection.exec_driver_sql(_ADD, values).scalar_one())

        return self._repeated(add, self._statement)

    @contextmanager
    def _statement(self) -> Iterator[sa.Connection]:
        with self._connected("AUTOCOMMIT", writes=True) as connection:
            yield connection

    def _connected(self, level: Any, *, writes: bool, probe: bool = False) -> sa.Connection:
        engine = self._live_engine().execution_options(
            isolation_level=level, postgresql_readonly=not writes
        )
        deadline, pause = time.monotonic() + (WRITER_PATIENCE if writes else READER_PATIENCE), 0.05
        while True:
            try:
                connection = engine.connect()
                if not probe or _alive(connection):
                    self._reached = True
                    return connection
            except DBAPIError as error:
                over = time.monotonic() + pause > deadline
                if over or not self._reached or _state(error) not in _UNREACHABLE:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 1.0)

    def _may_repeat(self, error: DBAPIError, number: int) -> bool:
        if _state(error) in _AGAIN and number < DEADLOCKS:
            time.sleep(random.uniform(0, 0.02 * 2**number))  # or both meet there again
            return True
        return bool(error.connection_invalidated) and number == 0

    def _why(self, error: DBAPIError) -> str:
        if error.connection_invalidated:
            return (
                "Whether the last change was kept is not known; it is safe to ask for it again "
                "when the server answers."
            )
        if _state(error) == "55P03":
            return "Another process is holding a long write; try again when it has ended."
        return (
            "Look whether the server runs, the database exists (createdb makes one), and this user "
            "may use it."
        )


def _engine(url: sa.URL) -> sa.Engine:
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg", query={**_KEEPALIVE, **url.query}),
            hide_parameters=True,
            execution_options={"schema_translate_map": {None: SCHEMA}},
        )
    except ModuleNotFoundError:
        msg = (
            "A store on PostgreSQL needs psycopg, which is not installed: "
            "pip install 'collapse-workbench[postgres]'"
        )
        raise DataError(msg) from None
    sa.event.listen(engine, "connect", _never_wait_forever)
    return engine


def _alive(connection: sa.Connection) -> bool:
    """Ask the server for an answer; without one the connections from before are given up."""
    fairy = connection.connection
    try:
        connection.dialect.do_ping(fairy.dbapi_connection)  # type: ignore[arg-type]
    except connection.dialect.dbapi.Error:  # type: ignore[union-attr]
        connection.engine.pool.dispose()
        connection.invalidate()
        connection.close()
        return False
    return True


def _never_wait_forever(dbapi_connection: Any, _record: object) -> None:
    # A process that was stopped in the middle must not hold its locks for good.
    waits = ("lock_timeout", "idle_in_transaction_session_timeout")
    for name in waits:
        dbapi_connection.execute(f"SET {name} = '{BUSY_SECONDS}s'")
    dbapi_connection.commit()


def _is_there(connection: sa.Connection) -> bool:
    # Not to_regclass: its cache may not have heard yet of what was committed before we got a lock.
    tables = sa.table(
        "pg_tables", sa.column("schemaname"), sa.column("tablename"), schema="pg_catalog"
    )
    own = (tables.c.schemaname == SCHEMA) & (tables.c.tablename == meta.name)
    return connection.execute(sa.select(tables.c.tablename).where(own)).first() is not None


def _require_utf8(connection: sa.Connection, where: str) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        msg = (
            f"The database {where} keeps text as {encoding}, which has no place for every name. "
            "Make one with: createdb --template=template0 --encoding=UTF8."
        )
        raise DataError(msg)


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""
