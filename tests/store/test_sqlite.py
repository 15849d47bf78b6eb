from __future__ import annotations

import os
import sqlite3

import pytest

from workbench.errors import DataError
from workbench.store import sqlite
from workbench.store.registry import bump, value_of
from workbench.store.sqlite import SqliteRegistry

NORMAL, FULL = 1, 2


@pytest.fixture
def opened(tmp_path):
    made = SqliteRegistry.create(tmp_path / "registry.sqlite")
    yield made
    made.close()


def level(opened, *, durable=False):
    with opened.write(durable=durable) as connection:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()


def test_disk_is_synced_at_most_once_a_second_unless_asked(opened, monkeypatch):
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 1000.0)
    assert level(opened) == FULL
    assert [level(opened) for _ in range(3)] == [NORMAL] * 3
    assert level(opened, durable=True) == FULL
    assert level(opened) == NORMAL
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 0.0)
    assert level(opened) == FULL


def test_the_file_is_in_wal_mode(opened):
    connection = sqlite3.connect(opened.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_an_error_in_a_transaction_undoes_it(opened):
    def fail():
        with opened.write() as connection:
            bump(connection, "revision")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with opened.read() as connection:
        assert value_of(connection, "revision") == 0


def test_a_reader_keeps_its_moment_while_others_write(opened):
    with opened.read() as reading:
        assert value_of(reading, "revision") == 0
        with opened.write() as writing:
            bump(writing, "revision")
        assert value_of(reading, "revision") == 0
    with opened.read() as reading:
        assert value_of(reading, "revision") == 1


def test_making_it_again_keeps_what_is_there(opened):
    with opened.write() as connection:
        bump(connection, "revision")
    again = SqliteRegistry.create(opened.path)
    with again.read() as connection:
        assert value_of(connection, "revision") == 1
    again.close()
    assert [path.name for path in opened.path.parent.glob("*.partial*")] == []


def test_a_long_foreign_lock_is_one_paragraph(opened, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    impatient = SqliteRegistry.open(opened.path)
    holder = sqlite3.connect(opened.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DataError, match="database is locked"):
        level(impatient)
    holder.execute("ROLLBACK")
    holder.close()
    assert level(impatient) == FULL
    impatient.close()


@pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # the child only writes and exits
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_opens_connections_of_its_own(opened):
    with opened.read() as connection:
        value_of(connection, "revision")
    assert opened._live_engine().pool.checkedin() == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert opened._live_engine().pool.checkedin() == 0  # none of the parent's
            with opened.write() as connection:
                bump(connection, "revision")
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with opened.read() as connection:
        assert value_of(connection, "revision") == 1
