from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.io import read
from workbench.schema import run_names


def write(path, *rows, end="\n"):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.jsonl"


def test_records_settings_and_nested_values(log):
    write(
        log,
        {"config": {"lr": 3e-4, "max_steps": 10, "model": {"n_layer": 4}}, "seed": 1},
        {"step": 1, "loss": 3.5, "lr": 1e-4, "grad": {"norm": 0.5}, "time": {"fwd": 2}},
        {"step": 2, "loss": "NaN", "grad": {"norm": float("nan")}, "val": {"loss": 3.25}},
        {"summary": True, "best": 3.25},
    )
    result = read(log)
    runs = result.runs
    assert result.report.imported == ({"run_id": "log", "records": 2, "format": "jsonl"},)
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), [3.5, np.nan])
    np.testing.assert_array_equal(runs["eval_loss"].to_numpy(), [np.nan, 3.25])
    np.testing.assert_array_equal(runs["grad_norm"].to_numpy(), [0.5, np.nan])
    np.testing.assert_array_equal(runs["time_fwd"].to_numpy(), [2, np.nan])
    assert runs["peak_lr"].item() == 3e-4
    assert runs["total_steps"].item() == 10
    assert runs["depth"].item() == 4
    assert runs["seed"].item() == 1
    assert runs["best"].item() == 3.25


@pytest.mark.parametrize("key", ["step", "iter", "global_step", "Iteration", "_step"])
def test_the_step_goes_by_many_names(log, key):
    write(log, {key: 3, "train_loss": 1.5})
    assert read(log).runs["step"].to_numpy().tolist() == [3]


def test_the_optimisers_counter_is_the_axis_and_not_the_trackers(log):
    write(
        log,
        {"_step": 0, "trainer/global_step": 100, "train/loss": 3},
        {"_step": 1, "system/gpu": 0.5},
        {"_step": 2, "trainer/global_step": 200, "train/loss": 2},
    )
    result = read(log)
    assert result.runs["step"].to_numpy().tolist() == [100, 200]


@pytest.mark.parametrize("word", ["val", "eval", "validation"])
def test_lines_of_validation_told_apart_by_a_key(log, word):
    write(
        log,
        {"split": "train", "step": 10, "loss": 3.0},
        {"split": word, "step": 10, "loss": 3.5},
        {"split": "train", "step": 20, "loss": 2.0},
    )
    result = read(log)
    np.testing.assert_array_equal(result.runs["train_loss"].to_numpy(), [3.0, 2.0])
    np.testing.assert_array_equal(result.runs["eval_loss"].to_numpy(), [3.5, np.nan])
    assert not any("restart" in note for note in result.report.notes)


def test_several_runs_in_one_file(log):
    write(
        log,
        {"batch_tokens": 512},
        {"run_id": "a", "lr": 0.1, "event": "start"},
        {"run_id": "a", "step": 1, "loss": 3},
        {"run_id": 7, "step": 1, "loss": 2},
        {"run_id": "a", "step": 2, "loss": 1},
    )
    runs = read(log).runs
    assert run_names(runs) == ["a", "7"]
    assert runs["row_size"].to_numpy().tolist() == [2, 1]
    np.testing.assert_array_equal(runs["peak_lr"].to_numpy(), [0.1, np.nan])
    assert runs["batch_size"].to_numpy().tolist() == [512, 512]


def test_a_restart_and_steps_out_of_order(log):
    rows = [{"step": s, "loss": v} for s, v in ((1, 4), (3, 2), (2, 3), (2, 2.5), (4, 1))]
    result = read(write(log, *rows))
    assert result.runs["step"].to_numpy().tolist() == [1, 2, 3, 4]
    assert result.runs["train_loss"].to_numpy().tolist() == [4, 2.5, 2, 1]
    assert any("1 value of 'log' logged again" in note for note in result.report.notes)


def test_a_torn_tail_is_counted_and_a_whole_one_kept(log):
    first, last = {"step": 1, "loss": 2}, {"step": 2, "loss": 1.5, "more": {"x": 1}}
    text = json.dumps(last)
    assert read(write(log, first, last, end="")).runs.sizes["obs"] == 2
    for cut in range(1, len(text)):
        result = read(write(log, first, text[:-cut], end=""))
        assert result.runs["train_loss"].to_numpy().tolist() == [2]
        assert any("left out 1 line" in note for note in result.report.notes)


def test_lines_that_are_no_records_are_counted(log):
    write(
        log,
        {"step": 1, "loss": 2},
        "",
        '{"step": 2, "lo{"step": 2, "loss": 1}',
        "epoch 1 done",
        "[1, 2]",
        {"loss": 5},
        {"step": 1.5, "loss": 5},
        {"step": 3, "loss": 1, "note": "x", "list": [1], "none": None},
    )
    result = read(log, format="jsonl")
    assert result.runs["step"].to_numpy().tolist() == [1, 3]
    for said in (
        "3 lines that is not a JSON object",
        "1 record without a step",
        "1 record whose step is no whole number",
        "2 values that is no number",
    ):
        assert any(said in note for note in result.report.notes), (said, result.report.notes)


def test_a_last_evaluation_is_kept_apart(log):
    write(log, {"step": 1, "loss": 2, "val_loss": 2.5}, {"step": 2, "final-val/loss": 2.75})
    runs = read(log).runs
    assert runs["final_val_loss"].item() == 2.75
    assert runs["eval_loss"].to_numpy().tolist() == [2.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"step": 1, "loss": 2, "loss": 3}\n', "key 'loss' is twice"),
        ('{"step": 1, "note": 3}\n', "no loss"),
        ('{"step": 1, "loss": ' + "9" * 400 + "}\n", "holds no record"),
        ('{"step": 1, "a": ' + "[" * 100_000 + "\n", "holds no record"),
        ('{"loss": 1}\n', r"holds no record \(.*left out 1 record without a step"),
        ('{"run_id": "' + "x" * 5000 + '", "step": 1, "loss": 2}\n', "names a run with 5000"),
    ],
)
def test_bad_files_are_refused_in_one_paragraph(log, text, said):
    log.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read(log, format="jsonl")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_small_file_of_many_names_does_not_unfold(log):
    rows = [{"step": i, "loss": 1, f"metric{i}": 1} for i in range(9000)]
    with pytest.raises(DataError, match="under so many columns"):
        read(write(log, *rows))
    rows = [{"run_id": f"r{i}", "step": 1, "loss": 1} for i in range(9000)]
    rows += [{"run_id": f"r{i}", f"setting{i}": 1} for i in range(9000)]
    with pytest.raises(DataError, match="under so many settings"):
        read(write(log, *rows))


def test_text_that_no_file_takes_is_replaced(log):
    write(log, '{"run_id": "a\\ud800\\u0000", "step": 1, "loss": 2, "\\ud800x": 3}')
    result = read(log)
    assert run_names(result.runs) == ["a?�"]
    assert "_x" in result.runs.variables


@pytest.mark.parametrize(
    "text", ["{}\n", '{"a": 1}\n', "step 1 loss 2\n", '[{"step": 1}]\n', "{\n"]
)
def test_other_text_is_not_taken_for_a_log(log, text):
    log.write_text(text)
    with pytest.raises(DataError, match="no known format"):
        read(log)
