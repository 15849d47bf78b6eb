from __future__ import annotations

import builtins
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.io.readers.wandb_server import KEY, WandbServer
from workbench.errors import ArgumentError, DataError
from workbench.io import follow_sources, import_sources, read
from workbench.store import open_store

POINTS = 2500  # more than one page of the client's
BEGAN = 1_700_000_000
# The client keeps a process of its own, and one state for all threads: each import has its own.
IMPORT = """
import json, sys
import wandb.apis.public.runs as public

def sampled(*args, **kwargs):
    raise AssertionError("history() samples")

public.Run.history = sampled
from workbench.cli import main

sys.argv = ["workbench", *sys.argv[1:]]
sys.exit(main())
"""


def rows(count=POINTS, **columns):
    given = [{"_step": i, "_timestamp": BEGAN + i, "_runtime": float(i)} for i in range(count)]
    for name, value in columns.items():
        for i, row in enumerate(given):
            row[name] = value(i)
    return given


def a_run(name, logged, **more):
    standard = {
        "state": "finished",
        "config": {},
        "summary": {},
        "createdAt": "2025-01-01T00:00:00Z",
    }
    return standard | {"displayName": name, "rows": logged} | more


@pytest.fixture
def server():
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb not installed: pip install collapse-workbench[trackers]")
    first = rows(loss=lambda i: 4 - i / POINTS, nested=lambda i: {"x": i, "y": {"z": 2}})
    first[5]["loss"] = "NaN"
    first[6]["loss"] = "Infinity"
    first[7]["table"] = {"_type": "table-file", "path": "x", "ncols": 3}
    first[100]["val_loss"] = 3.5
    trainer = rows(8, **{"train/global_step": lambda i: 10 * (i // 2 + 1)})
    for i, row in enumerate(trainer):
        row["eval/loss" if i % 2 else "train/loss"] = 3.0 - i / 10
    with WandbServer() as opened:
        opened.runs = {
            "aaaa1111": a_run(
                "base",
                first,
                config={"lr": 1e-3, "model": {"n_layer": 3}, "betas": [0.9, 0.95]},
                summary={"loss": 3.0, "best/accuracy": 0.5, "_wandb": {"runtime": 9}},
                group="g",
                commit="abc123",
                lines=POINTS + 1,
            ),
            "bbbb2222": a_run("trainer", trainer, state="crashed"),
            "cccc3333": a_run(
                "base",
                rows(3, loss=lambda i: 2.0),
                state="running",
                createdAt="2025-01-02T00:00:00Z",
            ),
            "dddd4444": a_run("lines only", rows(3, accuracy=lambda i: 0.5), state="killed"),
        }
        yield opened


@pytest.fixture
def imported(server, tmp_path):
    """Return a function that imports an address with the real client: exit code, answer, errors."""

    def run(address="wandb://ent/proj", *, key=KEY, into=tmp_path / "store"):
        environment = {name: text for name, text in os.environ.items() if "WANDB" not in name}
        folders = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "HOME")
        environment |= {name: str(tmp_path / name) for name in folders}
        environment |= {
            "WANDB_BASE_URL": server.url,
            "WANDB_ERROR_REPORTING": "false",
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        }
        if key:
            environment["WANDB_API_KEY"] = key
        for folder in folders:
            (tmp_path / folder).mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, "import", address, "--store", str(into), "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def runs(imported, tmp_path):
    code, out, err = imported()
    assert code == 0, err
    store = open_store(tmp_path / "store")
    found = store.runs().load()
    store.close()
    return found, json.loads(out)


def one(given, name):
    """Return the coordinates of a run, and its records as columns by step."""
    runs = given[0]
    index = runs["run_id"].to_numpy().tolist().index(name)
    ends = np.cumsum(runs["row_size"].to_numpy())
    part = slice(int(ends[index] - runs["row_size"].to_numpy()[index]), int(ends[index]))
    coords = {str(c): runs[c].to_numpy()[index] for c in runs.coords if runs[c].dims == ("run",)}
    columns = {str(v): runs[v].to_numpy()[part] for v in runs.data_vars if runs[v].dims == ("obs",)}
    return coords, columns


def test_a_project_comes_in_whole(runs):
    report = runs[1]
    assert [row["run_id"] for row in report["imported"]] == ["base", "trainer", "base-cccc3333"]
    coords, columns = one(runs, "base")
    expected = [4 - i / POINTS for i in range(POINTS)]
    assert columns["step"].tolist() == list(range(POINTS))
    assert math.isnan(columns["train_loss"][5])
    assert columns["train_loss"][6] == math.inf
    assert columns["train_loss"][:5].tolist() == expected[:5]
    assert columns["train_loss"][7:].tolist() == expected[7:]
    assert columns["nested.x"].tolist() == list(range(POINTS))
    assert columns["wall_time"].tolist() == [BEGAN + i for i in range(POINTS)]
    assert columns["eval_loss"][100] == 3.5
    settings = {
        "peak_lr": 1e-3,
        "depth": 3,
        "betas": "[0.9, 0.95]",
        "family": "proj",
        "status": "done",
        "group": "g",
        "git_commit": "abc123",
        "display_name": "base",
        "tracker_id": "aaaa1111",
        "source": "wandb://ent/proj/aaaa1111",
        "summary_best_accuracy": 0.5,
    }
    assert {name: coords[name] for name in settings} == settings
    assert len(coords["source_sha256"]) == 64
    assert "summary_loss" not in coords
    notes = "\n".join(report["notes"])
    assert "left out 1 value of another kind than numbers" in notes
    assert f"{POINTS} records of 'aaaa1111' came, W&B counts {POINTS + 1}" in notes
    (skipped,) = report["skipped"]
    assert skipped["reason"].startswith("no finite train_loss or eval_loss among")


def test_a_trainers_own_step_counts(runs):
    coords, columns = one(runs, "trainer")
    assert coords["status"] == "failed"
    assert columns["step"].tolist() == [10, 20, 30, 40]
    assert columns["train_loss"].tolist() == [3.0, 2.8, 2.6, 2.4]
    assert columns["eval_loss"].tolist() == [2.9, 2.7, 2.5, 2.3]
    assert columns["wandb_step"].tolist() == [1, 3, 5, 7]
    assert columns["wandb_runtime"].tolist() == [1, 3, 5, 7]
    assert columns["wall_time"].tolist() == [BEGAN + i for i in (1, 3, 5, 7)]
    notes = "\n".join(runs[1]["notes"])
    assert "'bbbb2222': step is the column 'train/global_step'" in notes
    assert "'aaaa1111': step is W&B's _step" in notes
    assert "logged again" not in notes


def test_one_run_comes_as_it_does_with_its_project(imported, runs, tmp_path):
    for address in ("wandb://ent/proj/bbbb2222", "wandb://ent/proj/runs/bbbb2222/"):
        code, out, err = imported(address, into=tmp_path / "one")
        assert code == 0, err
    assert "already in the store with the same content" in out
    store = open_store(tmp_path / "one")
    own = one((store.runs().load(), {}), "trainer")
    store.close()
    whole = one(runs, "trainer")
    assert own[0]["source_sha256"] == whole[0]["source_sha256"]
    np.testing.assert_array_equal(own[1]["train_loss"], whole[1]["train_loss"])


@pytest.mark.slow  # the client tries again for half a minute
def test_a_page_that_fails_leaves_the_store_as_it_was(server, imported, tmp_path):
    assert imported("wandb://ent/proj/bbbb2222")[0] == 0
    server.fail_from_step = 1000
    code, out, err = imported()
    assert code == 1
    assert "cannot be read" in out + err
    assert "history is out of order" in out + err
    assert "Traceback" not in err
    store = open_store(tmp_path / "store")
    assert store.revision() == 1
    assert store.runs()["run_id"].to_numpy().tolist() == ["trainer"]
    store.close()


@pytest.mark.parametrize(
    ("key", "said"),
    [("f" * 40, "does not know the key"), ("", "no key for W&B is set"), ("short", "W&B")],
    ids=["wrong", "none", "malformed"],
)
def test_without_a_good_key_nothing_is_imported(imported, tmp_path, key, said):
    code, out, err = imported(key=key)
    assert code == 1
    assert said in out + err
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("address", ["wandb://ent/nothing", "wandb://ent/proj/zzzz"])
def test_what_is_not_there_is_said(imported, tmp_path, address):
    code, out, err = imported(address)
    assert code == 1
    assert address in out + err
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists()


def test_bad_addresses_are_refused(tmp_path):
    for address in ("wandb://ent", "wandb://ent/proj/a/b", "wandb:///proj/run"):
        with pytest.raises(ArgumentError, match="is no W&B address"):
            read(address)
    with pytest.raises(ArgumentError, match="at no known service"):
        read("s3://bucket/log.csv")
    with pytest.raises(ArgumentError, match="at no known service"):
        read("wandb://ent/proj", format="csv")
    with pytest.raises(ArgumentError, match="only files and folders can be followed"):
        follow_sources(tmp_path / "store", ["wandb://ent/proj"])
    (tmp_path / "a.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(ArgumentError, match="is no W&B address"):
        read(tmp_path / "a.csv", format="wandb-api")


def test_without_the_client_the_extra_is_named(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "wandb":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'collapse-workbench\[trackers\]'"):
        import_sources(tmp_path / "store", ["wandb://ent/proj"])
    assert not (tmp_path / "store").exists()
