from __future__ import annotations

import math
import shutil
import signal
import sqlite3
import time

import numpy as np
import pytest

from tests.io.readers.clients import contents, mutated, run_client
from workbench.errors import DataError
from workbench.io import import_sources, read
from workbench.io.readers import aim_process
from workbench.io.readers.aim import FORMAT
from workbench.io.result import Source
from workbench.schema import run_names, take_runs
from workbench.store import open_store

POINTS = 15_000
WRITE = """
import os, sys
import aim

where, points = sys.argv[1], int(sys.argv[2])
repo = aim.Repo.from_path(where, init=True)

def start(experiment="sweep", **options):
    quiet = {"system_tracking_interval": None, "capture_terminal_logs": False}
    return aim.Run(repo=repo, experiment=experiment, **{**quiet, **options})

run = start(system_tracking_interval=1)
run.name = "base"
run["hparams"] = {"lr": 1e-3, "model": {"n_layer": 4}, "betas": [0.9, 0.95], "api_key": "hush"}
run["note"] = "first"
for i in range(points):
    run.track(4 - i / points, name="loss", step=i, epoch=i // 100, context={"subset": "train"})
for step, value in enumerate([3.5, float("nan"), float("inf"), -float("inf")]):
    run.track(value, name="loss", step=100 * step, epoch=step, context={"subset": "val"})
run.track(1, name="count", step=3, context={"subset": "val", "head": "a"})
run.track(2.5, name="val_accuracy", step=3, context={"subset": "val"})
run.track(aim.Text("hello"), name="words", step=3)
run.close()
for seed in (1, 2):
    run = start()
    run.name = "again"
    run["hparams"] = {"seed": seed}
    run.track(seed, name="loss", step=1)
    run.track(9.0, name="loss", step=1, context={"subset": "train"})
    run.track(60.0, name="runtime", step=1, context={"subset": "train"})
    run.close()
run = start("other")
run.track(0.5, name="accuracy", step=1)
run.close()
killed = start("killed")
killed.name = "killed"
for i in range(50):
    killed.track(3 - i / 50, name="loss", step=i)
print(killed.hash, flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a repository with closed runs and one whose process was killed."""
    folder = tmp_path_factory.mktemp("aim")
    run_client(WRITE, folder, POINTS, needs=("aim",), HOME=str(folder.parent))
    return folder / ".aim"


def one(runs, name):
    return take_runs(runs, np.array(run_names(runs)) == name)


def column(runs, name):
    values = runs[name].to_numpy()
    return dict(zip(runs["step"].to_numpy().tolist(), values.tolist(), strict=True))


def test_every_value_comes_in_and_nothing_is_touched(written):
    before = contents(written)
    result = read(written)
    assert contents(written) == before
    base = one(result.runs, "base")
    assert base["step"].to_numpy().tolist() == list(range(POINTS))
    assert base["train_loss"].to_numpy().tolist() == [4 - i / POINTS for i in range(POINTS)]
    evals = column(base, "eval_loss")
    assert evals[0] == 3.5
    assert math.isnan(evals[100])
    assert [evals[200], evals[300]] == [math.inf, -math.inf]
    assert column(base, "epoch")[POINTS - 1] == (POINTS - 1) // 100
    assert column(base, "val_head_a_count")[3] == 1
    assert column(base, "val_accuracy")[3] == 2.5
    times = base["wall_time"].to_numpy()
    assert abs(times - time.time()).max() < 3600
    notes = "\n".join(result.report.notes)
    assert "of the machine's load" in notes
    assert "logged again" not in notes


def test_parameters_become_coordinates(written):
    base = one(read(written).runs, "base")
    settings = {"peak_lr": 1e-3, "depth": 4, "betas": "[0.9, 0.95]", "note": "first"}
    assert {name: base[name].item() for name in settings} == settings
    assert base["family"].item() == "sweep"
    assert base["status"].item() == "done"
    assert "api_key" not in base.coords


def test_runs_of_one_name_are_told_apart(written):
    result = read(written)
    again = [name for name in run_names(result.runs) if name.startswith("again")]
    own = {name: one(result.runs, name) for name in again}
    (second,) = set(again) - {"again"}
    assert second == f"again-{own[second]['tracker_id'].item()[:8]}"
    assert [own["again"]["seed"].item(), own[second]["seed"].item()] == [1, 2]
    assert own["again"]["train_loss"].item() == 1
    assert own["again"]["mean_train_loss"].item() == 9
    (skipped,) = result.report.skipped
    assert skipped["reason"] == "no finite train_loss or eval_loss among accuracy"


