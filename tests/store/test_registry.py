"""What every registry promises, whichever database keeps it."""

from __future__ import annotations

import os
import threading

import pytest

from workbench.errors import DataError
from workbench.store import open_store
from workbench.store.registry import bump, revision_of, shard_of, value_of


@pytest.fixture
def opened(store):
    return store._registry


def revision(opened):
    with opened.read() as connection:
        return revision_of(connection)


def test_an_error_in_a_transaction_undoes_it(opened):
    def fail():
        with opened.write() as connection:
            bump(connection, "revision")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert revision(opened) == 0


def test_a_reader_keeps_its_moment_while_others_write(opened):
    with opened.read() as reading:
        assert revision_of(reading) == 0
        with opened.write() as writing:
            bump(writing, shard_of("a"))
        assert revision_of(reading) == 0
    assert revision(opened) == 1


def test_counters_raised_by_many_at_once_lose_no_step(opened):
    def raise_both():
        for _ in range(20):
            with opened.write() as connection:
                value_of(connection, "generation", lock=True)
                bump(connection, "revision")
                bump(connection, shard_of("a"))

    threads = [threading.Thread(target=raise_both) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert revision(opened) == 160


def test_a_run_that_is_ending_is_not_started_again(store):
    writer = store.start_run("a", family="f")
    other = open_store(store.address)
    began, said = threading.Event(), []

    def resume():
        began.set()
        try:
            other.start_run("a", family="f")
        except DataError as error:
            said.append(str(error))

    thread = threading.Thread(target=resume)
    with store._registry.write() as connection:
        writer._claim(connection, status="done")
        thread.start()
        began.wait()
        thread.join(0.3)  # it can only wait for this transaction
        assert thread.is_alive()
    thread.join()
    assert said == [
        "Run 'a' is done; its curve cannot be added to. Use another run_id, or read it with "
        "Store.runs()."
    ]
    other.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it only writes and exits
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_opens_connections_of_its_own(opened):
    assert revision(opened) == 0
    assert opened._live_engine().pool.checkedin() == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert opened._live_engine().pool.checkedin() == 0  # none of the parent's
            with opened.write() as connection:
                bump(connection, "revision")
            opened.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert opened._live_engine().pool.checkedin() == 1
    assert revision(opened) == 1
