from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.errors import DataError
from workbench.io import parquet_files, read
from workbench.schema import make_runs, run_names, take_runs
from workbench.store import open_store
from workbench.store.digest import digests
from workbench.store.export import LAYOUT

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, table, **options):
    pq.write_table(pa.table(table), path, **options)
    return path


def test_a_long_table_of_many_runs(tmp_path):
    table = {
        "run": ["b", "a", "b", "a", "a"],
        "iter": [1, 1, 2, 2, 2],
        "val/loss": [4.0, 3.0, 2.0, 2.5, 2.25],
        "lr": [0.5, 0.25, 0.5, 0.25, 0.25],
        "n_params": [20, 10, 20, 10, 10],
        "note": ["x", None, "x", "", None],
        "own": [1.0, None, float("nan"), 2.0, None],
        "tags": [[1]] * 5,
    }
    result = read(write(tmp_path / "a.parquet", table, row_group_size=2))
    runs = result.runs
    assert {row["format"] for row in result.report.imported} == {"parquet"}
    assert run_names(runs) == ["b", "a"]
    assert runs["row_size"].to_numpy().tolist() == [2, 2]
    assert runs["eval_loss"].to_numpy().tolist() == [4.0, 2.0, 3.0, 2.25]
    assert runs["learning_rate"].to_numpy().tolist() == [0.5, 0.5, 0.25, 0.25]
    assert runs["model_size"].to_numpy().tolist() == [20, 10]
    assert runs["note"].to_numpy().tolist() == ["x", ""]
    np.testing.assert_array_equal(runs["own"].to_numpy(), [1, np.nan, np.nan, 2])
    assert any("left out column 'tags'" in note for note in result.report.notes)
    assert any("1 value of 'a' logged again" in note for note in result.report.notes)


def test_small_row_groups_are_taken_together(tmp_path):
    count = 500
    table = {
        "run": [f"run {i % 7}" if i % 11 else None for i in range(count)],
        "step": list(range(count)),
        "loss": [1 / (1 + i) for i in range(count)],
    }
    path = write(tmp_path / "a.parquet", table, row_group_size=1)
    assert len(list(parquet_files.read_batches(path))) == 1
    result = read(path)
    own = {
        name: take_runs(result.runs, np.array(run_names(result.runs)) == name)
        for name in run_names(result.runs)
    }
    for name in (f"run {i}" for i in range(7)):
        rows = [i for i in range(count) if table["run"][i] == name]
        assert own[name]["step"].to_numpy().tolist() == rows
        assert own[name]["train_loss"].to_numpy().tolist() == [table["loss"][i] for i in rows]
    assert any("left out 46 records without a run_id" in note for note in result.report.notes)


def test_columns_with_names_of_the_datasets_own(tmp_path, runs):
    store = open_store(tmp_path / "store", create=True)
    store.add_runs(runs, family="f")
    store.export(tmp_path / "out.parquet")
    store.close()
    whole = pq.read_table(tmp_path / "out.parquet")
    names = {"constant": "row_size", "empty": "obs", "label": "run"}
    renamed = whole.rename_columns([names.get(name, name) for name in whole.column_names])
    pq.write_table(renamed, tmp_path / "renamed.parquet")
    back = read(tmp_path / "renamed.parquet").runs
    assert sorted(back["row_size"].to_numpy()) == sorted(runs["row_size"].to_numpy())
    assert (back["row_size_"] == 0.25).all()
    assert back["obs_"].dims == ("obs",)


def test_one_run_numbers_in_quotes_and_rows_without_a_step(tmp_path):
    table = {
        "step": ["3", "1", None, "2"],
        "loss": ["1.5", "nan", "7", None],
        "epoch": [1, 1, 1, 1],
    }
    result = read(write(tmp_path / "mine.parquet", table))
    assert run_names(result.runs) == ["mine"]
    assert result.runs["step"].to_numpy().tolist() == [1, 2, 3]
    np.testing.assert_array_equal(result.runs["train_loss"].to_numpy(), [np.nan, np.nan, 1.5])
    assert any("left out 1 record without a usable step" in note for note in result.report.notes)


