from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.store import open_store, sqlite
from workbench.store.batches import pack
from workbench.store.registry import bump, value_of
from workbench.store.sqlite import SqliteRegistry


@pytest.fixture
def opened(tmp_path):
    made = SqliteRegistry.create(tmp_path / "registry.sqlite")
    yield made
    made.close()


@pytest.fixture
def synced(monkeypatch):
    """Return the names of the files that are synced from now on."""
    names = []

    def sync(descriptor):
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fdatasync", sync)
    return names


def write(opened, *, durable=False):
    with opened.write(durable=durable) as connection:
        bump(connection, "revision")


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@needs_proc
def test_disk_is_synced_at_most_once_a_second_unless_asked(opened, synced, monkeypatch):
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 1000.0)
    for _ in range(3):
        write(opened)
    assert synced == []
    write(opened, durable=True)
    assert synced == ["registry.sqlite-wal"]
    write(opened)
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 0.0)
    write(opened)
    assert synced == ["registry.sqlite-wal"] * 2


@needs_proc
def test_a_sync_by_one_process_counts_for_all(opened, synced, monkeypatch):
    other = SqliteRegistry.open(opened.path)
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 0.0)
    write(opened)
    monkeypatch.setattr(sqlite, "SYNC_SECONDS", 1000.0)
    write(other)
    assert len(synced) == 1
    monkeypatch.setattr(time, "time", lambda: 1e6)  # a clock set back does not put it off for good
    write(other)
    assert len(synced) == 2
    other.close()


@needs_proc
def test_nobody_waits_while_another_syncs(opened, monkeypatch):
    other, waited = SqliteRegistry.open(opened.path), []

    def sync(_descriptor):
        monkeypatch.setattr(os, "fdatasync", lambda _descriptor: None)
        write(other)  # would fail as locked after a minute if the sync were inside the transaction
        waited.append(True)

    monkeypatch.setattr(os, "fdatasync", sync)
    write(opened, durable=True)
    assert waited == [True]
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
        write(impatient)
    holder.execute("ROLLBACK")
    holder.close()
    write(impatient)
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
