"""Killed for real, resumed for real: the finished family is the undisturbed one, no step twice."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.training.kills import (
    alive,
    await_records,
    differences,
    end,
    records_in,
    start,
    values,
    workers_of,
    write_spec,
    written_more_than_once,
)
from workbench.store import open_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes under /proc"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Train the family once in peace; return its spec and its records."""
    folder = tmp_path_factory.mktemp("undisturbed")
    spec = write_spec(folder / "family.toml")
    finish(start(spec, folder / "runs"))
    return spec, values(folder / "runs")


def finish(process):
    """Wait for the command, which must succeed, and return its result and what it said."""
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    result = json.loads(out)
    assert {run["status"] for run in result["runs"]} == {"done"}
    return result, errors


def check_same(path, undisturbed):
    assert differences(values(path), undisturbed) == []
    assert written_more_than_once(path)[0] == 0
    store = open_store(path)
    assert store.check() == ()
    store.close()
    assert not (path / "checkpoints").exists()


@pytest.mark.parametrize("launcher", ["local", "dask"])
def test_a_worker_is_killed(undisturbed, tmp_path, launcher):
    spec, expected = undisturbed
    path = tmp_path / "runs"
    process = start(spec, path, "--launcher", launcher)
    try:
        await_records(path, process)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        finish(process)
    finally:
        end(process)
    check_same(path, expected)


@pytest.mark.parametrize("launcher", ["local", "dask"])
def test_the_driver_is_killed_and_the_command_run_again(undisturbed, tmp_path, launcher):
    spec, expected = undisturbed
    path = tmp_path / "runs"
    # One process: the second batch has not begun when the first has points in the store.
    process = start(spec, path, "--launcher", launcher, processes=1)
    try:
        await_records(path, process, beyond=500)
        orphans = workers_of(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        made = records_in(path)
        result, _ = finish(start(spec, path, "--launcher", launcher))
    finally:
        end(process)
    assert not any(map(alive, orphans))
    check_same(path, expected)
    total = sum(len(run["step"]) for run in expected.values())
    # What checkpoints had was not made again.
    assert result["run_steps_per_second"] * result["seconds"] < total - 0.2 * made
    assert made < total


@pytest.mark.parametrize("launcher", ["local", "dask"])
def test_ctrl_c_leaves_a_family_that_goes_on_where_it_was(undisturbed, tmp_path, launcher):
    spec, expected = undisturbed
    path = tmp_path / "runs"
    # One process: the second batch has not begun when the first has points in the store.
    process = start(spec, path, "--launcher", launcher, processes=1)
    try:
        await_records(path, process, beyond=500)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "Checkpoints are written: the same command goes on from here." in errors
        assert "Traceback" not in errors
        store = open_store(path)
        table = store.table()
        store.close()
        assert set(table["status"]) <= {"stopped", "done"}
        result, _ = finish(start(spec, path, "--launcher", launcher))
    finally:
        end(process)
    check_same(path, expected)
    total = sum(len(run["step"]) for run in expected.values())
    # Not one step was made twice: each job wrote a checkpoint where it was.
    made = round(result["run_steps_per_second"] * result["seconds"])
    assert made == total - table["n_records"].sum()
