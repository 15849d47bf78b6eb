from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.io import read
from workbench.schema import run_names

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

# The schema of every file that Neptune Exporter writes.
SCHEMA = pa.schema(
    [
        ("project_id", pa.string()),
        ("run_id", pa.string()),
        ("attribute_path", pa.string()),
        ("attribute_type", pa.string()),
        ("step", pa.decimal128(18, 6)),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("string_value", pa.string()),
        ("bool_value", pa.bool_()),
        ("datetime_value", pa.timestamp("ms", tz="UTC")),
        ("string_set_value", pa.list_(pa.string())),
        ("file_value", pa.struct([("path", pa.string())])),
        (
            "histogram_value",
            pa.struct(
                [
                    ("type", pa.string()),
                    ("edges", pa.list_(pa.float64())),
                    ("values", pa.list_(pa.float64())),
                ]
            ),
        ),
    ]
)
DAY = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def parameter(path, kind, value):
    return {"attribute_path": path, "attribute_type": kind, f"{kind}_value": value}


def series(path, points, kind="float_series"):
    value = "float_value" if kind == "float_series" else "string_value"
    return [
        {
            "attribute_path": path,
            "attribute_type": kind,
            "step": Decimal(str(step)).quantize(Decimal("1.000000")),
            "timestamp": DAY + dt.timedelta(seconds=i),
            value: number,
        }
        for i, (step, number) in enumerate(points)
    ]


PARAMETERS = [
    parameter("sys/custom_run_id", "string", "mine"),
    parameter("sys/failed", "bool", False),
    parameter("sys/creation_time", "datetime", DAY),
    parameter("parameters/lr", "float", 0.001),
    parameter("parameters/max_steps", "int", 100),
    parameter("parameters/lr_scheduler_type", "string", "cosine"),
    parameter("sys/tags", "string_set", ["a", "b"]),
    parameter("source/code", "file", {"path": "x/y"}),
]
SERIES = [
    *series("metrics/train/loss", [(10, 3.0), (20, None), (30, 2.0)]),
    *series("metrics/val/loss", [(20, 2.5)]),
    *series("metrics/train/lr", [(10, 0.5), (10.5, 0.25)]),
    *series("monitoring/abc/cpu", [(1, 50.0), (2, 60.0)]),
    *series("runtime/stdout", [(1, "hello")], kind="string_series"),
]


def write(path, rows, *, project="team/llm", run="RUN-1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    full = [{"project_id": project, "run_id": run, **row} for row in rows]
    with pq.ParquetWriter(path, SCHEMA, compression="snappy") as file:
        for start in range(0, len(full), 5):
            file.write_batch(pa.RecordBatch.from_pylist(full[start : start + 5], schema=SCHEMA))
    return path


def check(result):
    runs = result.runs
    assert run_names(runs) == ["RUN-1"]
    assert {row["format"] for row in result.report.imported} == {"neptune"}
    assert runs["step"].to_numpy().tolist() == [10, 20, 30]
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), [3, np.nan, 2])
    np.testing.assert_array_equal(runs["eval_loss"].to_numpy(), [np.nan, 2.5, np.nan])
    np.testing.assert_array_equal(runs["learning_rate"].to_numpy(), [0.5, np.nan, np.nan])
    assert runs["wall_time"].to_numpy().tolist() == [DAY.timestamp() + i for i in range(3)]
    assert runs["peak_lr"].item() == 0.001
    assert runs["total_steps"].item() == 100
    assert runs["schedule"].item() == "cosine"
    assert runs["neptune_project"].item() == "team/llm"
    assert runs["status"].item() == "done"
    notes = result.report.notes
    assert any("left out 2 values of the machine's load" in note for note in notes)
    assert any("left out 1 value of type string_series" in note for note in notes)
    assert any("left out 1 record without a usable step" in note for note in notes)


def test_one_file_with_parameters_and_series(tmp_path):
    check(read(write(tmp_path / "RUN-1_part_0.parquet", PARAMETERS + SERIES)))


@pytest.mark.parametrize("source", ["exports", "exports/data", "exports/data/team_llm"])
def test_the_parts_of_a_run_in_folders_of_projects(tmp_path, source):
    folder = tmp_path / "exports" / "data" / "team_llm"
    write(folder / "RUN-1_part_0.parquet", PARAMETERS)
    write(folder / "RUN-1_part_1.parquet", SERIES[:2])
    write(folder / "RUN-1_part_2.parquet", SERIES[2:])
    check(read(tmp_path / source))


def test_the_later_part_wins_also_when_there_are_ten(tmp_path):
    for part in range(11):
        rows = series("loss", [(1, float(part)), (2, 5.0)])
        write(tmp_path / f"RUN-1_part_{part}.parquet", rows)
    assert read(tmp_path).runs["train_loss"].to_numpy().tolist() == [10, 5]


def test_runs_of_several_projects_do_not_share_a_name(tmp_path):
    rows = series("train/loss", [(1, 2.0)])
    write(tmp_path / "a" / "RUN-1_part_0.parquet", rows, project="t/a")
    write(tmp_path / "b" / "RUN-1_part_0.parquet", rows, project="t/b")
    assert run_names(read(tmp_path).runs) == ["t/a/RUN-1", "t/b/RUN-1"]


def test_an_interrupted_export_is_said(tmp_path):
    write(tmp_path / "RUN-1_part_1.parquet", series("loss", [(1, 2.0)]))
    write(tmp_path / "RUN-2_part_0.parquet.tmp", series("loss", [(1, 2.0)]), run="RUN-2")
    result = read(tmp_path)
    assert any("parts of 'RUN-1' are missing" in note for note in result.report.notes)
    assert [row["reason"] for row in result.report.skipped] == [
        "the export of this run was interrupted"
    ]


def test_a_folder_that_holds_other_logs_too_is_read_log_by_log(tmp_path):
    write(tmp_path / "project" / "RUN-1_part_0.parquet", series("loss", [(1, 2.0)]))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.csv").write_text("step,loss\n1,2\n")
    assert run_names(read(tmp_path).runs) == ["other/a", "RUN-1"]


def test_a_fork_says_where_it_branches(tmp_path):
    rows = [
        parameter("sys/forking/parent", "string", "RUN-0"),
        parameter("sys/forking/step", "float", 20.0),
        parameter("sys/failed", "bool", True),
        *series("loss", [(30, 2.0)]),
    ]
    result = read(write(tmp_path / "RUN-1_part_0.parquet", rows))
    assert result.runs["resumed_from"].item() == "RUN-0"
    assert result.runs["resumed_from_step"].item() == 20
    assert result.runs["status"].item() == "failed"
    assert any("branches from 'RUN-0'" in note for note in result.report.notes)


def test_bad_exports_are_refused(tmp_path):
    path = write(tmp_path / "RUN-1_part_0.parquet", PARAMETERS)
    with pytest.raises(DataError, match="holds no record"):
        read(path)
    table = pa.table({name: [1] for name in ("project_id", "run_id", "attribute_path")})
    pq.write_table(table.append_column("attribute_type", pa.array([1])), path)
    with pytest.raises(DataError, match="does not hold text"):
        read(path)
