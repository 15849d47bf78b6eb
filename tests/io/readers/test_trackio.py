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
from workbench.schema import run_names, take_runs
from workbench.store import open_store

POINTS = 3000
WRITE = """
import pathlib, sys
import trackio
from trackio.sqlite_storage import SQLiteStorage

points = int(sys.argv[1])
model = {"n_layer": 3, "d_model": 64}
config = {"lr": 1e-3, "model": model, "betas": [0.9, 0.95], "optimizer": "adamw"}
trackio.init(project="sweep-one", name="base", config=config, group="g")
for i in range(points):
    trackio.log({"train/loss": 4 - i / points, "epoch": i / points, "nested": {"x": i}})
trackio.log({"val_loss": float("nan")}, step=100)
trackio.log({"val_loss": float("inf")}, step=200)
trackio.log({"val_loss": -float("inf"), "train/loss": 2.0}, step=300)
trackio.log({"val_loss": 2.5, "picture": trackio.Histogram([1, 2, 3])}, step=points - 1)
trackio.finish()
for loss in (3.0, 2.0):
    trackio.init(project="sweep-one", name="again", config={"seed": loss})
    trackio.log({"loss": loss}, step=1)
    trackio.finish()
trackio.init(project="sweep-two", name="base")
trackio.log({"loss": 1.0}, step=5)
trackio.finish()
if len(sys.argv) > 2:
    SQLiteStorage.export_to_parquet()
    SQLiteStorage.export_for_static_space("sweep-one", pathlib.Path(sys.argv[2]))
"""
OLD = """
CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL,
    run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE configs (id INTEGER PRIMARY KEY AUTOINCREMENT, run_name TEXT NOT NULL,
    config TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE(run_name));
INSERT INTO metrics VALUES (1, '2025-10-01T12:00:00.5', 'old', 1, '{"loss": 2.5, "acc": "NaN"}');
INSERT INTO metrics VALUES (2, '2025-10-01T12:00:01.5', 'old', 2, '{"loss": "Infinity"}');
INSERT INTO metrics VALUES (3, '2025-10-01T12:00:02.5', 'old', 3, '[1]');
INSERT INTO metrics VALUES (4, '2025-10-01T12:00:02.5', 'old', 3, '{"loss":');
INSERT INTO configs VALUES (1, 'old', '{"lr": 0.5, "_Group": null}', '2025-10-01T12:00:00');
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a folder of projects with snapshots, and an export for a static page."""
    folder = tmp_path_factory.mktemp("trackio")
    run_client(
        WRITE,
        POINTS,
        folder / "page",
        needs=("trackio", "pyarrow"),
        TRACKIO_DIR=str(folder / "projects"),
    )
    return folder


@pytest.fixture
def database(written):
    return next((written / "projects").glob("*one.db"))


def one(runs, name):
    return take_runs(runs, np.array(run_names(runs)) == name)


def column(runs, name):
    values = runs[name].to_numpy()
    return dict(zip(runs["step"].to_numpy().tolist(), values.tolist(), strict=True))


def sources(written):
    projects = written / "projects"
    database = next(projects.glob("*one.db"))
    return (database, database.with_suffix(".parquet"), written / "page" / "metrics.parquet")


@pytest.mark.parametrize("which", [0, 1, 2], ids=["database", "snapshot", "page"])
def test_every_value_comes_in(written, which):
    result = read(sources(written)[which])
    base = one(result.runs, "base")
    expected = [4 - i / POINTS for i in range(POINTS)]
    expected[300] = 2.0
    assert base["step"].to_numpy().tolist() == list(range(POINTS))
    assert base["train_loss"].to_numpy().tolist() == expected
    assert base["nested.x"].to_numpy().tolist() == list(range(POINTS))
    assert column(base, "epoch")[1] == 1 / POINTS
    evals = column(base, "eval_loss")
    assert math.isnan(evals[100])
    assert [evals[200], evals[300], evals[POINTS - 1]] == [math.inf, -math.inf, 2.5]
    times = base["wall_time"].to_numpy()
    assert np.isfinite(times).all()
    assert abs(times[0] - time.time()) < 3600
    settings = {"peak_lr": 1e-3, "depth": 3, "width": 64, "optimizer": "adamw", "group": "g"}
    assert {name: base[name].item() for name in settings} == settings
    assert base["betas"].item() == "[0.9, 0.95]"
    notes = "\n".join(result.report.notes)
    assert "left out 1 value of another kind than numbers" in notes
    assert "1 value of 'base' logged again" in notes


def test_the_database_and_its_snapshots_hold_the_same(written):
    first, *others = (read(path).runs for path in sources(written))
    for other in others:
        assert run_names(other) == run_names(first)
        for name in ("step", "train_loss", "eval_loss", "wall_time"):
            np.testing.assert_array_equal(other[name].to_numpy(), first[name].to_numpy())


