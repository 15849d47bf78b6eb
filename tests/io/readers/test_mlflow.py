from __future__ import annotations

import math
import shutil
import sqlite3
import time

import numpy as np
import pytest

from tests.io.readers.clients import contents, mutated, outcome, run_client
from workbench.errors import DataError
from workbench.io import import_sources, read
from workbench.io.readers.mlflow import FORMAT
from workbench.io.result import Source
from workbench.schema import run_names, take_runs
from workbench.store import open_store

POINTS = 1500
WRITE = """
import sys
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

client = MlflowClient(sys.argv[1])
points = int(sys.argv[2])
at = 1_700_000_000_000
family = client.create_experiment("125M sweep")
other = client.create_experiment("evaluations")

def run(name, start, experiment=family, **tags):
    return client.create_run(
        experiment, start_time=at + start, run_name=name, tags=tags
    ).info.run_id

first = run("base", 0, seeded="yes")
series = [Metric("train/loss", 4 - i / points, at + 10 * i, i) for i in range(points)]
for start in range(0, points, 500):
    client.log_batch(first, metrics=series[start : start + 500])
client.log_batch(
    first,
    metrics=[
        Metric("eval_loss", 3.5, at + 1000, 100),
        Metric("eval_loss", float("nan"), at + 2000, 200),
        Metric("eval_loss", float("inf"), at + 3000, 300),
        Metric("eval_loss", float("-inf"), at + 4000, 400),
        Metric("eval_loss", 1.7976931348623155e308, at + 4500, 450),
        Metric("epoch", 0.25, at + 1000, 100),
        # A restart that is stored first but was logged later: the last timestamp counts.
        Metric("eval_loss", 3.25, at + 99_000, 500),
        Metric("eval_loss", 3.75, at + 5000, 500),
        Metric("train/loss", 2.0, at + 99_000, 3),
        Metric("system/cpu_utilization_percentage", 50.0, at + 5, 0),
    ],
    params=[
        Param("lr", "0.001"), Param("optimizer.weight_decay", "0.1"), Param("fused", "True"),
        Param("n_layer", "12"), Param("total_batch_size", "524288"), Param("comment", "a, b: ü"),
        Param("max_steps", "3000"), Param("api_key", "hush"), Param("tag_2024_01", "2024_01"),
    ],
)
client.set_terminated(first, "FINISHED")
ids = [first]
for i, state in enumerate(["FAILED", "KILLED", "RUNNING"]):
    ids.append(run("base", 1 + i))
    client.log_metric(ids[-1], "train/loss", 3.0 + i, timestamp=at, step=1)
    if state != "RUNNING":
        client.set_terminated(ids[-1], state)
child = run("child", 9, **{"mlflow.parentRunId": first})
client.log_metric(child, "loss", 1.5, timestamp=at, step=7)
client.log_metric(child, "train_loss", 2.5, timestamp=at, step=7)
client.log_metric(child, "train_runtime", 60.0, timestamp=at, step=7)
gone = run("gone", 10)
client.log_metric(gone, "loss", 1.5, timestamp=at, step=1)
client.delete_run(gone)
client.log_metric(run("accuracy only", 11, experiment=other), "accuracy", 0.5, timestamp=at, step=1)
run("nothing", 12, experiment=other)
print(*ids, child)
"""
STORES = ("files", "sqlite")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a writer of the same runs into either store: its path and the ids of the runs."""
    made = {}

    def write(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            path = folder / ("mlruns" if kind == "files" else "mlflow.db")
            uri = f"file:{path}" if kind == "files" else f"sqlite:///{path}"
            said = run_client(
                WRITE,
                uri,
                POINTS,
                needs=("mlflow", "alembic", "sqlalchemy"),
                MLFLOW_ALLOW_FILE_STORE="true",
                MLFLOW_TRACKING_DIR=str(folder),
            )
            made[kind] = path, said.split()
        return made[kind]

    return write


@pytest.fixture(params=STORES)
def store(request, written):
    return written(request.param)


def one(runs, name):
    return take_runs(runs, np.array(run_names(runs)) == name)


def column(runs, name):
    values = runs[name].to_numpy()
    return dict(zip(runs["step"].to_numpy().tolist(), values.tolist(), strict=True))


def test_every_value_comes_in(store):
    path, _ = store
    result = read(path)
    base = one(result.runs, "base")
    expected = [4 - i / POINTS for i in range(POINTS)]
    expected[3] = 2.0
    assert base["step"].to_numpy().tolist() == list(range(POINTS))
    assert base["train_loss"].to_numpy().tolist() == expected
    evals = column(base, "eval_loss")
    assert evals[100] == 3.5
    assert math.isnan(evals[200])
    assert [evals[300], evals[400]] == [math.inf, -math.inf]
    assert evals[450] == 1.7976931348623155e308
    assert evals[500] == 3.25
    assert column(base, "epoch")[100] == 0.25
    times = column(base, "wall_time")
    assert times[10] == 1_700_000_000 + 0.1
    assert times[3] == times[500] == 1_700_000_000 + 99
    assert all(row["format"] == "mlflow" for row in result.report.imported)


def test_runs_of_one_name_are_told_apart_and_keep_it(store):
    path, ids = store
    runs = read(path).runs
    names = ["base", *(f"base-{own[:8]}" for own in ids[1:4]), "child"]
    assert sorted(run_names(runs)) == sorted(names)
    for name, status, own in zip(
        names, ["done", "failed", "stopped", "running", "running"], ids, strict=True
    ):
        run = one(runs, name)
        assert run["status"].item() == status
        assert run["tracker_id"].item() == own
        assert run["display_name"].item() == name.partition("-")[0]
        assert run["family"].item() == "125M sweep"
    assert one(runs, "child")["parent_run"].item() == "base"
    assert set(read(path, family="mine").runs["family"].to_numpy()) == {"mine"}


def test_parameters_become_coordinates(store):
    base = one(read(store[0]).runs, "base")
    expected = {
        "peak_lr": 1e-3,
        "weight_decay": 0.1,
        "depth": 12,
        "batch_size": 524288,
        "total_steps": 3000,
        "fused": 1.0,
        "comment": "a, b: ü",
        "seeded": "yes",
        "tag_2024_01": "2024_01",
    }
    assert {name: base[name].item() for name in expected} == expected
    assert "api_key" not in base.coords


def test_the_mean_over_a_run_is_not_its_loss(store):
    child = one(read(store[0]).runs, "child")
    assert child["train_loss"].to_numpy().tolist() == [1.5]
    assert child["mean_train_loss"].to_numpy().tolist() == [2.5]


def test_what_is_left_out_is_named(store):
    path, _ = store
    report = read(path).report
    reasons = {row["source"].rpartition(": ")[2]: row["reason"] for row in report.skipped}
    assert reasons["gone"] == "deleted in MLflow"
    assert reasons["accuracy only"] == "no finite train_loss or eval_loss among accuracy"
    assert reasons["nothing"] == "it has no record"
    notes = "\n".join(report.notes)
    assert "left out 1 value of the machine's load" in notes
    assert "2 values of 'base' logged again" in notes


def test_both_stores_give_the_same_runs(written):
    runs = [read(written(kind)[0]).runs for kind in STORES]
    assert sorted(run_names(runs[0])) != []
    for name in ("base", "child"):
        a, b = (one(each, name) for each in runs)
        for variable in ("step", "train_loss", "eval_loss", "wall_time", "epoch"):
            np.testing.assert_array_equal(a[variable].to_numpy(), b[variable].to_numpy())


def test_a_store_is_left_as_it_was(store):
    path, _ = store
    before = contents(path.parent)
    read(path)
    assert contents(path.parent) == before


def test_importing_twice_adds_nothing(store, tmp_path):
    into = open_store(tmp_path / "store", create=True)
    assert len(import_sources(into, [store[0]]).imported) == 5
    assert import_sources(into, [store[0]]).imported == ()
    into.close()


def test_an_experiment_or_a_run_of_files_can_be_given(written):
    path, ids = written("files")
    (run,) = path.glob(f"*/{ids[0]}")
    assert run_names(read(run).runs) == ["base"]
    assert read(run).runs["family"].item() == "125M sweep"
    assert len(read(run.parent).runs["run_id"]) == 5
    assert len(read(path.parent).runs["run_id"]) == 5


def test_a_growing_file_store_is_read_up_to_its_last_whole_line(written, tmp_path):
    path = shutil.copytree(written("files")[0], tmp_path / "mlruns")
    (metric,) = path.glob(f"*/{written('files')[1][1]}/metrics/train/loss")
    with metric.open("ab") as file:
        file.write(b"1700000000001 2.5 2\n\nnonsense\n17000 x y\n1700000000002 2.5")
    result = read(path)
    run = one(result.runs, f"base-{written('files')[1][1][:8]}")
    assert column(run, "train_loss") == {1: 3.0, 2: 2.5}
    notes = "\n".join(result.report.notes)
    assert "left out 1 line without a line end" in notes
    assert "left out 2 lines without a metric" in notes


def test_metrics_of_logged_models_and_of_old_files_are_read(written, tmp_path):
    path = shutil.copytree(written("files")[0], tmp_path / "mlruns")
    (folder,) = path.glob(f"*/{written('files')[1][1]}/metrics")
    (folder / "val_loss").write_text("1700000000001 2.5 2 data 12ab\n")
    (folder / "old_loss").write_text("1700000000001 2.5\n")
    result = read(path)
    run = one(result.runs, f"base-{written('files')[1][1][:8]}")
    assert column(run, "eval_loss")[2] == 2.5
    assert "left out 1 record without a step" in "\n".join(result.report.notes)


def test_a_run_without_its_meta_file_is_named(written, tmp_path):
    path = shutil.copytree(written("files")[0], tmp_path / "mlruns")
    (meta,) = path.glob(f"*/{written('files')[1][1]}/meta.yaml")
    for content, said in (
        (b"", "names no run"),
        (b"a: [1\n", "names no run"),
        (b"\xff\0", "names"),
    ):
        meta.write_bytes(content)
        result = read(path)
        assert len(result.report.imported) == 4
        assert said in next(r["reason"] for r in result.report.skipped if "meta" in r["reason"])


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_live_database_is_read_with_its_log(written, tmp_path, mode):
    path = shutil.copy(written("sqlite")[0], tmp_path / "mlflow.db")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute(f"PRAGMA journal_mode = {mode}")
    own = written("sqlite")[1][1]
    writer.execute(
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
        "VALUES ('train/loss', 2.25, 1700000000500, ?, 2, 0)",
        (own,),
    )
    writer.execute("BEGIN")
    writer.execute("UPDATE metrics SET value = 0 WHERE run_uuid = ?", (own,))
    before = sorted(p.name for p in tmp_path.iterdir())
    run = one(read(path).runs, f"base-{own[:8]}")
    assert column(run, "train_loss") == {1: 3.0, 2: 2.25}  # nothing that is not committed
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    writer.execute("COMMIT")
    writer.close()


def test_a_database_whose_writer_died_is_recovered_elsewhere(written, tmp_path):
    path = shutil.copy(written("sqlite")[0], tmp_path / "live.db")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    own = written("sqlite")[1][1]
    writer.execute("UPDATE metrics SET value = 2.0 WHERE run_uuid = ?", (own,))
    dead = tmp_path / "dead"
    dead.mkdir()
    for suffix in ("", "-wal"):  # as a copy of the folder leaves them, or a machine that went down
        shutil.copy(f"{path}{suffix}", dead / f"mlflow.db{suffix}")
    writer.close()
    before = contents(dead)
    assert column(one(read(dead).runs, f"base-{own[:8]}"), "train_loss") == {1: 2.0}
    assert contents(dead) == before


def test_a_half_written_transaction_is_rolled_back_elsewhere(written, tmp_path):
    path = shutil.copy(written("sqlite")[0], tmp_path / "mlflow.db")
    code = """