def test_a_killed_run_has_every_point(written):
    killed = one(read(written).runs, "killed")
    assert killed["train_loss"].to_numpy().tolist() == [3 - i / 50 for i in range(50)]
    assert killed["status"].item() == "running"


def test_the_folder_above_and_importing_twice(written, tmp_path):
    into = open_store(tmp_path / "store", create=True)
    first = import_sources(into, [written.parent])
    assert {row["format"] for row in first.imported} == {"aim"}
    assert len(first.imported) == 4
    assert import_sources(into, [written]).imported == ()
    into.close()


def test_without_aim_the_extra_is_named(written, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'collapse-workbench\[trackers\]'"):
        read(written)


ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)"


@pytest.mark.parametrize("table", ["run", "experiment"])
def test_a_view_without_an_end_is_refused(written, tmp_path, table):
    path = shutil.copytree(written, tmp_path / ".aim")
    own = sqlite3.connect(path / "run_metadata.sqlite")
    columns = [row[1] for row in own.execute(f"PRAGMA table_info({table})")]
    own.execute("PRAGMA foreign_keys = OFF")
    own.execute(f"ALTER TABLE {table} RENAME TO other")
    names = ", ".join(f"x AS {name}" for name in columns)
    own.execute(f"CREATE VIEW {table} AS {ENDLESS} SELECT {names} FROM r")
    own.commit()
    own.close()
    with pytest.raises(DataError, match=f"'{table}' of .*run_metadata.sqlite is a view"):
        read(path)


def test_a_library_that_crashes_or_hangs_is_said(written, tmp_path, monkeypatch):
    script = tmp_path / "child.py"
    monkeypatch.setattr(aim_process, "__file__", str(script))
    monkeypatch.setattr("workbench.io.readers.aim._CPU_SECONDS", 1)
    for body, said in (
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended with signal 11"),
        ("exec('while True: pass')", f"ended with signal {signal.SIGXCPU:d}, or reached a limit"),
        ("sys.exit('torn')", "cannot be read by Aim: torn. Check it"),
    ):
        script.write_text(f"import os, signal, sys\ndef main(*_): {body}\n")
        with pytest.raises(DataError, match=said):
            read(written)


def test_a_folder_with_a_hidden_repository_and_other_logs(written, tmp_path):
    shutil.copytree(written, tmp_path / ".aim")
    (tmp_path / "mine.csv").write_text("step,loss\n1,2.5\n")
    formats = {row["run_id"]: row["format"] for row in read(tmp_path).report.imported}
    assert formats == dict.fromkeys(formats, "aim") | {"mine": "csv"}
    (tmp_path / ".aim" / "VERSION").unlink()
    (tmp_path / ".aim" / "run_metadata.sqlite").unlink()
    assert run_names(read(tmp_path).runs) == ["mine"]


def test_other_versions_and_other_folders(written, tmp_path):
    assert not FORMAT.sniff(Source(tmp_path))
    path = shutil.copytree(written, tmp_path / ".aim")
    for version, said in (
        ("2.0", r"version 2\.0, the installed"),
        ("0.9", "upgrade"),
        ("x", "does not hold"),
    ):
        (path / "VERSION").write_text(version)
        with pytest.raises(DataError, match=said):
            read(path)


def test_a_locked_repository_is_refused(written, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.io.sqlite_files._BUSY_SECONDS", 0.05)
    path = shutil.copytree(written, tmp_path / ".aim")
    writer = sqlite3.connect(path / "run_metadata.sqlite", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DataError, match="is locked"):
        read(path)
    writer.close()


def test_damaged_repositories_are_read_whole_or_refused(written, tmp_path):
    path = shutil.copytree(written, tmp_path / ".aim")
    whole = one(read(path).runs, "base")
    kinds = {".sst", ".sqlite", ""}
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and p.suffix in kinds]
    files = [p for p in files if p.stat().st_size and p.name != "LOG"]
    for seed in range(12):
        file = files[seed * 7 % len(files)]
        content = file.read_bytes()
        file.write_bytes(mutated(content, seed))
        start = time.monotonic()
        try:
            result = read(path)
        except DataError:
            result = None
        if result is not None and "base" in run_names(result.runs):
            base = one(result.runs, "base")
            np.testing.assert_array_equal(base["train_loss"], whole["train_loss"])
        elif result is not None:
            reasons = {row["reason"] for row in result.report.skipped}
            assert "its data are damaged" in reasons
        assert time.monotonic() - start < 60
        file.write_bytes(content)
