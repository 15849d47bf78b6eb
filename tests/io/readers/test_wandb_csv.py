from __future__ import annotations

import csv

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.io import read
from workbench.schema import run_names


def write(path, header, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    path.write_text(path.read_text().rstrip("\r\n"))  # as the site ends its files
    return path


def bounds(*names):
    return [name + mark for name in names for mark in ("", "__MIN", "__MAX")]


def test_many_runs_in_one_file(tmp_path):
    header = ["Step", *bounds("lr=1e-3, big - train/loss", "b - train/loss")]
    path = write(
        tmp_path / "e.csv",
        header,
        ["0", "4.5", "4.5", "4.5", "", "", ""],
        ["10", "NaN", "NaN", "NaN", "3.25", "3.25", "3.25"],
    )
    result = read(path)
    assert run_names(result.runs) == ["lr=1e-3, big", "b"]
    assert {row["format"] for row in result.report.imported} == {"wandb-csv"}
    np.testing.assert_array_equal(result.runs["train_loss"].to_numpy(), [4.5, np.nan, 3.25])
    assert result.runs["step"].to_numpy().tolist() == [0, 10, 10]
    assert list(result.report.unmapped) == []


@pytest.mark.parametrize(
    ("names", "runs", "metrics"),
    [
        (["a - x - loss", "b - loss"], ["a - x", "b"], ["loss", "loss"]),
        (["a - _step", "a - val - loss"], ["a"], ["val - loss"]),
        (["x - val - loss", "y - val - loss"], ["x", "y"], ["val - loss", "val - loss"]),
        (["my - run - val/loss"], ["my - run"], ["val/loss"]),
    ],
)
def test_names_with_the_joint_in_them(tmp_path, names, runs, metrics):
    values = [[str(i + 1)] * 3 for i in range(len(names))]
    path = write(
        tmp_path / "e.csv",
        ["Step", *bounds(*names)],
        ["5", *[value for triple in values for value in triple]],
    )
    got = read(path).runs
    assert run_names(got) == runs
    column = "eval_loss" if "val" in metrics[0] else "train_loss"
    known = {name: float(i + 1) for i, name in enumerate(names) if "_step" not in name}
    assert got[column].to_numpy().tolist() == list(known.values())


def test_several_exports_of_the_same_runs(tmp_path):
    write(tmp_path / "1.csv", ["Step", *bounds("a - train/loss")], ["1", "3", "3", "3"])
    write(tmp_path / "2.csv", ["Step", *bounds("a - eval/loss")], ["2", "2", "2", "2"])
    (tmp_path / "readme.txt").write_text("hello")
    result = read(tmp_path)
    assert run_names(result.runs) == ["a"]
    np.testing.assert_array_equal(result.runs["train_loss"].to_numpy(), [3, np.nan])
    np.testing.assert_array_equal(result.runs["eval_loss"].to_numpy(), [np.nan, 2])
    assert [row["reason"] for row in result.report.skipped] == ["not a W&B export"]


def test_the_optimisers_counter_is_better_than_the_step_of_the_site(tmp_path):
    header = ["Step", *bounds("a - trainer/global_step", "a - loss")]
    path = write(tmp_path / "e.csv", header, ["0", *["99"] * 3, *["3.5"] * 3])
    runs = read(path).runs
    assert runs["step"].to_numpy().tolist() == [99]
    assert "trainer_global_step_min" not in runs.variables


def test_means_of_groups_keep_their_bounds_and_are_said(tmp_path):
    header = ["Step", *bounds("Group: k - loss")]
    result = read(write(tmp_path / "e.csv", header, ["1", "3", "2", "4"]))
    assert run_names(result.runs) == ["Group: k"]
    assert result.runs["loss_min"].to_numpy().tolist() == [2]
    assert result.runs["loss_max"].to_numpy().tolist() == [4]
    assert any("differ from their bounds" in note for note in result.report.notes)
    assert any("means over the runs of a group" in note for note in result.report.notes)


def test_a_cut_last_row_is_left_out_and_counted(tmp_path):
    header = ["Step", *bounds("a - loss")]
    path = write(tmp_path / "e.csv", header, ["1", "3.5", "3.5", "3.5"], ["2", "3.25", "3.25", "3"])
    whole = path.read_bytes()
    for cut in range(1, len(b'"2","3.25","3.25","3"')):
        path.write_bytes(whole[:-cut])
        result = read(path)
        values = result.runs["train_loss"].to_numpy().tolist()
        if whole[:-cut].endswith(
            b'"3.25","3.25","'
        ):  # cut within the upper bound: the value is whole
            assert values == [3.5, 3.25]
        else:
            assert values == [3.5]
            assert any("left out 1" in note for note in result.report.notes)


def test_another_axis_than_a_step_is_refused(tmp_path):
    path = write(tmp_path / "e.csv", ["Relative Time (Wall)", "a - loss"], ["1", "2"])
    with pytest.raises(DataError, match="not a step"):
        read(path)


def test_the_real_export_loses_nothing(shared_logs):
    (path,) = (shared_logs / "wandb_export_csv").iterdir()
    runs = read(path).runs
    table = list(csv.reader(path.read_text().splitlines()))
    assert runs.sizes["run"] == 10
    assert runs["row_size"].to_numpy().tolist() == [10] * 10
    for i in range(10):
        assert run_names(runs)[i] + " - test-tokens/avg_loss" == table[0][1 + 3 * i]
        want = [float(row[1 + 3 * i]) for row in table[1:]]
        assert runs["eval_loss"].to_numpy()[10 * i : 10 * i + 10].tolist() == want
    assert runs["step"].to_numpy()[:10].tolist() == [int(row[0]) for row in table[1:]]
