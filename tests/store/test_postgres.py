"""What only a store on PostgreSQL has: a server that goes, a password, curves somewhere else."""

from __future__ import annotations

import sys
import threading
import time
import traceback

import numpy as np
import psycopg
import pytest

from tests.postgres import PASSWORD
from workbench.errors import ArgumentError, DataError
from workbench.store import open_store
from workbench.store import postgres as postgres_module
from workbench.store.registry import bump, shard_of


@pytest.fixture
def url(postgres):
    """Return the URL of an empty database."""
    name = postgres.make_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def store(url, tmp_path):
    opened = open_store(url, create=True, curves=str(tmp_path / "curves"))
    yield opened
    opened.close()


def steps(store):
    return store.runs()["step"].to_numpy().tolist()


# -- where it is ------------------------------------------------------------------------------


def test_the_url_is_enough_once_the_store_is_made(url, tmp_path, few_runs):
    place = tmp_path / "shared" / "curves"
    made = open_store(f"{url}?curves={place}", create=True)
    made.add_runs(few_runs())
    for again in (open_store(url), open_store(url, create=True), open_store(made.address)):
        assert again.root == place
        assert again.runs().sizes["run"] == 3
        again.close()
    assert (place / "CURRENT").read_text() == "curves-1.zarr\n"
    open_store(url, curves=str(place)).close()
    with pytest.raises(ArgumentError, match=r"keeps its curves in .*shared/curves'"):
        open_store(url, curves=str(tmp_path / "elsewhere"))
    made.close()


def test_a_new_store_needs_a_place_of_its_own(url, tmp_path):
    with pytest.raises(ArgumentError, match="There is no store at postgresql://"):
        open_store(url)
    with pytest.raises(ArgumentError, match="needs a place for its consolidated curves"):
        open_store(url, create=True)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ArgumentError, match=r"other things in it \('thesis.tex'\)"):
        open_store(url, create=True, curves=str(tmp_path))
    with pytest.raises(ArgumentError, match="There is no store"):
        open_store(url)


def test_two_stores_do_not_share_a_folder(store, postgres):
    other = postgres.make_database()
    with pytest.raises(ArgumentError, match="other things in it"):
        open_store(postgres.url(other), create=True, curves=str(store.root))
    postgres.drop_database(other)


def test_a_machine_without_the_folder_writes_points_and_no_curves(store, few_runs, tmp_path):
    store.add_runs(few_runs())
    store.root.rename(tmp_path / "not-mounted-here")
    writer = store.start_run("a", family="f")
    writer.append(step=0, train_loss=1.0)
    writer.finish()
    for work in (store.consolidate, store.repair, lambda: store.add_runs(few_runs(4))):
        with pytest.raises(DataError, match="is not the folder it was made as"):
            work()
    assert not store.root.exists()
    (tmp_path / "not-mounted-here").rename(store.root)
    assert store.consolidate() == 1
    (store.root / "STORE").write_text("of another\n")
    with pytest.raises(DataError, match="belongs to another store"):
        store.add_runs(few_runs(5))


def test_many_stores_in_one_database_are_one_too_many(store, url, postgres):
    tables = postgres.sql(
        "select schemaname from pg_tables where tablename = 'runs'", database=store.name
    )
    assert tables == [("workbench",)]


def test_text_of_every_language_needs_utf8(postgres, tmp_path):
    postgres.sql("CREATE DATABASE latin ENCODING latin1 LOCALE 'C' TEMPLATE template0")
    with pytest.raises(DataError, match=r"keeps text as LATIN1, .* --encoding=UTF8"):
        open_store(postgres.url("latin"), create=True, curves=str(tmp_path / "c"))
    postgres.drop_database("latin")


def test_without_psycopg_the_extra_is_named(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DataError, match=r"pip install 'collapse-workbench\[postgres\]'"):
        open_store(url)


# -- the password -----------------------------------------------------------------------------


def test_no_error_tells_the_password(postgres, monkeypatch, tmp_path):
    monkeypatch.setattr(postgres_module, "_KEEPALIVE", {"connect_timeout": "3"})
    wrong = "wr%40ng-secret"
    cases = {
        postgres.url("postgres", password=wrong): "password authentication failed",
        postgres.url("nothing", password=None).replace("tester@", f"tester:{wrong}@"): "failed",
        postgres.url("missing"): "createdb makes one",
        postgres.url("postgres").replace(f":{postgres.port}/", ":9/"): "refused",
        postgres.url("postgres").replace("127.0.0.1", "no.such.host.invalid"): "resolve",
        postgres.url("postgres"): "There is no store at",
        f"{postgres.url('postgres')}?sslmode=nonsense": "sslmode",
    }
    for url, said in cases.items():
        with pytest.raises((ArgumentError, DataError), match=said) as raised:
            open_store(url)
        text = "".join(traceback.format_exception(raised.value))
        for secret in (PASSWORD, "w%40rd", wrong, "wr@ng"):
            assert secret not in text


