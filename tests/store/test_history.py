"""Time travel: earlier generations, by number, snapshot and time."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from workbench.errors import ArgumentError, DataError
from workbench.schema import run_names
from workbench.store import open_store
from workbench.store.history import find
from workbench.store.tier import Generation


def test_a_new_store_has_no_history(store):
    assert store.history() == []
    with pytest.raises(DataError, match="keeps none yet"):
        store.runs(at=1)


def test_an_earlier_state_is_read_by_number_snapshot_and_time(store, few_runs):
    store.add_runs(few_runs(2))
    writer = store.start_run("live", family="f", attributes={"width": 8})
    writer.append(step=[0, 1], train_loss=[2.0, 1.0])
    writer.finish("stopped")
    store.consolidate()
    first, second = store.history()
    assert [first.generation, second.generation] == [1, 2]
    assert [first.n_runs, second.n_runs] == [2, 3]
    assert first.time <= second.time <= datetime.now(UTC)
    names = {
        at: run_names(store.runs(at=at))
        for at in (1, "1", np.int64(2), first.time, second.time.isoformat())
    }
    assert names[1] == names["1"] == names[first.time] == ["r0", "r1"]
    assert set(names[2]) == set(names[second.time.isoformat()]) == {"r0", "r1", "live"}
    later = (second.time + timedelta(days=1)).replace(tzinfo=None)  # without an offset: UTC
    assert store.runs(at=later).sizes["run"] == 3
    if first.snapshot is not None:
        assert run_names(store.runs(at=first.snapshot)) == ["r0", "r1"]
    assert "generation 1" in store.runs(at=1).attrs["history"]


def test_an_earlier_state_is_filtered_as_it_was(store, few_runs):
    store.add_runs(few_runs(2))
    store.add_runs(few_runs(2, width=[8, 16]))
    assert run_names(store.runs(at=2, where=["width=16"])) == ["r1"]
    with pytest.raises(ArgumentError, match="Unknown run coordinate 'width'"):
        store.runs(at=1, where=["width=16"])
    assert run_names(store.runs(at=1, status="done")) == ["r0", "r1"]
    table = store.table(at=1).set_index("run_id")
    assert "width" not in table
    now = store.table().set_index("run_id")
    for name in ("last_step", "n_records", "final_train_loss", "note", "status"):
        assert table.loc["r1", name] == now.loc["r1", name]


def test_live_points_are_not_part_of_the_past(store, few_runs):
    store.add_runs(few_runs(1))
    writer = store.start_run("live", family="f")
    writer.append(step=0, train_loss=1.0)
    assert run_names(store.runs(at=1)) == ["r0"]
    assert set(run_names(store.runs())) == {"r0", "live"}


def test_a_run_resumed_later_is_there_as_it_was(store):
    first = store.start_run("a", family="f")
    first.append(step=[0, 1], train_loss=[3.0, 2.0])
    first.finish("failed")
    store.consolidate()
    second = store.start_run("a", family="f")
    second.append(step=[1, 2], train_loss=[2.5, 1.0])
    second.finish("done")
    store.consolidate()
    assert store.runs(at=1)["train_loss"].to_numpy().tolist() == [3.0, 2.0]
    assert store.runs(at=1)["status"].item() == "failed"
    assert store.runs(at=2)["train_loss"].to_numpy().tolist() == [3.0, 2.5, 1.0]


def test_a_folder_keeps_two_generations_and_says_which(folder_store, few_runs):
    for i in range(3):
        folder_store.add_runs(few_runs(1, prefix=f"p{i}-"))
    assert [entry.generation for entry in folder_store.history()] == [2, 3]
    with pytest.raises(DataError, match=r"Generation 1 is not kept in .* generation 2 to 3"):
        folder_store.runs(at=1)
    with pytest.raises(DataError, match="No generation published until 2001-01-01"):
        folder_store.runs(at="2001-01-01")
    with pytest.raises(DataError, match="Generation 4 is not kept"):
        folder_store.table(at="4")


@pytest.mark.parametrize("at", ["yesterday", "", "2026-13-01", 1.5, True, "abc"])
def test_what_is_no_moment_is_refused(folder_store, few_runs, at):
    folder_store.add_runs(few_runs(1))
    with pytest.raises(ArgumentError, match="is no moment of a store"):
        folder_store.runs(at=at)


def test_a_time_between_generations_means_the_one_before():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    kept = [Generation(n, noon + timedelta(hours=n), n, f"SNAP{n}") for n in (4, 5, 6)]
    assert find(kept, "2026-03-01T17:30", place="s").generation == 5
    assert find(kept, "2026-03-01T18:30+02:00", place="s").generation == 4
    assert find(kept, "SNAP6", place="s").generation == 6
    with pytest.raises(DataError, match="SNAP7 is not kept"):
        find(kept, "SNAP7", place="s")


def test_a_generation_removed_while_it_is_read_is_an_error(folder_store, few_runs, monkeypatch):
    store = folder_store
    for i in range(2):
        store.add_runs(few_runs(1, prefix=f"p{i}-"))
    read = store._curves.open

    def overtaken(*which):
        opened = read(*which)
        open_store(store.address).add_runs(few_runs(1, prefix="new"))
        return opened

    monkeypatch.setattr(store._curves, "open", overtaken)
    with pytest.raises(DataError, match="removed while it was read"):
        store.runs(at=1)


def test_times_rise_even_when_the_clock_goes_back(store, few_runs, monkeypatch):
    store.add_runs(few_runs(1, prefix="a"))
    monkeypatch.setattr("workbench.store.history.time.time", lambda: 1e9)
    store.add_runs(few_runs(1, prefix="b"))
    first, second = store.history()
    assert first.time == second.time
    assert store.runs(at=second.time).sizes["run"] == 2


def test_a_registry_of_version_1_is_brought_up_to_date(local_store, few_runs):
    local_store.add_runs(few_runs(2))
    local_store.close()
    old = sqlite3.connect(local_store.root / "registry.sqlite")
    old.executescript(
        "drop table facts; drop table generations; drop table stops;"
        "delete from meta where key like 'revision/%'; alter table runs drop column folded;"
        "update meta set value = 1 where key = 'schema_version';"
    )
    old.close()
    store = open_store(local_store.address)
    assert [(entry.generation, entry.n_runs) for entry in store.history()] == [(1, 2)]
    assert store.runs(at=1).sizes["run"] == 2
    assert store.add_runs(few_runs(3)).added == ("r2",)
    assert store.check() == ()
