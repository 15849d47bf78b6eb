from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import ArgumentError
from workbench.store import open_store
from workbench.training import Batch, FunctionTask, build_task, parse_spec, train_family
from workbench.training.tasks import check_own_task

SPEC = {
    "family": "own",
    "task": {"name": "own", "label": "counting", "vocab": 16},
    "model": {"context": 8},
    "batch": {"rule": "fixed", "sequences": 8},
    "evaluation": {"points": 4, "sequences": 64, "noise_batches": 2},
    "group": [{"width": 8, "tau": 0.3, "tpp": 20, "seed": [0, 1]}],
}


@pytest.fixture
def counting(monkeypatch):
    """Import the task from its file under a name that spawned processes find as well."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    spec = importlib.util.find_spec("own_task")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_task", module)
    spec.loader.exec_module(module)
    return module.counting


def test_a_family_trains_on_a_function_of_the_user(counting, tmp_path):
    task = FunctionTask(counting, entropy=math.log(2))
    spec = parse_spec(SPEC)
    result = train_family(spec, tmp_path / "runs", task=task, processes=1, progress=False)
    assert {row["status"] for row in result.runs} == {"done"}
    runs = open_store(tmp_path / "runs").runs()
    assert set(map(str, runs["task"].to_numpy())) == {"counting"}
    np.testing.assert_allclose(runs["irreducible_loss"], math.log(2))
    losses = [row["final_loss"] for row in result.runs]
    assert all(math.log(2) < loss < math.log(16) - 0.3 for loss in losses)
    assert np.isfinite(runs["noise_trace"]).sum() == 2 * 4
    assert np.isfinite(runs["grad_norm"]).all()


def test_only_python_can_give_it():
    with pytest.raises(ArgumentError, match=r"has a task of its own, which only Python can give"):
        build_task(parse_spec(SPEC))


def wide(rng, sequences):
    return np.zeros((sequences, 9), np.int64), np.zeros((sequences, 9), np.int64)


def large(rng, sequences):
    return np.full((sequences, 8), 16), np.zeros((sequences, 8), np.int64)


def moody(rng, sequences):
    tokens = np.random.default_rng().integers(0, 16, (sequences, 9))
    return tokens[:, :-1], tokens[:, 1:]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (FunctionTask(wide), r"inputs of shape \(2, 9\).* takes \(2, 8\), \(2, 8\) and 'i'"),
        (FunctionTask(large), "tokens outside 0 to 15"),
        (FunctionTask(moody), "two different batches for the same step and seed"),
        (FunctionTask(lambda rng, n: wide(rng, n)), "cannot be handed to a training process"),
        (7, "must have entropy, batch and held_out, found a int"),
    ],
)
def test_what_cannot_be_trained_on_is_told_before(task, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        check_own_task(task, parse_spec(SPEC))
    assert "\n" not in str(caught.value)


def test_a_spec_that_names_another_task_is_asked_back():
    with pytest.raises(ArgumentError, match=r"says 'markov-2'\. Say name = 'own'"):
        check_own_task(FunctionTask(wide), parse_spec(SPEC | {"task": {}}))


def points(rng, sequences):
    drawn = rng.standard_normal((sequences, 3)).astype(np.float32)
    return drawn, drawn.sum(1)


def test_points_for_the_mlp():
    task = {"name": "own", "dimensions": 3}
    group = [{"width": 8, "weight_decay": 0, "tpp": 20}]
    spec = parse_spec(SPEC | {"task": task, "model": {"kind": "mlp"}, "group": group})
    check_own_task(FunctionTask(points), spec)
    batch = FunctionTask(points).batch(0, sequences=2, seed=0)
    assert isinstance(batch, Batch)
    assert batch.targets.shape == (2,)
