"""The registry: which runs there are, who may write them, and the points not yet consolidated.

One SQL database through SQLAlchemy Core: a file of its own by default (``sqlite.py``), a server
where several machines write (``postgres.py``). Both give the same promises. A read transaction sees
one moment of the registry and holds up no writer. Write transactions on a run come one after the
other. A killed process loses nothing that was committed.
"""

from __future__ import annotations

import os
import weakref
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from workbench.errors import DataError

SCHEMA_VERSION = 3
SHARDS = 32
_T = TypeVar("_T")

_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # sorts as SQLite does
metadata = sa.MetaData()
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", _Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
facts = sa.Table(
    "facts",
    metadata,
    sa.Column("key", _Text, primary_key=True),
    sa.Column("value", _Text, nullable=False),
)
# The generations of consolidated curves that are kept; see ``workbench.store.tier.Generation``.
generations = sa.Table(
    "generations",
    metadata,
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("n_runs", sa.BigInteger, nullable=False),
    sa.Column("snapshot", _Text),
)
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", _Text, primary_key=True),
    sa.Column("family", _Text, nullable=False),
    sa.Column("status", _Text, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("heartbeat", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    # What the consolidated curves hold of this run; `settled` when that is all there is of it.
    sa.Column("settled", sa.Boolean, nullable=False),
    # The generation that took in its live points. They stay until a later one is published, so
    # that the curve can be made again should that generation be lost.
    sa.Column("folded", sa.BigInteger),
    sa.Column("digest", sa.Text),
    sa.Column("n_records", sa.BigInteger, nullable=False),
    sa.Column("last_step", sa.BigInteger),
    sa.Column("final_train_loss", sa.Float),
    sa.Column("final_eval_loss", sa.Float),
)
points = sa.Table(
    "points",
    metadata,
    sa.Column("run_id", _Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    sa.Column("packed", sa.LargeBinary, nullable=False),
)
# Decisions that a run should end; see ``workbench.store.stops``.
stops = sa.Table(
    "stops",
    metadata,
    sa.Column("run_id", _Text, primary_key=True),
    sa.Column("reason", _Text, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
)


class Batch(NamedTuple):
    """Points of one call of ``RunWriter.append``, and who adds them."""

    run_id: str
    attempt: int
    token: int
    sequence: int
    packed: bytes


class clock(FunctionElement[float]):
    """Seconds since 1970 by the clock of the database: one clock for all machines that write."""

    type = sa.Float()
    inherit_cache = True


@compiles(clock, "sqlite")
def _clock_of_sqlite(_element: clock, _compiler: object, **_options: object) -> str:
    return "workbench_clock()"


@compiles(clock, "postgresql")
def _clock_of_postgres(_element: clock, _compiler: object, **_options: object) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


class Registry(ABC):
    """Transactions on the registry of one store.

    Parameters
    ----------
    engine : Engine
        Connections to the database.
    where : str
        What messages call the database; without a password.
    """

    def __init__(self, engine: sa.Engine, where: str) -> None:
        self.where = where
        self._pid = os.getpid()
        self._engine = engine
        weakref.finalize(self, _dispose, engine, self._pid)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a read transaction: one consistent moment of the registry."""
        with self._translated(), self._transaction(writes=False, probe=True) as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """Open a write transaction, committed when the block ends without an error.

        Parameters
        ----------
        durable : bool
            Sync to disk before returning; without it SQLite does so at most once a second.
        """
        begun = self._transaction(writes=True, durable=durable, probe=True)
        with self._translated(), begun as connection:
            yield connection

    def query(self, work: Callable[[sa.Connection], _T]) -> _T:
        """Return what `work` reads in one transaction, read again if the connection was lost."""
        return self._repeated(
            lambda connection, _again: work(connection), lambda: self._transaction(writes=False)
        )

    def transact(self, work: Callable[[sa.Connection, bool], _T], *, durable: bool = False) -> _T:
        """Do `work` in a write transaction, and again if the connection was lost.

        Parameters
        ----------
        work : callable of (Connection, bool)
            The second argument says that it is called again. Nobody knows then whether its first
            transaction was committed: it must look, or do no harm by being done twice.
        durable : bool
            As for `write`.
        """
        return self._repeated(work, lambda: self._transaction(writes=True, durable=durable))

    def _repeated(
        self,
        work: Callable[[sa.Connection, bool], _T],
        begin: Callable[[], AbstractContextManager[sa.Connection]],
    ) -> _T:
        with self._translated():
            for number in count():
                try:
                    with begin() as connection:
                        return work(connection, number > 0)
                except DBAPIError as error:
                    if not self._may_repeat(error, number):
                        raise
        raise AssertionError  # the loop ends by itself

    @abstractmethod
    def _transaction(
        self, *, writes: bool, durable: bool = False, probe: bool = False
    ) -> AbstractContextManager[sa.Connection]:
        """Begin a transaction, committed when the block ends without an error.

        `probe` asks for a connection that was alive a moment ago: the block cannot be repeated.
        """

    @abstractmethod
    def add_at_once(self, batch: Batch) -> bool:
        """Add a batch the fastest way there is; False when its writer may not write any more."""

    @abstractmethod
    def problems(self) -> tuple[str, ...]:
        """Return what the database itself finds wrong with the registry."""

    def _may_repeat(self, error: DBAPIError, number: int) -> bool:
        """Tell, after failure `number` from 0, whether the transaction may be begun again now."""
        return False

    @abstractmethod
    def _why(self, error: DBAPIError) -> str:
        """Say what the user can do about a failed transaction."""

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
        except DBAPIError as error:
            said = " ".join(self._hidden(str(error.orig)).split()).removesuffix(".")
            end = "" if said.endswith(("?", "!")) else "."
            msg = f"The registry {self.where} cannot be used: {said}{end} {self._why(error)}"
            raise DataError(msg) from error

    def _hidden(self, text: str) -> str:
        password = self._engine.url.password
        return text.replace(str(password), "***") if password else text

    def _make(self, connection: sa.Connection, stated: Mapping[str, str]) -> None:
        """Make the tables of an empty registry."""
        metadata.create_all(connection)
        start = {"schema_version": SCHEMA_VERSION, "revision": 0, "generation": 0}
        connection.execute(sa.insert(meta), _counters(start | _shards()))
        if stated:
            rows = [{"key": key, "value": value} for key, value in stated.items()]
            connection.execute(sa.insert(facts), rows)

    def _bring_up_to_date(self) -> None:
        """Migrate an older registry; `DataError` when it comes from a newer version."""
        with self.read() as connection:
            version = value_of(connection, "schema_version")
        if version > SCHEMA_VERSION:
            msg = (
                f"The registry {self.where} has version {version}, newer than the "
                f"{SCHEMA_VERSION} this workbench reads. Upgrade with: pip install --upgrade "
                "collapse-workbench. Nothing was changed."
            )
            raise DataError(msg)
        if version < SCHEMA_VERSION:
            with self.write(durable=True) as connection:
                version = value_of(connection, "schema_version", lock=True)
                if version < 2:
                    _to_version_2(connection)
                if version < SCHEMA_VERSION:
                    stops.create(connection)
                    now = sa.update(meta).where(meta.c.key == "schema_version")
                    connection.execute(now.values(value=SCHEMA_VERSION))


def _to_version_2(connection: sa.Connection) -> None:
    """Add facts in text, what is known of generations, shards of the revision, where points went.

    Only registries on SQLite are so old.
    """
    facts.create(connection)
    generations.create(connection)
    newest = value_of(connection, "generation")
    if newest:  # when it was published is not known; it is from now on
        held = sa.select(sa.func.count()).where(runs.c.digest.is_not(None))
        values = {"n_runs": held.scalar_subquery(), "time": clock(), "generation": newest}
        connection.execute(sa.insert(generations).values(**values))
    connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN folded BIGINT")
    connection.execute(sa.insert(meta), _counters(_shards()))


def _shards() -> dict[str, int]:
    return {f"revision/{number}": 0 for number in range(SHARDS)}


def _counters(values: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _dispose(engine: sa.Engine, pid: int) -> None:
    if pid == os.getpid():  # closing them in a fork would end its parent's sessions
        engine.dispose()


def value_of(connection: sa.Connection, key: str, *, lock: bool = False) -> int:
    """Return one counter of the store: ``schema_version`` or ``generation``.

    Parameters
    ----------
    lock : bool
        Keep every other transaction that locks or raises it waiting until this one ends.
    """
    query = sa.select(meta.c.value).where(meta.c.key == key)
    return int(connection.execute(query.with_for_update() if lock else query).scalar_one())


def revision_of(connection: sa.Connection) -> int:
    """Return a number that grows with every committed change."""
    query = sa.select(sa.func.sum(meta.c.value)).where(meta.c.key.like("revision%"))
    return int(connection.execute(query).scalar_one())


def bump(connection: sa.Connection, key: str) -> int:
    """Increase a counter by one and return its new value; it stays locked to the commit.

    Against deadlocks every transaction locks in one order: ``generation``, ``revision``, rows of
    runs, the shard of a run (`shard_of`).
    """
    raised = sa.update(meta).where(meta.c.key == key).values(value=meta.c.value + 1)
    return int(connection.execute(raised.returning(meta.c.value)).scalar_one())


def drop_folded(connection: sa.Connection) -> None:
    """Delete the points that an earlier generation took in; a newer one is being published."""
    done = sa.select(runs.c.run_id).where(runs.c.settled & runs.c.folded.is_not(None))
    connection.execute(sa.delete(points).where(points.c.run_id.in_(done)))
    taken = sa.update(runs).where(runs.c.folded.is_not(None) & runs.c.settled)
    connection.execute(taken.values(folded=None))


def shard_of(run_id: str) -> str:
    """Return the part of the revision that the writer of a run raises.

    One counter for all would make 32 writers wait for one another's commits, disk and all.
    """
    return f"revision/{zlib.crc32(run_id.encode()) % SHARDS}"


def fact_of(connection: sa.Connection, key: str) -> str | None:
    """Return a fact the store was made with, such as ``curves``; None where it was not stated."""
    return connection.execute(sa.select(facts.c.value).where(facts.c.key == key)).scalar()