import os, sqlite3, sys
own = sqlite3.connect(sys.argv[1], isolation_level=None)
own.execute("PRAGMA cache_size = 2")
own.execute("BEGIN")
own.execute("UPDATE metrics SET value = 0")
own.execute("INSERT INTO tags SELECT 'k' || step || key || timestamp, hex(zeroblob(900)), run_uuid "
            "FROM metrics")
print("journal", flush=True)
os._exit(0)
"""
    run_client(code, path, needs=("sqlite3",))
    assert (tmp_path / "mlflow.db-journal").stat().st_size
    before = contents(tmp_path)
    runs = read(path).runs
    assert column(one(runs, "base"), "train_loss")[0] == 4.0
    assert contents(tmp_path) == before


def test_a_database_at_rest_in_wal_mode_gets_no_files_beside_it(written, tmp_path):
    path = shutil.copy(written("sqlite")[0], tmp_path / "mlflow.db")
    with sqlite3.connect(path) as own:
        own.execute("PRAGMA journal_mode = WAL")
    own.close()
    assert [p.name for p in tmp_path.iterdir()] == ["mlflow.db"]
    read(path)
    assert [p.name for p in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_locked_database_is_refused(written, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.io.sqlite_files._BUSY_SECONDS", 0.05)
    path = shutil.copy(written("sqlite")[0], tmp_path / "mlflow.db")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match="is locked by the program that writes it"):
        read(path)
    writer.close()
    assert len(read(path).report.imported) == 5


def test_other_databases_are_not_taken_for_mlflow(written, tmp_path):
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE metrics (key, value)")
    other.commit()
    other.close()
    assert not FORMAT.sniff(Source(tmp_path / "other.db"))
    (tmp_path / "text.db").write_text("SQLite format 3 is what this is not")
    assert not FORMAT.sniff(Source(tmp_path / "text.db"))
    old = shutil.copy(written("sqlite")[0], tmp_path / "old.db")
    with sqlite3.connect(old) as own:
        own.execute("ALTER TABLE metrics RENAME COLUMN is_nan TO was_nan")
    own.close()
    with pytest.raises(DataError, match=r"'metrics' of .*old.db has no column is_nan.*db upgrade"):
        read(old)
    (tmp_path / "none.db").write_bytes(b"SQLite format 3\0" + bytes(4000))
    for format in ("auto", "mlflow"):
        with pytest.raises(DataError, match=r"none.db"):
            read(tmp_path / "none.db", format=format)


@pytest.mark.parametrize("table", ["runs", "metrics"])
def test_a_view_in_a_tables_place_is_refused(written, tmp_path, table):
    path = shutil.copy(written("sqlite")[0], tmp_path / "mlflow.db")
    with sqlite3.connect(path) as own:
        names = [row[1] for row in own.execute(f"PRAGMA table_info({table})")]
        own.execute(f"ALTER TABLE {table} RENAME TO old")
        own.execute(
            f"CREATE VIEW {table.upper()} AS WITH RECURSIVE r(x) AS "
            "(SELECT 1 UNION ALL SELECT x + 1 FROM r) "
            f"SELECT {', '.join(f'x AS {name}' for name in names)} FROM r"
        )
    own.close()
    with pytest.raises(DataError, match=f"'{table}' of .*mlflow.db is a view"):
        read(path, format="mlflow")


def test_damaged_databases_are_read_or_refused(written, tmp_path):
    content = written("sqlite")[0].read_bytes()
    path = tmp_path / "mlflow.db"
    said = set()
    for seed in range(60):
        path.write_bytes(mutated(content, seed))
        start = time.monotonic()
        said.add(outcome(path, format="mlflow")[:4])
        assert time.monotonic() - start < 10
    assert len(said) > 1  # some were read, some refused


def test_damaged_files_are_read_or_refused(written, tmp_path):
    path = shutil.copytree(written("files")[0], tmp_path / "mlruns")
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.stat().st_size]
    for seed in range(60):
        file = files[seed % len(files)]
        whole = file.read_bytes()
        file.write_bytes(mutated(whole, seed))
        outcome(path, format="mlflow")
        file.write_bytes(whole)
    assert outcome(path) == "read"