def test_nothing_a_store_says_holds_the_password(store, few_runs, tmp_path):
    store.add_runs(few_runs())
    store.export(tmp_path / "out")
    said = [repr(store), str(store.address), store.name, repr(store._registry.where)]
    said += [str(store.runs().attrs), store.table().to_csv(), str(store._registry._engine)]
    said += [path.read_text() for path in (tmp_path / "out").iterdir()]
    said += [path.read_text() for path in store.root.iterdir() if path.is_file()]
    for text in said:
        assert "w@rd" not in text
        assert "w%40rd" not in text


# -- a server that goes -----------------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True])
def test_a_restarted_server_is_found_again(store, postgres, few_runs, kill):
    store.add_runs(few_runs())
    writer = store.start_run("a", family="f")
    writer.append(step=0, train_loss=1.0)
    store.revision()
    postgres.stop(kill=kill)
    waited = threading.Thread(target=lambda: writer.append(step=1, train_loss=0.9))
    waited.start()  # a training run goes on once the server is back
    waited.join(0.3)
    assert waited.is_alive()
    postgres.start()
    waited.join()
    writer.heartbeat()
    writer.finish()
    assert store.consolidate() == 1
    assert store.runs(where=["run_id=a"])["step"].to_numpy().tolist() == [0, 1]
    assert store.check() == ()


def test_a_server_that_stays_away_is_said_in_time(store, postgres, monkeypatch):
    writer = store.start_run("a", family="f")
    monkeypatch.setattr(postgres_module, "WRITER_PATIENCE", 0.3)
    monkeypatch.setattr(postgres_module, "READER_PATIENCE", 0.1)
    postgres.stop()
    try:
        for call in (lambda: writer.append(step=0, train_loss=1.0), store.revision, store.runs):
            began = time.monotonic()
            with pytest.raises(DataError, match="Look whether the server runs"):
                call()
            assert time.monotonic() - began < 5
    finally:
        postgres.start()
    writer.append(step=1, train_loss=0.5)
    assert steps(store) == [1]


class Cut:
    """Break the connection where a write is committed: before the server has it, or after."""

    def __init__(self, store, monkeypatch, *, kept, times=1):
        self.left = times
        dialect = store._registry._engine.dialect
        commit, execute = dialect.do_commit, dialect.do_execute

        def cut(connection, work):
            if not self.left or connection.read_only:
                return work()
            self.left -= 1
            if kept:
                work()
            connection.close()
            msg = "server closed the connection unexpectedly"
            raise psycopg.OperationalError(msg)

        def cut_commit(fairy):
            return cut(fairy.dbapi_connection, lambda: commit(fairy))

        def cut_execute(cursor, *rest):
            if not cursor.connection.autocommit:
                return execute(cursor, *rest)
            return cut(cursor.connection, lambda: execute(cursor, *rest))

        monkeypatch.setattr(dialect, "do_commit", cut_commit)
        monkeypatch.setattr(dialect, "do_execute", cut_execute)


@pytest.mark.parametrize("kept", [False, True])
def test_an_append_whose_commit_was_cut_is_there_once(store, monkeypatch, sql, kept):
    writer = store.start_run("a", family="f")
    for step in range(70):  # a folded batch among them
        with monkeypatch.context() as patched:
            cut = Cut(store, patched, kept=kept)
            writer.append(step=step, train_loss=1.0 / (1 + step))
            assert cut.left == 0
    assert steps(store) == list(range(70))
    ((rows, first, last),) = sql(store, "select count(*), min(sequence), max(sequence) from points")
    assert (rows, last) == (1 + (70 - first) // 64 + (70 - first) % 64, 70)
    assert store.check() == ()


@pytest.mark.parametrize("kept", [False, True])
def test_an_append_given_up_is_neither_mixed_up_nor_doubled(store, monkeypatch, kept):
    writer = store.start_run("a", family="f")
    writer.append(step=0, train_loss=3.0)
    with monkeypatch.context() as patched:
        Cut(store, patched, kept=kept, times=2)
        with pytest.raises(DataError, match="Whether the last change was kept is not known"):
            writer.append(step=1, train_loss=2.0)
    # A recorder sends again what was not acknowledged, with what has come in the meantime.
    writer.append(step=[1, 2], train_loss=[2.0, 1.0])
    assert store.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.0, 1.0]
    assert store.check() == ()


@pytest.mark.parametrize("kept", [False, True])
def test_every_other_write_survives_a_cut_commit(store, monkeypatch, few_runs, kept):
    with monkeypatch.context() as patched:
        Cut(store, patched, kept=kept)
        store.plan_run("a", family="f", attributes={"tau": 0.2})
    with monkeypatch.context() as patched:
        Cut(store, patched, kept=kept)
        writer = store.start_run("a", family="f")
    writer.append(step=0, train_loss=1.0)
    with monkeypatch.context() as patched:
        Cut(store, patched, kept=kept)
        writer.heartbeat()
    with monkeypatch.context() as patched:
        Cut(store, patched, kept=kept)
        writer.finish()
    assert store.table().loc[0, ["status", "tau", "n_records"]].tolist() == ["done", 0.2, 1]
    with monkeypatch.context() as patched:
        Cut(store, patched, kept=kept)
        with pytest.raises(DataError, match="safe to ask for it again"):
            store.add_runs(few_runs())
    store.add_runs(few_runs())
    assert store.runs().sizes["run"] == 4
    assert store.check() == ()


