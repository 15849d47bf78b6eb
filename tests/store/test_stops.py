from __future__ import annotations

import sqlite3

import pytest

from workbench.errors import ArgumentError, DataError
from workbench.store import open_store


@pytest.fixture
def store(new_address):
    opened = open_store(new_address(), create=True)
    for name in ("a", "b"):
        opened.plan_run(name, family="f")
    yield opened
    opened.close()


def test_a_decision_stands_until_it_is_withdrawn(store):
    assert store.stops.reasons() == {}
    assert store.stops.decide("a", reason=" diverged ") == "planned"
    store.start_run("b", family="f")
    assert store.stops.decide("b", reason="behind") == "running"
    again = open_store(store.address)
    assert again.stops.reasons() == {"a": "diverged", "b": "behind"}
    assert again.stops.reasons(["b", "c"]) == {"b": "behind"}
    again.close()
    assert store.stops.withdraw("a")
    assert not store.stops.withdraw("a")
    assert store.stops.reasons() == {"b": "behind"}


def test_a_later_decision_replaces_the_reason(store):
    store.stops.decide("a", reason="first")
    store.stops.decide("a", reason="second")
    assert store.stops.reasons() == {"a": "second"}


def test_what_cannot_be_decided(store):
    store.start_run("b", family="f").finish()
    with pytest.raises(DataError, match="'b' is done; there is nothing left to stop"):
        store.stops.decide("b", reason="late")
    for call in (lambda: store.stops.decide("c", reason="x"), lambda: store.stops.withdraw("c")):
        with pytest.raises(DataError, match="There is no run 'c' in this store"):
            call()
    for reason in ("", "  ", "two\nlines"):
        with pytest.raises(ArgumentError, match="reason must be printable"):
            store.stops.decide("a", reason=reason)
    assert store.stops.reasons() == {}


def test_a_registry_of_version_2_is_brought_up_to_date(tmp_path):
    store = open_store(tmp_path / "runs", create=True)
    store.plan_run("a", family="f")
    store.close()
    old = sqlite3.connect(tmp_path / "runs" / "registry.sqlite")
    old.executescript("drop table stops; update meta set value = 2 where key = 'schema_version';")
    old.close()
    store = open_store(tmp_path / "runs")
    store.stops.decide("a", reason="old store")
    assert store.stops.reasons() == {"a": "old store"}
    store.close()


def test_a_registry_of_version_2_on_a_server_too(postgres, tmp_path):
    database = postgres.make_database()
    store = open_store(f"{postgres.url(database)}?curves={tmp_path / 'curves'}", create=True)
    store.plan_run("a", family="f")
    store.close()
    for statement in (
        "drop table workbench.stops",
        "update workbench.meta set value = 2 where key = 'schema_version'",
    ):
        postgres.sql(statement, database=database)
    store = open_store(postgres.url(database))
    store.stops.decide("a", reason="old store")
    assert store.stops.reasons() == {"a": "old store"}
    store.close()
    postgres.drop_database(database)