def test_what_pandas_writes(tmp_path):
    frame = pd.DataFrame({"run_id": [1, 1, 2], "step": [0, 1, 0], "train_loss": [3.0, np.nan, 2.0]})
    frame["when"] = pd.Timestamp("2024-01-01")
    frame["ok"] = True
    frame.to_parquet(tmp_path / "p.parquet")
    runs = read(tmp_path / "p.parquet").runs
    assert run_names(runs) == ["1", "2"]
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), [3, np.nan, 2])
    assert runs["when"].to_numpy().tolist() == [1704067200.0] * 3


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    sizes = [3, 1, 70_000, 2, 200_000]
    total = sum(sizes)
    loss = rng.standard_normal(total)
    loss[5::7] = np.nan
    loss[[0, 1, 3, 70_004]] = 2.5  # a finite loss in each run
    return make_runs(
        {
            "run_id": ["a", "ü", "c, d", "1", "e"],
            "model_size": [1.5, np.nan, 3, 4, 1e300],
            "label": ["", "x", "nan", "None", "1.0"],
            "mine": [0.1, 0.1, 0.1, np.nan, 0.1],
            "total_steps": [9.0] * 5,
        },
        {
            "step": np.concatenate([np.arange(n) for n in sizes]),
            "train_loss": loss,
            "constant": np.full(total, 0.25),
            "empty": np.where(np.arange(total) == 1, 1.0, np.nan),
        },
        row_size=sizes,
    )


def test_an_export_comes_back_identical_in_pieces(tmp_path, runs):
    store = open_store(tmp_path / "store", create=True)
    store.add_runs(runs, family="f")
    store.export(tmp_path / "out.parquet")
    back = read(tmp_path / "out.parquet")
    assert digests(back.runs) == digests(store.runs())
    assert store.add_runs(back.runs).added == ()
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups > 1
    store.close()


@pytest.mark.parametrize("name", ["qiu_mlp_const", "wsd_cosine", "megatron_blowups"])
def test_real_curves_come_back_identical(tmp_path, shared_curves, name):
    store = open_store(tmp_path / "store", create=True)
    store.add_runs(shared_curves(name), family=name)
    store.export(tmp_path / "out.parquet")
    assert digests(read(tmp_path / "out.parquet").runs) == digests(store.runs())
    store.close()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"step": [1, 2], "loss": [1, 2], "run": ["a", "a"], "tau": [1, 2]}, "one value a run"),
        ({"step": [1], "loss": ["low"]}, "column 'loss' .* must hold numbers, found 'low'"),
        ({"time": [1], "loss": [1.0]}, "has no step column"),
        ({"step": [[1]], "loss": [1.0]}, "column 'step' .* does not hold numbers"),
        ({"step": [1], "time": [1.0]}, "has no loss"),
        ({"step": [1.5], "loss": [1.0]}, "holds no record"),
        ({"step": pa.array([], pa.int64()), "loss": pa.array([], pa.float64())}, "no record"),
    ],
)
def test_bad_tables_are_refused(tmp_path, table, said):
    with pytest.raises(DataError, match=said):
        read(write(tmp_path / "bad.parquet", table), format="parquet")


def test_a_column_given_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays(
        [pa.array([1]), pa.array([1.0]), pa.array([2.0])], ["step"] + ["loss"] * 2
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'loss' twice"):
        read(tmp_path / "a.parquet")


def test_a_table_that_unfolds_out_of_a_few_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.io.parquet_files._ROWS", 1000)
    table = {"run": ["a"] * 100_000, "step": [1] * 100_000, "loss": [1.0] * 100_000}
    path = write(tmp_path / "bomb.parquet", table, compression="zstd")
    with pytest.raises(DataError, match="claims 100000 rows in"):
        read(path)
    monkeypatch.undo()
    monkeypatch.setattr("workbench.io.parquet_files._LARGEST_GROUP", 100)
    with pytest.raises(DataError, match="smaller row groups"):
        read(path)


@pytest.mark.parametrize(
    "layout",
    [b"{", b"[]", b"{}", b'{"coordinates": ["run_id"], "schema": "collapse-runs/99"}',
     b'{"coordinates": ["run_id", "train_loss", "step"]}', b'{"coordinates": ["run_id"]}'],
)  # fmt: skip
def test_a_layout_that_lies_is_refused(tmp_path, layout):
    table = pa.table({"run_id": ["a"], "step": [-1], "train_loss": [1.0], "x": ["y"]})
    pq.write_table(table.replace_schema_metadata({LAYOUT: layout}), tmp_path / "a.parquet")
    with pytest.raises(DataError):
        read(tmp_path / "a.parquet")


def test_other_parquet_is_not_taken_for_a_log_but_a_damaged_one_is_said(tmp_path):
    path = write(tmp_path / "a.parquet", {"time": [1], "value": [2]})
    with pytest.raises(DataError, match="no known format"):
        read(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", {"step": [1], "loss": [2.0]})
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"collapse-workbench\[io\]"):
        read(path)