def test_a_query_cut_in_the_middle_is_asked_again(store, monkeypatch):
    store.start_run("a", family="f").append(step=0, train_loss=1.0)
    calls = []

    def read(connection):
        calls.append(connection)
        if len(calls) == 1:
            pid = connection.exec_driver_sql("select pg_backend_pid()").scalar_one()
            with store._registry.read() as other:
                other.exec_driver_sql(f"select pg_terminate_backend({pid})")
        return connection.exec_driver_sql("select count(*) from workbench.points").scalar_one()

    assert store._registry.query(read) == 1
    assert len(calls) == 2


# -- isolation --------------------------------------------------------------------------------


def test_an_append_is_one_statement(store, monkeypatch):
    writer = store.start_run("a", family="f")
    writer.append(step=0, train_loss=2.0)
    sent, dialect = [], store._registry._engine.dialect
    execute, ping = dialect.do_execute, dialect.do_ping
    with monkeypatch.context() as patched:
        patched.setattr(dialect, "do_execute", lambda *given: (sent.append(1), execute(*given)))
        patched.setattr(dialect, "do_ping", lambda *given: (sent.append(1), ping(*given)))
        writer.append(step=1, train_loss=1.0)
    assert len(sent) == 1
    assert steps(store) == [0, 1]


def test_writers_of_different_runs_do_not_wait_for_each_other(store):
    names = ["a", next(n for n in map(str, range(99)) if shard_of(n) != shard_of("a"))]
    first, second = (store.start_run(name, family="f") for name in names)
    with store._registry.write() as connection:
        first._claim(connection)
        bump(connection, shard_of("a"))
        second.append(step=0, train_loss=1.0)  # while the other transaction is open
    assert store.table()["n_records"].tolist() == [0, 1]


def test_the_victim_of_a_deadlock_is_done_again(store):
    meet = threading.Barrier(2)

    def both(one, two):
        def work(connection, again):
            bump(connection, one)
            if not again:
                meet.wait(timeout=30)
            bump(connection, two)

        store._registry.transact(work)

    names = ("revision/1", "revision/2")
    other = threading.Thread(target=both, args=names)
    other.start()
    both(*reversed(names))
    other.join()
    assert store.revision() == 4


def test_a_process_frozen_in_a_transaction_holds_nobody_up_for_good(url, tmp_path, monkeypatch):
    monkeypatch.setattr(postgres_module, "BUSY_SECONDS", 0.3)
    store = open_store(url, create=True, curves=str(tmp_path / "c"))
    other = open_store(url)

    def frozen():
        with other._registry.write() as connection:
            bump(connection, "revision")
            time.sleep(1.0)

    with pytest.raises(DataError, match="cannot be used"):
        frozen()
    store.start_run("a", family="f")
    for opened in (store, other):
        opened.close()


def test_a_long_foreign_lock_is_one_paragraph(url, tmp_path, monkeypatch):
    monkeypatch.setattr(postgres_module, "BUSY_SECONDS", 0.3)
    store = open_store(url, create=True, curves=str(tmp_path / "c"))
    with psycopg.connect(url) as holder:
        holder.execute("select * from workbench.meta for update")
        with pytest.raises(DataError, match="Another process is holding a long write"):
            store.start_run("a", family="f")
    store.start_run("a", family="f")
    store.close()


def test_the_clock_is_that_of_the_server(store, sql, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e6)  # a machine whose clock is decades behind
    writer = store.start_run("a", family="f")
    writer.append(step=0, train_loss=1.0)
    ((heartbeat, now),) = sql(
        store, "select heartbeat, extract(epoch from clock_timestamp()) from runs"
    )
    assert abs(heartbeat - float(now)) < 60
    assert store.table()["lost"].tolist() == [False]


def test_numbers_come_back_to_the_last_bit(store):
    values = np.array([np.pi, 5e-324, 1.7976931348623157e308, -0.0, np.nan, 1e-9])
    writer = store.start_run("é\u4e2d", family="f", attributes={"tau": 0.1, "text": "ä\u0001b"})
    writer.append(step=2**50 + np.arange(6), train_loss=values)
    writer.finish()
    for _ in range(2):
        found = store.runs()
        np.testing.assert_array_equal(found["train_loss"], values)
        assert found["tau"].item() == 0.1
        assert found["text"].item() == "ä\u0001b"
        assert found["step"].to_numpy()[-1] == 2**50 + 5
        store.consolidate()
