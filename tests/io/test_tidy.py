from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import DataError
from workbench.io import import_sources, read
from workbench.schema import run_names
from workbench.store import open_store


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plain_curve_is_named_after_its_file(tmp_path):
    path = write(tmp_path / "cosine_10.csv", "step,lr,loss\n5,3e-4,4.125\n10,0.0001,3.5\n")
    result = read(path, settings={"total_steps": "10", "N": "25e6", "schedule": "cosine"})
    runs = result.runs
    assert run_names(runs) == ["cosine_10"]
    assert runs["step"].to_numpy().tolist() == [5, 10]
    assert runs["train_loss"].to_numpy().tolist() == [4.125, 3.5]
    assert runs["learning_rate"].to_numpy().tolist() == [3e-4, 1e-4]
    assert runs["model_size"].item() == 25e6
    assert runs["schedule"].item() == "cosine"
    assert runs["source"].item() == str(path)
    assert len(runs["source_sha256"].item()) == 64
    assert result.report.imported == ({"run_id": "cosine_10", "records": 2, "format": "csv"},)
    assert result.report.notes == ()


def test_an_unknown_horizon_is_said_and_can_be_the_last_step(tmp_path):
    path = write(tmp_path / "a.csv", "step,loss\n1,2\n7,1\n")
    result = read(path)
    assert np.isnan(result.runs["total_steps"].item())
    assert "the planned end of 1 of 1 run is unknown" in result.report.notes[0]
    last = read(path, settings={"total_steps": "last"})
    assert last.runs["total_steps"].item() == 7
    assert last.report.notes == ()


@pytest.mark.parametrize(("delimiter", "end"), [(";", "\n"), ("\t", "\r\n"), (",", "\r\n")])
def test_other_delimiters_line_ends_and_a_byte_order_mark(tmp_path, delimiter, end):
    rows = [["iter", "train/loss"], ["1", '"2.5"'], ["2", "1.5"]]
    text = "\ufeff" + "".join(delimiter.join(row) + end for row in rows)
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert read(path).runs["train_loss"].to_numpy().tolist() == [2.5, 1.5]


def test_nan_and_inf_as_text_are_numbers(tmp_path):
    lines = ["step,loss,val_loss", "1,nan,2", "2,NaN,", "3,inf,-inf", "4,1e-3, 5 "]
    runs = read(write(tmp_path / "a.csv", "\n".join(lines) + "\n")).runs
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), [np.nan, np.nan, np.inf, 1e-3])
    np.testing.assert_array_equal(runs["eval_loss"].to_numpy(), [2, np.nan, -np.inf, 5])


def test_a_torn_last_line_is_skipped_and_said(tmp_path):
    whole = "step,lr,loss\n1,0.1,4.5\n2,0.1,4.25\n"
    for cut in range(1, len("2,0.1,4.25\n")):
        result = read(write(tmp_path / "a.csv", whole[:-cut]), settings={"total_steps": "9"})
        assert result.runs["train_loss"].to_numpy().tolist() == [4.5]
        assert "skipped 1 last line without a line end" in result.report.notes[0]
    assert read(write(tmp_path / "a.csv", whole), settings={"total_steps": "9"}).report.notes == ()


def test_a_restart_keeps_the_last_value_and_is_counted(tmp_path):
    path = write(tmp_path / "a.csv", "step,loss\n1,4\n2,3\n3,2.5\n2,2.9\n3,2.4\n4,2\n")
    result = read(path, settings={"total_steps": "4"})
    assert result.runs["step"].to_numpy().tolist() == [1, 2, 3, 4]
    assert result.runs["train_loss"].to_numpy().tolist() == [4, 2.9, 2.4, 2]
    assert "in 2 records 'a' logs a step again" in result.report.notes[0]


def test_records_without_a_step_are_left_out_and_counted(tmp_path):
    result = read(write(tmp_path / "a.csv", "step,loss\n1,4\n,3\n2,2\n"))
    assert result.runs["step"].to_numpy().tolist() == [1, 2]
    assert "left out 1 record of 'a' without a step" in result.report.notes[0]


def test_one_table_of_many_runs(tmp_path):
    text = (
        "run_id,step,val_loss,model_size,note,own\n"
        "007,1,2.0,10,x,1\n007,2,1.5,10,x,2\nb,1,3.0,20,,3\n"
    )
    result = read(write(tmp_path / "all.csv", text))
    runs = result.runs
    assert run_names(runs) == ["007", "b"]
    assert runs["row_size"].to_numpy().tolist() == [2, 1]
    assert runs["model_size"].to_numpy().tolist() == [10, 20]
    assert runs["note"].to_numpy().tolist() == ["x", ""]
    assert runs["own"].to_numpy().tolist() == [1, 2, 3]
    assert set(result.report.unmapped) == {"note", "own"}
    assert result.report.imported[0]["format"] == "tidy"


def test_runs_of_one_table_may_be_interleaved(tmp_path):
    runs = read(write(tmp_path / "a.csv", "run,step,loss\nb,1,4\na,1,3\nb,2,2\n")).runs
    assert run_names(runs) == ["b", "a"]
    assert runs["train_loss"].to_numpy().tolist() == [4, 2, 3]


