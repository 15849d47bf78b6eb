from __future__ import annotations

import contextlib
import sqlite3
import time

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.store import open_store, sqlite
from workbench.store.batches import pack
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
    assert [level(opened) for _ in range(3)] == [NORMAL] * 3
    assert level(opened, durable=True) == FULL
    assert level(opened) == NORMAL
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 0.0)
    assert level(opened) == FULL


def test_a_sync_by_one_process_counts_for_all(opened, monkeypatch):
    other = SqliteRegistry.open(opened.path)
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 0.0)
    assert level(opened) == FULL
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 1000.0)
    assert level(other) == NORMAL
    monkeypatch.setattr(time, "time", lambda: 1e6)  # a clock set back does not put it off for good
    assert level(other) == FULL
    other.close()


def test_the_file_is_in_wal_mode(opened):
    connection = sqlite3.connect(opened.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


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
    assert level(impatient, durable=True) == FULL
    impatient.close()


VERSION_1 = """
create table meta (key text not null primary key, value bigint not null);
create table runs (run_id text not null primary key, family text not null, status text not null,
  attributes json not null, attempt integer not null, token bigint not null, heartbeat float,
  created float not null, updated float not null, settled boolean not null, digest text,
  n_records integer not null, last_step bigint, final_train_loss float, final_eval_loss float);
create table points (run_id text not null, attempt integer not null, sequence integer not null,
  packed blob not null, primary key (run_id, attempt, sequence));
insert into meta values ('schema_version', 1), ('revision', 41), ('generation', 0);
insert into runs values ('a', 'f', 'running', '{"tau": 0.2}', 1, 40, 1e9, 1e9, 1e9, 0, null, 0,
  null, null, null);
"""


def test_a_store_of_version_1_opens_and_goes_on(tmp_path):
    root = tmp_path / "old"
    root.mkdir()
    packed = pack({"step": np.array([0, 1]), "train_loss": np.array([3.0, 2.0])})
    with contextlib.closing(sqlite3.connect(root / "registry.sqlite")) as connection:
        connection.executescript("pragma journal_mode=wal;" + VERSION_1)
        connection.execute("insert into points values ('a', 1, 1, ?)", (packed,))
        connection.commit()
    store = open_store(root)
    assert store.revision() == 41
    assert store.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.0]
    writer = store.start_run("a", family="f")
    assert (writer.attempt, writer.token) == (2, 42)
    writer.append(step=2, train_loss=1.0)
    writer.finish()
    assert store.consolidate() == 1
    assert store.check() == ()
    store.close()
    again = open_store(root)
    assert again.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.0, 1.0]
    assert again.revision() > 42
    again.close()
