from __future__ import annotations

import json
import math

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.io import read


def train(step, loss, **more):
    return {"epoch": step / 100, "learning_rate": 1e-4, "loss": loss, "step": step, **more}


def state(history, **more):
    return {"global_step": 30, "log_history": history, "max_steps": 30, **more}


HISTORY = [
    train(10, 3.0, grad_norm=1.5),
    train(20, 2.5, grad_norm=1.25),
    {"epoch": 0.2, "eval_loss": 2.75, "eval_runtime": 1.5, "step": 20},
    train(30, 2.25),
    {"epoch": 0.3, "step": 30, "train_loss": 2.58, "train_runtime": 60.0, "total_flos": 1e9},
]


def write(folder, content, name="trainer_state.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True))
    return folder / name


def test_training_and_evaluation_are_told_apart_and_the_summary_is_no_record(tmp_path):
    path = write(tmp_path, state(HISTORY, train_batch_size=8, num_train_epochs=3))
    result = read(path)
    runs = result.runs
    assert result.report.imported == (
        {"run_id": "trainer_state", "records": 3, "format": "hf-trainer"},
    )
    assert runs["step"].to_numpy().tolist() == [10, 20, 30]
    assert runs["train_loss"].to_numpy().tolist() == [3.0, 2.5, 2.25]
    np.testing.assert_array_equal(runs["eval_loss"].to_numpy(), [np.nan, 2.75, np.nan])
    np.testing.assert_array_equal(runs["grad_norm"].to_numpy(), [1.5, 1.25, np.nan])
    assert runs["learning_rate"].to_numpy().tolist() == [1e-4] * 3
    assert runs["mean_train_loss"].item() == 2.58
    assert runs["train_runtime"].item() == 60
    assert runs["total_steps"].item() == 30
    assert np.isnan(runs["batch_size"].item())
    assert any("8 counts sequences of unknown length" in note for note in result.report.notes)
    assert not any("restart" in note for note in result.report.notes)


def test_line_ends_of_windows_nan_literals_and_numbers_in_quotes(tmp_path):
    path = tmp_path / "s.json"
    text = json.dumps(state([train(1, math.nan), train(2, "2.5"), train(3, "nan")]), indent=1)
    assert "NaN" in text
    path.write_bytes(text.replace("\n", "\r\n").encode())
    np.testing.assert_array_equal(read(path).runs["train_loss"].to_numpy(), [np.nan, 2.5, np.nan])


def test_entries_without_a_step_and_text_are_counted(tmp_path):
    history = [*HISTORY, {"predict_loss": 1.0, "epoch": 1}, train(40, 2, note="x"), "junk"]
    notes = read(write(tmp_path, state(history))).report.notes
    assert any("left out 1 record without a step" in note for note in notes)
    assert any("left out 1 value that is no number" in note for note in notes)
    assert any("left out 1 entry that is no record" in note for note in notes)


def test_a_folder_of_checkpoints_is_one_run_with_the_newest_history(tmp_path):
    run = tmp_path / "run"
    for step, count in ((10, 1), (20, 3)):
        write(run / f"checkpoint-{step}", {**state(HISTORY[:count]), "global_step": step})
    (run / "checkpoint-20" / "training_args.bin").write_bytes(b"\x80\x04.")
    write(run / "checkpoint-20", {"hidden_size": 64, "id2label": {"0": "a"}}, "config.json")
    result = read(run)
    assert [row["records"] for row in result.report.imported] == [2]
    assert result.runs["train_loss"].to_numpy().tolist() == [3.0, 2.5]
    assert result.runs["width"].item() == 64
    assert "id2label.0" not in result.runs.variables
    assert any("training_args.bin" in note for note in result.report.notes)
    write(run, state(HISTORY))
    (run / "runs").mkdir()
    whole = read(run)
    assert whole.runs["train_loss"].to_numpy().tolist() == [3.0, 2.5, 2.25]
    assert [row["source"] for row in whole.report.skipped] == [str(run / "runs")]


def test_what_an_earlier_attempt_alone_holds_is_kept_under_the_later_one(tmp_path):
    write(tmp_path / "checkpoint-20", {**state([train(10, 9), train(15, 8)]), "global_step": 20})
    write(tmp_path / "checkpoint-30", state([train(10, 3), train(30, 2)]))
    result = read(tmp_path)
    assert result.runs["step"].to_numpy().tolist() == [10, 15, 30]
    assert result.runs["train_loss"].to_numpy().tolist() == [3, 8, 2]
    assert any("2 entries of checkpoint-20/" in note for note in result.report.notes)
    assert any("1 value of" in note and "logged again" in note for note in result.report.notes)


def test_tokens_and_the_batch_size_of_all_processes(tmp_path):
    path = write(tmp_path, state([train(1, 3, num_input_tokens_seen=4096)], train_batch_size=4))
    args = {"gradient_accumulation_steps": 2, "world_size": 8, "max_seq_length": 64}
    write(tmp_path, {**args, "max_steps": -1, "lr_scheduler_type": "cosine"}, "training_args.json")
    runs = read(path).runs
    assert runs["batch_size"].item() == 4 * 2 * 8 * 64
    assert runs["tokens"].to_numpy().tolist() == [4096]
    assert runs["schedule"].item() == "cosine"
    assert runs["total_steps"].item() == 30


def test_an_end_that_is_not_planned_stays_unknown(tmp_path):
    runs = read(write(tmp_path, state(HISTORY, max_steps=-1))).runs
    assert np.isnan(runs["total_steps"].item())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"global_step": 1, "log_history": [', "not usable JSON"),
        ('{"global_step": 1, "log_history": {}}', "no list 'log_history'"),
        ('{"global_step": 1, "log_history": []}', "holds no record"),
        ('{"global_step": 1, "global_step": 2, "log_history": []}', "'global_step' is twice"),
        ('{"global_step": 1, "log_history": [' + "[" * 50_000, "nested too deep|not usable JSON"),
        ('{"global_step": 1, "log_history": [' + "9" * 5000 + "]}", "number of 5000 digits"),
    ],
)
def test_bad_states_are_refused_in_one_paragraph(tmp_path, text, said):
    path = tmp_path / "trainer_state.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_real_state_loses_nothing(shared_logs):
    (path,) = (shared_logs / "hf_trainer_state").iterdir()
    history = json.loads(path.read_text())["log_history"]
    result = read(path)
    runs = result.runs
    for name, column in (("loss", "train_loss"), ("eval_loss", "eval_loss")):
        want = {e["step"]: e[name] for e in history if name in e and "step" in e}
        own = runs[column].to_numpy()
        got = dict(zip(runs["step"].to_numpy()[~np.isnan(own)], own[~np.isnan(own)], strict=True))
        assert got == want
        assert len(want) == 10
    assert runs["mean_train_loss"].item() == history[-1]["train_loss"]
    assert any("left out 10 records without a step" in note for note in result.report.notes)