def test_a_pair_of_tables(tmp_path):
    write(tmp_path / "runs.csv", "run_id,model_size,schedule,commit\na,1e6,wsd,12e\nb,2e6,wsd,x\n")
    write(tmp_path / "curves.csv", "run_id,step,loss\na,0,2\na,1,1\n")
    result = read(tmp_path)
    assert run_names(result.runs) == ["a"]
    assert result.runs["model_size"].item() == 1e6
    assert result.runs["commit"].item() == "12e"
    assert result.report.skipped[0]["reason"] == "it has no record"
    write(tmp_path / "curves.csv", "run_id,step,loss\nz,0,2\n")
    with pytest.raises(DataError, match=r"run 'z' of .* is not in"):
        read(tmp_path)
    write(tmp_path / "runs.csv", "run_id,model_size\nz,1\nz,2\n")
    with pytest.raises(DataError, match="run 'z' is twice"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("step,loss\n", "has a header but no complete record"),
        ("step,loss\n1,2", "has a header but no complete record"),
        ("step,loss\n1,nan\n2,NaN\n", "has no finite loss"),
        ("step,loss\n1,2\n2,low\n", "column 'loss' .* must hold numbers, found 'low' in record 2"),
        ("step,loss\n1,2,3,4\n1,2,3\n", "not a table|no known format"),
        ("step,loss\n1.5,2\n", "step 1.5. Steps must be whole numbers"),
        ("step,loss\n-1,2\n", "step -1. Steps must be whole numbers"),
        ("step,loss\n1e300,2\n", "Steps must be whole numbers"),
        ("step,loss\n,2\n", "no step at all"),
        ("run_id,step,loss\n,1,2\n", "record 1 of .* has no run_id"),
        ("run_id,step,loss,tau\na,1,2,0.1\na,2,2,0.2\n", "column 'tau' .* is one value a run"),
        ("run_id,step,loss,tau\na,1,2,small\n", "column 'tau' .* must hold numbers"),
        ("time,value\n1,2\n", "is in no known format"),
        ("no table at all\n", "is in no known format"),
    ],
)
def test_bad_tables_are_refused_in_one_paragraph(tmp_path, text, said):
    with pytest.raises(DataError, match=said) as caught:
        read(write(tmp_path / "a.csv", text))
    assert "\n" not in str(caught.value)


def test_binary_noise_is_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"step,loss\n1,\xff\xfe\n")
    with pytest.raises(DataError, match="UTF-8"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="no known format"):
        read(tmp_path / "a.csv")


def test_text_that_varies_is_left_out_and_said(tmp_path):
    text = "step,loss,phase\n1,2,warm\n2,1,cool\n"
    result = read(write(tmp_path / "a.csv", text))
    assert "phase" not in result.runs.variables
    assert "left out column 'phase'" in " ".join(result.report.notes)


numbers = st.floats(allow_nan=False, width=64)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(curve=st.dictionaries(st.integers(0, 2**53 - 2), numbers, min_size=1, max_size=20))
def test_every_float_comes_back_exactly(tmp_path_factory, curve):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    curve = {**curve, max(curve) + 1: 1.0}  # a run needs a finite loss
    lines = [f"{step},{loss!r}" for step, loss in curve.items()]
    runs = read(write(path, "\n".join(["step,loss", *lines, ""]))).runs
    steps = sorted(curve)
    assert runs["step"].to_numpy().tolist() == steps
    assert runs["train_loss"].to_numpy().tolist() == [curve[step] for step in steps]


def test_the_header_counts_as_the_table_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('"run_id;step;loss\na;0;3\n"b";1;2\n')
    with pytest.raises(DataError):
        read(path)
    path.write_text("name,run_id,step,loss\nx,a,0,3\nx,b,0,2\n")
    assert run_names(read(path).runs) == ["a", "b"]
    with pytest.raises(DataError, match="--format tidy"):
        read(path, format="csv")


def test_columns_with_names_of_the_datasets_own_get_others(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("step,loss,row_size,obs,obs_\n0,3,7,1,4\n1,2.5,8,2,5\n")
    runs = read(path).runs
    assert runs["row_size"].to_numpy().tolist() == [2]
    assert runs["row_size_"].to_numpy().tolist() == [7, 8]
    assert runs["obs_"].to_numpy().tolist() == [4, 5]
    assert runs["obs__"].to_numpy().tolist() == [1, 2]


@pytest.mark.parametrize("name", ["val/acc", "../../x", ".", "..", "zarr.json", "x" * 300, "/abs"])
def test_columns_with_names_no_file_can_have_are_kept_in_a_store(tmp_path, name):
    path = tmp_path / "a.csv"
    path.write_text(f"step,loss,{name}\n0,3,7\n1,2.5,8\n")
    store = open_store(tmp_path / "store", create=True)
    (own,) = import_sources(store, [path]).unmapped
    store.close()
    store = open_store(tmp_path / "store")
    assert store.runs()[own].to_numpy().tolist() == [7, 8]
    store.close()


def test_a_column_name_with_a_nul_in_a_folder_of_tables(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "runs.csv").write_bytes(b"run_id,peak\0x,a/b\na,1,2\n")
    (folder / "curves.csv").write_bytes(b"run_id,step,train_loss,l\0r\na,0,3,5\na,1,2,6\n")
    store = open_store(tmp_path / "store", create=True)
    import_sources(store, [folder])
    runs = store.runs()
    assert [runs[n].to_numpy().tolist() for n in ("peak_x", "a_b", "l_r")] == [[1], [2], [5, 6]]
    store.close()
