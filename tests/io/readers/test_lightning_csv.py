from __future__ import annotations

import csv

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.io import read

METRICS = """epoch,lr-AdamW,step,train_loss_epoch,train_loss_step,val_loss
0,,0,,4.5,
0,0.001,0,,,
0,,1,,4.25,
0,,1,,,4.5
0,,1,4.375,,
"""
HPARAMS = """betas: !!python/tuple
- 0.9
- 0.95
lr: 1e-3
max_steps: 100
model:
  n_layer: 12
  act: !!python/object:os.system {}
name: null
weight_decay: 0.1
"""


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "version_0"
    folder.mkdir()
    (folder / "metrics.csv").write_text(METRICS)
    return folder


def test_step_losses_are_the_training_loss_and_epoch_means_keep_their_names(run):
    result = read(run)
    assert result.report.imported == (
        {"run_id": "metrics", "records": 2, "format": "lightning-csv"},
    )
    assert result.runs["step"].to_numpy().tolist() == [0, 1]
    assert result.runs["train_loss"].to_numpy().tolist() == [4.5, 4.25]
    np.testing.assert_array_equal(result.runs["eval_loss"].to_numpy(), [np.nan, 4.5])
    np.testing.assert_array_equal(result.runs["train_loss_epoch"].to_numpy(), [np.nan, 4.375])
    np.testing.assert_array_equal(result.runs["learning_rate"].to_numpy(), [0.001, np.nan])
    assert not any("restart" in note for note in result.report.notes)


def test_hyper_parameters_are_taken_without_making_any_object(run):
    (run / "hparams.yaml").write_text(HPARAMS)
    runs = read(run / "metrics.csv").runs
    assert runs["peak_lr"].item() == 1e-3
    assert runs["total_steps"].item() == 100
    assert runs["weight_decay"].item() == 0.1
    assert runs["depth"].item() == 12
    assert runs["betas"].item() == "[0.9, 0.95]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nb: [*x, *x]\n", "refers to other parts of itself"),
        ("a: [", "not read"),
        ("- 1\n", "no mapping"),
        ('a: "\\UFFFFFFFF"\n', "not read"),
        ("a: " + "[" * 5000, "not read"),
        ("a: " + "x" * (1 << 19), "more than 262144 bytes"),
        ("? [1, 2]\n: 3\n", "not read"),
    ],
)
def test_hyper_parameters_that_cannot_be_read_are_said_and_the_curve_is_kept(run, text, said):
    (run / "hparams.yaml").write_text(text)
    result = read(run)
    assert result.report.imported[0]["records"] == 2
    assert any("hparams.yaml" in note and said in note for note in result.report.notes)


@pytest.mark.parametrize(
    ("header", "training", "held_out"),
    [
        ("epoch,step,train_loss,val_loss", "train_loss", "val_loss"),
        ("epoch,loss_epoch,loss_step,step", "loss_step", None),
        ("epoch,step,train/loss_step,train/loss_epoch,val/loss", "train/loss_step", "val/loss"),
        ("epoch,step,train_loss,val_loss_epoch,val_loss_step", "train_loss", "val_loss_epoch"),
    ],
)
def test_other_spellings(tmp_path, header, training, held_out):
    names = header.split(",")
    path = tmp_path / "metrics.csv"
    path.write_text(header + "\n" + ",".join(str(i) for i in range(len(names))) + "\n")
    runs = read(path, format="lightning-csv").runs
    assert runs["train_loss"].item() == names.index(training)
    if held_out is not None:
        assert runs["eval_loss"].item() == names.index(held_out)


def test_torn_tail_ragged_rows_text_and_rows_without_a_step_are_counted(run):
    more = "0,,2,,nan,\n0,,3,,low,\n0,,,,1,\n0,,4\n0,,5,,2.5,"
    (run / "metrics.csv").write_text(METRICS + more)
    result = read(run)
    np.testing.assert_array_equal(result.runs["train_loss"].to_numpy(), [4.5, 4.25, np.nan, np.nan])
    for said in (
        "1 line without a line end",
        "1 value that is no number",
        "1 record without a step",
        "1 row with more or fewer fields",
    ):
        assert any(said in note for note in result.report.notes), said


def test_bad_files_are_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text('epoch,step,train_loss\n0,0,"' + "x" * 200_000 + "\n")
    with pytest.raises(DataError, match="not comma-separated text"):
        read(path, format="lightning-csv")
    path.write_text("epoch,step,step\n")
    with pytest.raises(DataError, match="column 'step' twice"):
        read(path, format="lightning-csv")
    path.write_text("")
    with pytest.raises(DataError, match="no complete header"):
        read(path, format="lightning-csv")


def test_the_real_file_loses_nothing(shared_logs):
    (path,) = (shared_logs / "lightning_csv").iterdir()
    result = read(path)
    assert result.report.imported[0]["format"] == "lightning-csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    names = {"train_loss": "train_loss_step", "eval_loss": "val_loss"}
    for column in ("train_loss", "eval_loss", "train_loss_epoch", "epoch_time"):
        given = names.get(column, column)
        want = {int(row["step"]): float(row[given]) for row in rows if row[given]}
        values = result.runs[column].to_numpy()
        there = ~np.isnan(values)
        got = dict(zip(result.runs["step"].to_numpy()[there], values[there], strict=True))
        assert got == want
    assert np.isfinite(result.runs["train_loss"].to_numpy()).sum() == 2814
