from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace

import pytest

from workbench.errors import ArgumentError
from workbench.training import parse_spec, plan_family, preflight, train_family
from workbench.training.preflight import (
    Gpu,
    choose_device,
    find_gpus,
    machine_memory,
    readable,
    require_memory,
    require_room,
    require_torch,
)
from workbench.training.report import Job

GROUP = {"width": [8, 16], "tau": 0.2, "tpp": 10}


@pytest.fixture
def plan():
    return plan_family(parse_spec({"family": "f", "group": [GROUP]}))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1234567, "1.23 MB"), (5e15, "5e+03 TB")],
)
def test_sizes_as_people_read_them(size, text):
    assert readable(size) == text


def test_a_model_is_never_split_over_devices(plan):
    largest = plan.runs[-1].model_size
    require_memory(plan.runs, memory=None)
    require_memory(plan.runs, memory=24 * largest)
    with pytest.raises(ArgumentError, match=r"w16.*parameters, which need at least .* never split"):
        require_memory(plan.runs, memory=24 * largest - 1)


def test_room_is_asked_for_before_anything_is_written(plan, tmp_path, monkeypatch):
    jobs = [Job((run,)) for run in plan.runs]
    folder = tmp_path / "not" / "yet"
    require_room(folder, jobs, workers=2)
    free = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    with pytest.raises(ArgumentError, match=r"need about .* where 1 kB are free.*--checkpoints"):
        require_room(folder, jobs, workers=2)
    with pytest.raises(ArgumentError, match="are free"):
        train_family(plan.spec, tmp_path / "runs", progress=False, device="cpu")
    assert not folder.exists()


def test_a_missing_device_is_said(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "find_gpus", lambda: ())
    assert choose_device("auto") == "cpu"
    with pytest.raises(ArgumentError, match=r"device 'cuda' is not there.*--device cpu"):
        train_family(plan.spec, tmp_path / "runs", progress=False, device="cuda")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("stated", "names"), [(None, ["0", "1"]), ("4, GPU-5", ["4", "GPU-5"]), ("7", ["7"])]
)
def test_devices_keep_the_names_they_were_given(monkeypatch, stated, names):
    answer = "[100, 200]" if stated != "7" else "[100]"
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda *_args, **_options: SimpleNamespace(returncode=0, stdout=answer),
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if stated is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", stated)
    find_gpus.cache_clear()
    found = find_gpus()
    find_gpus.cache_clear()
    assert [gpu.name for gpu in found] == names
    assert found[0] == Gpu(names[0], 100)


def test_what_training_needs_is_named(monkeypatch):
    require_torch()
    monkeypatch.setattr(preflight, "find_spec", lambda name: None if name == "safetensors" else 1)
    with pytest.raises(ArgumentError, match=r"needs safetensors.*collapse-workbench\[train\]"):
        require_torch()


def test_this_machine_has_memory():
    memory = machine_memory()
    assert memory is None or memory > 1e8
