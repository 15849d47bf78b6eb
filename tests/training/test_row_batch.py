"""Rows come, go, stop and resume without the others noticing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.errors import ArgumentError, DataError
from workbench.training import MarkovLanguage, ModelShape, RunPlan
from workbench.training.engine import RowBatch
from workbench.training.interventions import Intervention
from workbench.training.spec import Compute, Evaluation, Optimizer
from workbench.training.tasks import MarkovTask

# Slow hardware is warned of; its bits are tested like any other.
pytestmark = pytest.mark.filterwarnings("ignore:bfloat16 products take")
STEPS = 12


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task():
    return MarkovTask(MarkovLanguage(vocab=32), context=16)


def plan(number: int, **changes) -> RunPlan:
    base = RunPlan(
        run_id=f"run{number}",
        shape=ModelShape(width=16, vocab=32, context=16),
        sequences=4,
        total_steps=STEPS,
        tau=0.3,
        tpp=20,
        base_lr=0.016,
        schedule="linear",
        warmup_fraction=0.1,
        decay_fraction=0.9,
        final_lr_fraction=0.0,
        seed=number,
        data_seed=number,
    )
    return replace(base, **changes)


PLANS = (plan(0), plan(1, total_steps=7), plan(2, tau=0.5), plan(3, base_lr=0.004))


def make(task, plans=PLANS, **settings) -> RowBatch:
    evaluation = Evaluation(points=3, sequences=16)
    return RowBatch(plans, task, evaluation=evaluation, **settings)


def finish(batch: RowBatch) -> list:
    records = []
    while batch.active:
        records.append(batch.advance())
    return records


def column(records, run: int) -> np.ndarray:
    fields = ("train_loss", "eval_loss", "gradient_norm")
    return np.array([[getattr(record, name)[run] for name in fields] for record in records])


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "muon"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_a_resumed_batch_goes_on_bit_for_bit(task, optimizer, clip_norm):
    settings = {"optimizer": Optimizer(name=optimizer, clip_norm=clip_norm)}
    undisturbed = finish(make(task, **settings))
    first = make(task, **settings)
    for _ in range(8):  # run 1 has left by then
        first.advance()
    second = make(task, **settings)
    second.restore(first.state())
    assert second.step == 8
    assert second.active == ("run0", "run2", "run3")
    resumed = finish(second)
    for run in range(len(PLANS)):
        np.testing.assert_array_equal(column(resumed, run), column(undisturbed[8:], run))


def test_a_state_is_a_copy(task):
    batch = make(task)
    batch.advance()
    state = batch.state()
    before = state["weights"].copy()
    batch.advance()
    np.testing.assert_array_equal(state["weights"], before)


def test_a_row_moves_to_another_batch(task):
    undisturbed = finish(make(task))
    old = make(task)
    for _ in range(3):
        old.advance()
    new = make(task, plans=(plan(9), PLANS[2]))
    new.restore(old.state())
    assert new.active == ("run2",)
    np.testing.assert_array_equal(column(finish(new), 1), column(undisturbed[3:], 2))


def test_rows_that_leave_do_not_touch_the_others(task):
    undisturbed = finish(make(task))
    batch = make(task)
    records = [batch.advance(), batch.advance()]
    batch.leave(["run0", "run3"])
    assert batch.active == ("run1", "run2")
    records += finish(batch)
    for run in (1, 2):
        np.testing.assert_array_equal(column(records, run), column(undisturbed, run))
    for run in (0, 3):
        np.testing.assert_array_equal(column(records[:2], run), column(undisturbed[:2], run))
        assert np.isnan(column(records[2:], run)).all()


def test_only_training_runs_can_leave(task):
    batch = make(task)
    with pytest.raises(ArgumentError, match=r"'other' is not training\. Training are: run0, run1"):
        batch.leave(["other"])


def test_nothing_advances_when_all_have_left(task):
    batch = make(task)
    batch.leave(batch.active)
    with pytest.raises(ArgumentError, match="none can advance"):
        batch.advance()


def test_a_state_of_other_numbers_is_refused(task):
    state = make(task).state()
    with pytest.raises(DataError, match="computed by adamw, float32"):
        make(task, optimizer=Optimizer(name="adam")).restore(state)
    with pytest.raises(DataError, match="computed by adamw, float32"):
        make(task, compute=Compute(precision="bfloat16")).restore(state)
    state["mean"] = state["mean"][:, :-1]
    with pytest.raises(DataError, match="mean of the state has shape"):
        make(task).restore(state)


class Everything(Intervention):
    """Uses every hook from step 4."""

    def batch(self, step, batch):
        return replace(batch, targets=batch.targets[:, ::-1].copy()) if step == 4 else batch

    def learning_rate(self, step, learning_rate):
        return 2 * learning_rate if step == 5 else learning_rate

    def state(self, step, state):
        if step == 6:
            state["mean"].zero_()

    def gradient(self, step, loss, gradient):
        return (loss + 1, gradient * 3) if step == 7 else (loss, gradient)


class Broken(Intervention):
    def gradient(self, step, loss, gradient):
        return loss, gradient * (np.nan if step >= 3 else 1.0)


def test_interventions_touch_their_own_run_only(task):
    undisturbed = finish(make(task))
    records = finish(make(task, interventions={2: [Everything()], 3: [Broken()]}))
    for run in (0, 1):
        np.testing.assert_array_equal(column(records, run), column(undisturbed, run))
    assert np.isnan(column(records[3:], 3)).all()
    changed, usual = column(records, 2), column(undisturbed, 2)
    np.testing.assert_array_equal(changed[:3], usual[:3])
    assert (changed[3:, 0] != usual[3:, 0]).all()


@pytest.mark.parametrize("step", [4, 5, 6, 7])
def test_every_hook_has_its_effect(task, step):
    class Once(Everything):
        def __getattribute__(self, name):
            hook = super().__getattribute__(name)
            if name not in ("batch", "learning_rate", "state", "gradient"):
                return hook
            usual = getattr(Intervention(), name)
            return lambda at, *given: (hook if at == step else usual)(at, *given)

    usual, changed = make(task), make(task, interventions={0: [Once()]})
    for _ in range(step - 1):
        usual.advance(), changed.advance()
    np.testing.assert_array_equal(usual.state()["weights"], changed.state()["weights"])
    usual.advance(), changed.advance()
    difference = (usual.state()["weights"] != changed.state()["weights"]).any(axis=1)
    by_run = dict(zip(changed.state()["run_id"], difference, strict=True))
    assert {name for name, differs in by_run.items() if differs} == {"run0"}


def test_clipping_bounds_the_update_of_its_row_only(task):
    loud = [replace(p, base_lr=0.01) for p in PLANS[:2]]
    free = make(task, plans=loud, interventions={0: [Louder()]})
    clipped = make(
        task, plans=loud, interventions={0: [Louder()]}, optimizer=Optimizer(clip_norm=5.0)
    )
    first, second = free.advance(), clipped.advance()
    np.testing.assert_array_equal(first.gradient_norm, second.gradient_norm)
    assert second.gradient_norm[0] > 5 > second.gradient_norm[1]
    moments = dict(zip(clipped.state()["run_id"], clipped.state()["mean"], strict=True))
    assert np.linalg.norm(moments["run0"]) == pytest.approx(0.5, rel=1e-5)  # (1 - β₁)·5
    usual = dict(zip(free.state()["run_id"], free.state()["mean"], strict=True))
    np.testing.assert_array_equal(moments["run1"], usual["run1"])


class Louder(Intervention):
    def gradient(self, step, loss, gradient):
        return loss, gradient * 100


def test_the_norm_is_that_of_the_gradient(task):
    batch = make(task, plans=PLANS[:1])
    weights = torch.from_numpy(batch.state()["weights"]).requires_grad_()
    data = task.batch(0, sequences=4, seed=0)
    loss = batch.model.row_losses(
        weights, torch.from_numpy(data.inputs)[None], torch.from_numpy(data.targets)[None]
    )
    loss.sum().backward()
    expected = float(weights.grad.norm())
    assert batch.advance().gradient_norm[0] == pytest.approx(expected, rel=1e-6)


def test_adam_does_not_decay(task):
    plans = [plan(0, tau=0.2), plan(0, run_id="other", tau=0.9)]
    by_name = {}
    for name in ("adam", "adamw"):
        batch = make(task, plans=plans, optimizer=Optimizer(name=name))
        for _ in range(4):
            batch.advance()
        first, second = batch.state()["weights"]
        by_name[name] = np.array_equal(first, second)
    assert by_name == {"adam": True, "adamw": False}


@pytest.mark.parametrize("base_lr", [1e-12, 1e-10])
def test_decay_follows_from_tau_whatever_the_learning_rate(task, base_lr):
    plans = [plan(0, tau=tau, base_lr=base_lr) for tau in (0.2, 0.8)]
    plans = [replace(p, run_id=f"tau{p.tau}") for p in plans]
    batch = make(task, plans=plans)
    before = batch.state()["weights"]
    for _ in range(STEPS - 1):
        batch.advance()
    after = batch.state()["weights"]
    embedding = plans[0].shape.parameters[0].size
    np.testing.assert_allclose(after[:, :embedding], before[:, :embedding], atol=1e-8)
    for row, own in enumerate(plans):
        kept = np.prod(1 - own.factors()[: STEPS - 1] / (own.tau * STEPS))
        np.testing.assert_allclose(
            after[row, embedding:], kept * before[row, embedding:], rtol=1e-5, atol=1e-8
        )
