from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.io import read
from workbench.schema import run_names

CONFIG = {
    "lr": 0.001,
    "batch_size": 5,
    "acc_steps": 2,
    "world_size": 4,
    "sequence_length": 100,
    "iterations": 300,
    "scheduler": "wsd",
    "wsd_fract_decay": 0.2,
    "weight_decay": 0.1,
    "_wandb": {"x": 1},
}
GROUPS = {
    "train": {"iter": [10, 20, 30, 20], "train_loss": [4.0, 3.0, 2.0, 2.5], "train_lr": [1] * 4},
    "val": {"iter": [0, 20], "val_loss": [5.0, "NaN"]},
    "final-val": {"iter": [30], "final_val_loss": [2.25], "final_val_loss_wa": []},
    "wa": {"iter": [], "val_loss_wa": []},
}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_grouped_columns_with_steps_out_of_order(tmp_path):
    run = {
        "name": "r",
        "config": CONFIG,
        "summary": {"parameters": 1e6, "lr": 0},
        "history": GROUPS,
    }
    result = read(write(tmp_path / "run.json", run))
    runs = result.runs
    assert run_names(runs) == ["r"]
    assert runs["step"].to_numpy().tolist() == [0, 10, 20, 30]
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), [np.nan, 4, 2.5, 2])
    np.testing.assert_array_equal(runs["eval_loss"].to_numpy(), [5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(runs["learning_rate"].to_numpy(), [np.nan, 1, 1, 1])
    assert runs["final_val_loss"].item() == 2.25
    assert runs["batch_size"].item() == 5 * 2 * 4 * 100
    assert runs["model_size"].item() == 1e6
    assert runs["peak_lr"].item() == 0.001
    assert runs["schedule"].item() == "wsd"
    assert runs["decay_fraction"].item() == 0.2
    assert any("another scale" in note for note in result.report.notes)
    assert any("logged again" in note for note in result.report.notes)


def test_the_share_of_a_decay_that_is_not_followed_is_not_taken(tmp_path):
    config = {**CONFIG, "scheduler": "cos"}
    runs = read(
        write(tmp_path / "r.json", {"config": config, "summary": {}, "history": GROUPS})
    ).runs
    assert runs["schedule"].item() == "cosine"
    assert "decay_fraction" not in runs.variables


def test_a_run_that_branches_from_a_trunk_says_so(tmp_path):
    config = {**CONFIG, "resume_from": "/exps/stable-run/ckpts/20000"}
    run = {"name": "cooldown", "config": config, "summary": {}, "history": GROUPS}
    result = read(write(tmp_path / "r.json", run))
    assert result.runs["resumed_from"].item() == "/exps/stable-run/ckpts/20000"
    assert result.runs["resumed_from_step"].item() == 20000
    assert any("branches from a trunk" in note for note in result.report.notes)
    own = {**run, "name": "stable-run"}
    assert "resumed_from" not in read(write(tmp_path / "r.json", own)).runs.variables


ROWS = [
    {"_step": 0, "iter": 50, "train/loss": 4.0, "_timestamp": 1.5e9},
    {"_step": 1, "iter": 100, "train/loss": "NaN", "val/loss": 3.5},
    {"_step": 2, "iter": 100, "val/loss": 3.25, "media": {"path": "x"}},
    {"_step": 3, "system/gpu": 1.0},
    {"_step": 4, "iter": 150, "final-val/loss": 3.125},
]


@pytest.mark.parametrize("wrapped", [False, True])
def test_rows_of_scan_history(tmp_path, wrapped):
    if wrapped:
        path = write(tmp_path / "r.json", {"config": {"lr": {"value": 0.5}}, "history": ROWS})
    else:
        path = write(tmp_path / "r.json", ROWS)
        write(tmp_path / "config.json", {"lr": {"desc": None, "value": 0.5}})
    result = read(path)
    runs = result.runs
    assert result.report.imported[0] == {"run_id": "r", "records": 2, "format": "wandb-json"}
    assert runs["step"].to_numpy().tolist() == [50, 100]
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), [4, np.nan])
    np.testing.assert_array_equal(runs["eval_loss"].to_numpy(), [np.nan, 3.25])
    np.testing.assert_array_equal(runs["wall_time"].to_numpy(), [1.5e9, np.nan])
    assert runs["final_val_loss"].item() == 3.125
    assert runs["peak_lr"].item() == 0.5
    notes = result.report.notes
    assert any("left out 1 record without a step" in note for note in notes)
    assert any("left out 1 value that is no number" in note for note in notes)


