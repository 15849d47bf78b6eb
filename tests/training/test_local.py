"""Processes of this machine as a crew."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from workbench.errors import ArgumentError, DataError
from workbench.store import open_store
from workbench.training import FunctionTask, launchers, parse_spec, train_family
from workbench.training.launchers import local_launcher, open_launcher
from workbench.training.local import MOST_DEATHS, LocalLauncher
from workbench.training.preflight import Gpu

SPEC = {
    "family": "own",
    "task": {"name": "own", "label": "deadly", "vocab": 16},
    "model": {"context": 8},
    "batch": {"rule": "fixed", "sequences": 8},
    "evaluation": {"points": 2, "sequences": 8},
    "group": [{"width": 8, "tau": 0.3, "tpp": 1}],
}


@pytest.fixture
def own_task(monkeypatch):
    """Import tasks from their file under a name that spawned processes find as well."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    spec = importlib.util.find_spec("own_task")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_task", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_job_that_kills_its_processes_is_given_up(own_task, tmp_path):
    seen = tmp_path / "seen"
    launcher = LocalLauncher([{"CUDA_VISIBLE_DEVICES": "7", "SEEN": str(seen)}])
    say = rf"{MOST_DEATHS} processes ended before their work was done, the last with exit code -9"
    with pytest.raises(DataError, match=say):
        train_family(
            parse_spec(SPEC),
            tmp_path / "runs",
            task=FunctionTask(own_task.deadly),
            launcher=nullcontext(launcher),
            progress=False,
        )
    # Whoever takes a dead process's place is given its device.
    assert seen.read_text() == "7\n" * MOST_DEATHS
    store = open_store(tmp_path / "runs")
    table = store.table()
    assert set(table["status"]) == {"failed"}
    assert store.check() == ()
    store.close()


@pytest.fixture
def gpus(monkeypatch):
    """Let the machine have two CUDA devices of unlike memory."""
    found = (Gpu("3", 80), Gpu("5", 40))
    monkeypatch.setattr(launchers, "find_gpus", lambda: found)
    monkeypatch.setattr("workbench.training.preflight.find_gpus", lambda: found)
    return found


def test_every_process_sees_one_device_of_its_own(gpus):
    launcher = local_launcher(None, "cuda")
    assert launcher.environments == (
        {"CUDA_VISIBLE_DEVICES": "3"},
        {"CUDA_VISIBLE_DEVICES": "5"},
    )
    assert (launcher.workers, launcher.device, launcher.memory) == (2, "cuda", 40)
    assert local_launcher(1, "cuda").memory == 80


def test_auto_takes_a_device_where_there_is_one(gpus, monkeypatch):
    chosen = {"scheduler": None, "processes": None}
    with open_launcher("local", device="auto", **chosen) as launcher:
        assert launcher.device == "cuda"
    monkeypatch.setattr("workbench.training.preflight.find_gpus", lambda: ())
    with open_launcher("local", device="auto", **chosen) as launcher:
        assert launcher.device == "cpu"
    with open_launcher("local", device="cpu", **chosen | {"processes": 3}) as launcher:
        assert launcher.environments == ({}, {}, {})


def test_what_cannot_be(gpus, monkeypatch):
    with pytest.raises(ArgumentError, match=r"processes 3 is more than the 2 CUDA devices"):
        local_launcher(3, "cuda")
    chosen = {"scheduler": None, "processes": None, "device": "cpu"}
    with pytest.raises(ArgumentError, match="processes must be at least 1, found 0"):
        open_launcher("local", **chosen | {"processes": 0})
    with pytest.raises(ArgumentError, match=r"scheduler 'tcp://h:1' is for --launcher dask"):
        open_launcher("local", **chosen | {"scheduler": "tcp://h:1"})
    with pytest.raises(ArgumentError, match="launcher must be local or dask, found 'ray'"):
        open_launcher("ray", **chosen)
    with pytest.raises(ArgumentError, match="device must be auto, cpu or cuda, found 'tpu'"):
        open_launcher("local", **chosen | {"device": "tpu"})
