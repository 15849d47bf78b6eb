from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import ArgumentError, DataError
from workbench.store.writer import FOLD_EVERY


def test_points_are_readable_as_soon_as_append_returns(store):
    writer = store.start_run("a", family="f", attributes={"N": 10, "wd": 0.1, "seed": np.int64(3)})
    writer.append(step=0, loss=2.0)
    writer.append(step=[1, 2], loss=[1.5, 1.0], val_loss=[np.nan, 1.1])
    runs = store.runs()
    assert runs["train_loss"].to_numpy().tolist() == [2.0, 1.5, 1.0]
    assert runs["eval_loss"].to_numpy()[2] == 1.1
    assert runs["model_size"].item() == 10
    assert runs["weight_decay"].item() == 0.1
    assert runs["status"].item() == "running"


def test_a_new_attempt_fences_the_old_one_out(store):
    first = store.start_run("a", family="f", attributes={"total_steps": 4})
    first.append(step=[0, 1, 2], train_loss=[4.0, 3.0, 2.0], grad_norm=[1.0, 1.0, 1.0])
    second = store.start_run("a", family="f", attributes={"note": "resumed"})
    assert (second.attempt, second.token > first.token) == (2, True)
    for call in (
        lambda: first.append(step=3, train_loss=9.0),
        first.heartbeat,
        lambda: first.finish("done"),
    ):
        with pytest.raises(DataError, match="Attempt 1 of run 'a' may not write any more"):
            call()
    second.append(step=[2, 3], train_loss=[2.5, 1.5])
    runs = store.runs()
    assert runs["train_loss"].to_numpy().tolist() == [4.0, 3.0, 2.5, 1.5]
    np.testing.assert_array_equal(runs["grad_norm"].to_numpy(), [1, 1, np.nan, np.nan])
    assert runs["note"].item() == "resumed"
    assert runs["total_steps"].item() == 4


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_an_unfinished_run_is_resumed_over_its_consolidated_part(store, status):
    first = store.start_run("a", family="f")
    first.append(step=[0, 1, 2], train_loss=[4.0, 3.0, 2.0])
    first.finish(status)
    assert store.consolidate() == 1
    second = store.start_run("a", family="f")
    assert store.table().loc[0, ["status", "n_records"]].tolist() == ["running", 3]
    second.append(step=[2, 3], train_loss=[2.5, 1.5])
    assert store.runs()["train_loss"].to_numpy().tolist() == [4.0, 3.0, 2.5, 1.5]
    assert store.table().loc[0, ["last_step", "n_records"]].tolist() == [3, 4]
    second.finish()
    assert store.consolidate() == 1
    assert store.runs()["train_loss"].to_numpy().tolist() == [4.0, 3.0, 2.5, 1.5]
    assert store.check() == ()


def test_a_done_run_is_closed(store):
    writer = store.start_run("a", family="f")
    writer.finish()
    with pytest.raises(DataError, match="may not write any more: the run is 'done'"):
        writer.append(step=0, train_loss=1.0)
    with pytest.raises(DataError, match="Run 'a' is done"):
        store.start_run("a", family="f")
    with pytest.raises(ArgumentError, match="a run ends as done, stopped, failed"):
        writer.finish("over")


def test_losses_of_one_step_logged_apart_become_one_record(store):
    writer = store.start_run("a", family="f")
    writer.append(step=5, train_loss=2.0)
    writer.append(step=5, eval_loss=2.1)
    writer.append(step=4, train_loss=3.0)
    runs = store.runs()
    assert runs["step"].to_numpy().tolist() == [4, 5]
    assert runs["train_loss"].to_numpy().tolist() == [3.0, 2.0]
    assert runs["eval_loss"].to_numpy()[1] == 2.1


def test_long_runs_are_folded_into_few_rows(store, sql):
    writer = store.start_run("a", family="f")
    count = 3 * FOLD_EVERY + 5
    for step in range(count):
        writer.append(step=step, train_loss=1.0 / (1 + step))
    ((rows, first),) = sql(store, "select count(*), min(sequence) from points")
    folded = 1 + (count - first) // FOLD_EVERY  # each run has its turn, so that they do not meet
    assert first <= FOLD_EVERY
    assert rows == folded + (count - first) % FOLD_EVERY
    runs = store.runs()
    assert runs["step"].to_numpy().tolist() == list(range(count))
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), 1.0 / (1 + np.arange(count)))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({"step": -1, "train_loss": 1.0}, "step must be whole numbers"),
        ({"step": 1.5, "train_loss": 1.0}, "step must be whole numbers"),
        ({"step": "one", "train_loss": 1.0}, "step must be whole numbers"),
        ({"step": [1, 2], "train_loss": [1.0]}, "1 values for 2 steps"),
        ({"step": 1, "train_loss": "low"}, "'train_loss' must hold numbers, found 'low'"),
        ({"step": 1, "seed": 3}, "one value a run"),
        ({"step": 1, "loss": 3, "train_loss": 4}, "given twice"),
    ],
)
def test_bad_points_are_refused_and_nothing_is_written(store, points, said):
    writer = store.start_run("a", family="f")
    before = store.revision()
    with pytest.raises(ArgumentError, match=said):
        writer.append(**points)
    assert store.revision() == before


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"train_loss": 1.0}, "name is taken"),
        ({"status": "done"}, "name is taken"),
        ({"betas": (0.9, 0.95)}, "is a tuple; the store keeps numbers and text"),
        ({"tau": float("inf")}, "is infinite"),
        ({"tau": "small"}, "is a number, found the text 'small'"),
    ],
)
def test_bad_hyperparameters_are_refused(store, attributes, said):
    with pytest.raises(ArgumentError, match=said):
        store.start_run("a", family="f", attributes=attributes)
    with pytest.raises(ArgumentError, match="run_id must be"):
        store.start_run(" ", family="f")
    assert len(store.table()) == 0


def test_a_column_with_a_slash_is_kept_when_the_run_is_consolidated(store):
    writer = store.start_run("a", family="f")
    writer.append(step=[1, 2], train_loss=[2.0, 1.0], **{"val/acc": [0.1, 0.2]})
    writer.finish()
    store.consolidate()
    assert store.runs()["val_acc"].to_numpy().tolist() == [0.1, 0.2]
    nested = store.runs().rename(val_acc="val/acc").assign_coords(run_id=("run", ["b"]))
    with pytest.raises(DataError, match="'val/acc' cannot be kept"):
        store.add_runs(nested)
    assert store.check() == ()
