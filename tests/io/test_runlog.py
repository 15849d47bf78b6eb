from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import DataError
from workbench.io.runlog import RunLog, parsed, usable_name
from workbench.schema import conform, record_names


@pytest.fixture
def log():
    return RunLog("r", source="a.log")


def test_each_column_keeps_the_value_logged_last(log):
    log.add(2, {"train_loss": 5.0, "eval_loss": 4.0})
    log.add(1, {"train_loss": 6.0})
    log.add(2, {"train_loss": 3.0})
    records = log.records()
    assert records["step"].tolist() == [1, 2]
    assert records["train_loss"].tolist() == [6, 3]
    np.testing.assert_array_equal(records["eval_loss"], [np.nan, 4])
    (note,) = log.remarks()
    assert note.startswith("a.log: 1 value of 'r' logged again")


def test_nan_is_a_value_and_replaces_an_earlier_number(log):
    log.add(1, {"train_loss": 2.0})
    log.add(1, {"train_loss": float("nan")})
    assert np.isnan(log.records()["train_loss"]).tolist() == [True]


@pytest.mark.parametrize("step", [None, float("nan"), float("inf"), -1, 0.5, 2.0**53])
def test_unusable_steps_are_counted_not_guessed(log, step):
    log.add(step, {"train_loss": 1.0})
    log.add_series("eval_loss", [np.nan if step is None else step, 3], [9.0, 2.0])
    assert log.records()["step"].tolist() == [3]
    assert sum("left out 1 record" in note for note in log.remarks()) == 2


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(allow_nan=False)), max_size=40))
def test_series_and_single_values_are_the_same(points):
    single, series = (RunLog("r", source="s") for _ in range(2))
    for step, value in points:
        single.add(step, {"train_loss": value})
    series.add_series("train_loss", [s for s, _ in points], [v for _, v in points])
    expected = dict(points)
    for log in (single, series):
        found = log.records()
        losses = found.get("train_loss", np.empty(0))
        assert dict(zip(found["step"].tolist(), losses.tolist(), strict=True)) == expected


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 5), max_size=8)))
def test_columns_logged_together_and_apart_share_their_steps(columns):
    log = RunLog("r", source="s")
    for name, steps in columns.items():
        log.add_series(name, np.array(steps, np.int64), np.arange(len(steps)))
    records = log.records()
    assert records.pop("step").tolist() == sorted(set().union(*columns.values()))
    for name, steps in columns.items():
        last = {step: i for i, step in enumerate(steps)}
        values = [last.get(step, np.nan) for step in sorted(set().union(*columns.values()))]
        np.testing.assert_array_equal(records[name], values)


@pytest.mark.parametrize("kind", [np.int8, np.uint64, np.int64, np.float32, np.float64])
def test_steps_of_any_type_are_taken_exactly(log, kind):
    log.add_series("train_loss", np.array([0, 5, 100], kind), [1, 2, 3])
    assert log.records()["step"].tolist() == [0, 5, 100]
    most = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else np.inf
    log.add_series("train_loss", np.array([most, 6], kind), [4, 5])
    assert log.records()["step"].tolist() == [0, 5, 6, 100] + [127] * (kind is np.int8)


def test_columns_get_the_names_of_the_schema_once(log):
    log.add(1, {"loss": 1.0, "train/loss": 2.0, "val/ppl": 3.0, "obs": 4.0, "_step": 5.0})
    records = log.records()
    assert records["train_loss"].tolist() == [1]
    assert records["train_loss_"].tolist() == [2]
    assert {"step", "train_loss", "val_ppl", "obs_"} <= set(records)
    assert not any("/" in name for name in records)


def test_settings_yield_to_columns_and_are_kept(log):
    log.settings |= {"epoch": 3, "lr": 1e-3, "none": None, "nan": float("nan"), "flag": True}
    log.add(1, {"train_loss": 1.0, "epoch": 0.5})
    runs = conform(parsed([log]).runs)
    assert runs["run_epoch"].item() == 3
    assert runs["peak_lr"].item() == 1e-3
    assert runs["flag"].item() == 1
    assert "epoch" in record_names(runs)
    assert not {"none", "nan"} & set(map(str, runs.variables))


def test_runs_without_a_record_are_named_and_all_empty_is_an_error(log):
    with pytest.raises(DataError, match=r"a.log holds no record"):
        parsed([log])
    full = RunLog("full", source="a.log")
    full.add(0, {"train_loss": 1.0})
    (skipped,) = parsed([log, full]).skipped
    assert skipped == {"source": "a.log: r", "reason": "it has no record"}


@given(st.text())
def test_names_from_outside_become_usable(name):
    plain = usable_name(name)
    assert plain
    assert "/" not in plain
    assert plain not in ("run", "obs", "row_size", ".", "..")
