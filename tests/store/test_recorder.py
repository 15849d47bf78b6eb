from __future__ import annotations

import time

import numpy as np
import pytest

from workbench.errors import ArgumentError, DataError
from workbench.store import Recorder, open_store, recorder


def status_of(store, run_id):
    return store.table().set_index("run_id").loc[run_id, "status"]


def test_three_lines_record_a_run(new_address):
    address = new_address()
    with Recorder(address, family="mine", model_size=1e6, total_steps=3) as rec:
        for step in range(3):
            rec.log(step, train_loss=3.0 - step, tokens=step * 64)
        rec.log(2, eval_loss=1.25)
    runs = open_store(address).runs()
    assert runs["train_loss"].to_numpy().tolist() == [3.0, 2.0, 1.0]
    assert runs["eval_loss"].to_numpy()[2] == 1.25
    assert runs["status"].item() == "done"
    assert runs["run_id"].item() == rec.run_id
    assert rec.run_id.startswith("mine-")


def test_flush_acknowledges(store):
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, train_loss=1.0)
        rec.flush()
        assert store.runs().sizes["obs"] == 1
        assert status_of(store, "a") == "running"


def test_points_reach_the_store_without_another_call(store, monkeypatch):
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.01)
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, train_loss=1.0)
        deadline = time.monotonic() + 30
        while not store.runs().sizes["obs"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store.runs().sizes["obs"] == 1


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError, "failed"), (KeyboardInterrupt, "stopped")]
)
def test_an_exception_ends_the_run_and_keeps_its_points(store, error, status):
    def train():
        with Recorder(store, family="f", run_id="a") as rec:
            rec.log(0, train_loss=1.0)
            raise error

    with pytest.raises(error):
        train()
    assert status_of(store, "a") == status
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0]
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(1, train_loss=0.5)
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]
    assert status_of(store, "a") == "done"


def test_bad_values_fail_at_the_call_and_the_rest_is_kept(store):
    with Recorder(store, family="f", run_id="a") as rec:
        rec.log(0, train_loss=1.0)
        for step, values in ((1, {"train_loss": "x"}), (1, {"seed": 1.0}), (-1, {"loss": 1.0})):
            with pytest.raises(ArgumentError):
                rec.log(step, **values)
        rec.log(1, train_loss=0.5)
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]


def test_a_recorder_that_was_taken_over_says_so(store):
    first = Recorder(store, family="f", run_id="a")
    first.log(0, train_loss=1.0)
    first.flush()
    with Recorder(store, family="f", run_id="a") as second:
        first.log(1, train_loss=9.0)
        with pytest.raises(DataError, match="may not write any more"):
            first.flush()
        with pytest.raises(DataError, match="may not write any more"):
            first.close()
        second.log(1, train_loss=0.5)
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0, 0.5]


def test_logging_costs_microseconds(store):
    times = []
    with Recorder(store, family="f", run_id="a") as rec:
        for step in range(2000):
            start = time.perf_counter()
            rec.log(step, train_loss=1.0, tokens=step)
            times.append(time.perf_counter() - start)
    assert np.median(times) < 1e-4
    assert store.runs().sizes["obs"] == 2000


def test_closing_twice_is_harmless(store):
    rec = Recorder(store, family="f", run_id="a")
    rec.log(0, train_loss=1.0)
    rec.close()
    rec.close()
    assert status_of(store, "a") == "done"