def test_several_runs_in_one_document(tmp_path):
    runs = [
        {"name": name, "state": state, "config": {}, "history": ROWS[:1]}
        for name, state in (("a", "finished"), ("b", "crashed"), ("c", "running"))
    ]
    for content in (runs, {"runs": runs, "config": {}, "history": []}):
        got = read(write(tmp_path / "all.json", content)).runs
        assert run_names(got) == ["a", "b", "c"]
        assert got["status"].to_numpy().tolist() == ["done", "failed", "running"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"config": {}, "history": {"val": {"iter": [1, 2], "val_loss": [1]}}},
            "2 values of 'iter'",
        ),
        ({"config": {}, "summary": {}, "x": 1}, "has no 'history'"),
        ({"config": {}, "history": []}, "holds no record"),
        ({"config": {}, "history": {"val": {"val_loss": [1]}}}, "value without a step"),
        ([{"_step": 0}], "holds no record"),
        ([{"_step": 0, "loss": "x"}], "holds no record"),
    ],
)
def test_bad_histories_are_refused(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        read(write(tmp_path / "r.json", content))


def test_too_large_a_document_names_the_limit_and_the_way_round(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.io.json_text.LARGEST_FILE", 10)
    with pytest.raises(DataError, match=r"up to 10\. .*JSON Lines"):
        read(write(tmp_path / "r.json", ROWS))


def test_the_real_history_matches_the_curated_run(shared_logs, shared_curves):
    (path,) = (shared_logs / "wandb_api_history_json").iterdir()
    ours = read(path).runs
    theirs = shared_curves("wsd_cosine")
    names = run_names(theirs)
    history = json.loads(path.read_text())["history"]
    assert ours["row_size"].to_numpy().tolist() == [101]
    for column, group, name in (
        ("train_loss", "train", "train_loss"),
        ("eval_loss", "val", "val_loss"),
        ("learning_rate", "train", "train_lr"),
    ):
        values = ours[column].to_numpy()
        there = ~np.isnan(values)
        got = dict(zip(ours["step"].to_numpy()[there].tolist(), values[there], strict=True))
        assert got == dict(zip(history[group]["iter"], history[group][name], strict=True))
    same = names.index(run_names(ours)[0])
    for name in (
        "model_size",
        "tau",
        "tpp",
        "batch_size",
        "schedule",
        "decay_fraction",
        "total_steps",
        "tokens_total",
        "warmup_steps",
        "peak_lr",
        "weight_decay",
        "width",
        "depth",
        "final_val_loss",
        "resumed_from_step",
    ):
        want, got = theirs[name].to_numpy()[same], ours[name].item()
        assert got == want if isinstance(got, str) else np.isclose(got, want, rtol=1e-12), name
    bounds = np.concatenate([[0], np.cumsum(theirs["row_size"].to_numpy())])
    rows = slice(bounds[same], bounds[same + 1])
    assert theirs["step"].to_numpy()[rows].tolist() == ours["step"].to_numpy().tolist()
    for name in ("train_loss", "eval_loss", "learning_rate"):
        np.testing.assert_allclose(
            ours[name].to_numpy(), theirs[name].to_numpy()[rows], rtol=1e-6, err_msg=name
        )