def test_runs_of_one_name_are_told_apart(database):
    runs = read(database).runs
    again = [name for name in run_names(runs) if name.startswith("again")]
    ids = {name: one(runs, name)["tracker_id"].item() for name in again}
    assert again == ["again", f"again-{ids[again[1]][:8]}"]
    assert [one(runs, name)["train_loss"].item() for name in again] == [3.0, 2.0]
    assert [one(runs, name)["seed"].item() for name in again] == [3.0, 2.0]
    assert set(runs["family"].to_numpy()) == {database.stem}


def test_a_folder_of_projects_is_one_source(written, tmp_path):
    before = contents(written)
    result = read(written / "projects")
    assert len(result.report.imported) == 4
    assert len(set(result.runs["family"].to_numpy())) == 2
    assert [row["reason"].partition(" of ")[0] for row in result.report.skipped] == [
        "a snapshot",
        "a snapshot",
    ]
    assert contents(written) == before
    into = open_store(tmp_path / "store", create=True)
    assert len(import_sources(into, [written / "projects"]).imported) == 4
    assert import_sources(into, [written / "projects"]).imported == ()
    into.close()


def test_a_folder_with_other_logs_is_read_file_by_file(database, tmp_path):
    shutil.copy(database, tmp_path / "one.db")
    (tmp_path / "mine.csv").write_text("step,loss\n1,2.5\n")
    formats = {row["run_id"]: row["format"] for row in read(tmp_path).report.imported}
    assert formats["base"] == "trackio"
    assert formats["mine"] == "csv"


def test_a_live_database_is_read_with_its_log(database, tmp_path):
    path = shutil.copy(database, tmp_path / "one.db")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("UPDATE metrics SET metrics = '{\"loss\": 7}' WHERE run_name = 'again'")
    assert (tmp_path / "one.db-wal").stat().st_size
    before = sorted(p.name for p in tmp_path.iterdir())
    assert one(read(path).runs, "again")["train_loss"].item() == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    writer.close()


def test_an_old_layout_is_read(tmp_path):
    with sqlite3.connect(tmp_path / "old.db") as own:
        own.executescript(OLD)
    own.close()
    result = read(tmp_path / "old.db")
    assert run_names(result.runs) == ["old"]
    assert column(result.runs, "train_loss") == {1: 2.5, 2: math.inf}
    assert column(result.runs, "wall_time")[1] == 1759320000.5
    assert result.runs["peak_lr"].item() == 0.5
    notes = "\n".join(result.report.notes)
    assert "left out 2 records without readable values" in notes
    assert "taken as UTC" in notes


def test_an_unknown_layout_is_refused(database, tmp_path):
    newer = shutil.copy(database, tmp_path / "newer.db")
    with sqlite3.connect(newer) as own:
        own.execute("PRAGMA user_version = 99")
    own.close()
    with pytest.raises(DataError, match="version 99, newer than the 2 known"):
        read(newer)
    with sqlite3.connect(newer) as own:
        own.execute("PRAGMA user_version = 2")
        own.execute("ALTER TABLE metrics RENAME COLUMN timestamp TO at")
    own.close()
    with pytest.raises(DataError, match=r"'metrics' of .* has no column timestamp"):
        read(newer)
    with sqlite3.connect(newer) as own:
        own.execute("ALTER TABLE metrics RENAME COLUMN step TO epoch")
    own.close()
    with pytest.raises(DataError, match="in no known format"):
        read(newer)


def test_a_locked_database_is_refused(database, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.io.sqlite_files._BUSY_SECONDS", 0.05)
    path = shutil.copy(database, tmp_path / "one.db")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = DELETE")
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match="is locked by the program that writes it"):
        read(path)
    writer.close()


def test_a_snapshot_that_unfolds_out_of_a_few_bytes_is_refused(written, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(sources(written)[1]).slice(0, 1)
    pq.write_table(table.take(pa.array([0] * 300_000)), tmp_path / "one.parquet")
    with pytest.raises(DataError, match="claims 300000 rows in"):
        read(tmp_path / "one.parquet")


@pytest.mark.parametrize("which", [0, 1], ids=["database", "snapshot"])
def test_damaged_projects_are_read_or_refused(written, tmp_path, which):
    content = sources(written)[which].read_bytes()
    path = tmp_path / f"one{sources(written)[which].suffix}"
    said = set()
    for seed in range(80):
        path.write_bytes(mutated(content, seed))
        start = time.monotonic()
        said.add(outcome(path, format="trackio")[:4])
        assert time.monotonic() - start < 10
    assert len(said) > 1
