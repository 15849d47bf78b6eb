"""Many processes, some of them killed: nothing acknowledged is lost, all of it is consistent."""

from __future__ import annotations

import os

import numpy as np
import pytest

from workbench.schema import iter_runs, run_names
from workbench.store import open_store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def value(run, step):
    return run + 1 / (1 + step)


def check_values(runs):
    for name, one in iter_runs(runs):
        expected = value(int(name.removeprefix("r")), one["step"].to_numpy())
        np.testing.assert_array_equal(one["train_loss"].to_numpy(), expected)


def test_killed_writers_lose_no_acknowledged_point(new_address, run_process):
    address = new_address()
    store = open_store(address, create=True)
    done = run_process("kill_writers", address, rounds=20)["acknowledged"]
    runs = open_store(address).runs()
    assert len(done) > 20
    assert set(done) <= set(runs["step"].to_numpy().tolist())
    expected = value(0, runs["step"].to_numpy())
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), expected)
    assert store.check() == ()


def test_killed_recorders_keep_what_flush_returned_for(new_address, run_process):
    address = new_address()
    store = open_store(address, create=True)
    done = run_process("kill_recorders", address, rounds=10)["acknowledged"]
    runs = store.runs()
    check_values(runs)
    last = {name: int(one["step"].max()) for name, one in iter_runs(runs)}
    assert any(step >= 0 for step in done.values())
    assert all(last.get(f"r{run}", -1) >= step for run, step in done.items())
    assert store.check() == ()


def test_killed_consolidations_leave_a_sound_store(new_address, run_process):
    address = new_address()
    store = open_store(address, create=True)
    result = run_process("kill_consolidations", address, rounds=20)
    assert store.check() == ()
    runs = store.runs()
    assert runs.sizes == {"run": 20, "obs": 20 * 200}
    check_values(runs)
    store.consolidate()
    assert store.check() == ()
    check_values(store.runs())
    assert store.runs().sizes == {"run": 20, "obs": 20 * 200}
    assert result["finished"] < 20  # some were cut short, or this shows nothing


def test_eight_writers_at_once_make_one_store(new_address, run_process):
    address = new_address()
    assert run_process("write_together", address, rounds=40)["exits"] == [0] * 8
    store = open_store(address)
    runs = store.runs(status="done")
    assert runs.sizes == {"run": 8, "obs": 8 * 40}
    check_values(runs)
    assert store.check() == ()


def test_four_consolidators_at_once_lose_nothing_and_move_nothing_twice(new_address, run_process):
    address = new_address()
    store = open_store(address, create=True)
    result = run_process("consolidate_together", address, rounds=8)
    assert result["exits"] == [0] * 4
    assert sum(result["moved"]) == 32  # each run was moved by one of them
    runs = store.runs()
    assert sorted(run_names(runs)) == sorted(f"r{number}" for number in range(32))
    assert runs.sizes["obs"] == 32 * 50
    check_values(runs)
    assert store.check() == ()
    numbers = [entry.generation for entry in store.history()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert store.history()[-1].n_runs == 32


def test_a_reader_sees_whole_curves_that_only_grow(new_address, start_process):
    address = new_address()
    store = open_store(address, create=True)
    seen, revision, reads = 0, -1, 0
    with start_process("write_and_publish", address, rounds=6) as process:
        while process.poll() is None:
            if store.revision() == revision:
                continue
            revision = store.revision()
            runs = store.runs()
            check_values(runs)
            assert runs.sizes["obs"] >= seen
            seen, reads = runs.sizes["obs"], reads + 1
    assert process.returncode == 0
    assert reads > 3
    assert store.runs().sizes == {"run": 6, "obs": 600}
    assert store.check() == ()


def test_kills_of_every_kind_with_readers_lose_and_tear_nothing(new_address, run_process):
    counts = run_process("kill_at_random", new_address(), rounds=9, seed=3)
    killed = sum(count for name, count in counts.items() if name.startswith("killed_"))
    assert killed + counts["survived"] == 9
    assert killed > 3
    assert counts["reads"] > 3
    assert counts["acknowledged_points"] > 1000
    assert counts["lost"] == counts["reading_failed"] == counts["unrepairable"] == []
