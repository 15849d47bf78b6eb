from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.errors import ArgumentError
from workbench.training import MarkovLanguage, ModelShape, RunPlan
from workbench.training.engine import evaluation_steps, train_rows
from workbench.training.model import token_losses
from workbench.training.optimizer import RowAdamW
from workbench.training.row_model import normal_rows
from workbench.training.spec import Compute, Evaluation, Optimizer
from workbench.training.tasks import MarkovTask

# Slow hardware is warned of; its bits are tested like any other.
pytestmark = pytest.mark.filterwarnings("ignore:bfloat16 products take")
EVALUATION = Evaluation(points=4, sequences=32)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task():
    return MarkovTask(MarkovLanguage(vocab=32), context=16)


def make_plan(**changes) -> RunPlan:
    base = RunPlan(
        run_id="a",
        shape=ModelShape(width=16, vocab=32, context=16),
        sequences=4,
        total_steps=24,
        tau=0.3,
        tpp=20,
        base_lr=0.016,
        schedule="linear",
        warmup_fraction=0.1,
        decay_fraction=0.9,
        final_lr_fraction=0.0,
        seed=0,
        data_seed=0,
    )
    return replace(base, **changes)


def curves(plans, task, **options):
    records = list(train_rows(plans, task, evaluation=EVALUATION, **options))
    train = np.stack([record.train_loss for record in records])
    held_out = np.stack([record.eval_loss for record in records])
    return train, held_out


UNLIKE = [
    {},
    {"seed": 1, "data_seed": 1, "total_steps": 17, "tau": 0.1},
    {"seed": 2, "schedule": "wsd", "decay_fraction": 0.2, "total_steps": 31},
    {"seed": 3, "data_seed": 0, "schedule": "constant", "decay_fraction": 0.0, "base_lr": 0.004},
    {"seed": 4, "schedule": "cosine", "total_steps": 9},
]


@pytest.mark.parametrize("width", [8, 16, 24])
@pytest.mark.parametrize("chunk_tokens", [1, 128, 4096])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_row_is_the_same_run_alone_bit_for_bit(task, width, chunk_tokens, precision):
    shape = ModelShape(width=width, vocab=32, context=16)
    plans = [make_plan(shape=shape, **changes) for changes in UNLIKE]
    compute = Compute(precision=precision)
    train, held_out = curves(plans, task, chunk_tokens=chunk_tokens, compute=compute)
    for row, plan in enumerate(plans):
        alone_train, alone_held_out = curves([plan], task, compute=compute)
        steps = plan.total_steps
        np.testing.assert_array_equal(train[:steps, row], alone_train[:, 0])
        np.testing.assert_array_equal(held_out[:steps, row], alone_held_out[:, 0])
        assert np.isnan(train[steps:, row]).all()


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_other_rules_keep_rows_apart_and_learn(task, name):
    plans = [make_plan(**changes) for changes in UNLIKE]
    optimizer = Optimizer(name=name, clip_norm=1.0, epsilon_rule="completep")
    train, _ = curves(plans, task, optimizer=optimizer, chunk_tokens=128)
    for row, plan in enumerate(plans):
        alone, _ = curves([plan], task, optimizer=optimizer)
        np.testing.assert_array_equal(train[: plan.total_steps, row], alone[:, 0])
    assert train[8].mean() < train[0].mean() - 0.1


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_number_of_rows_does_not_matter(task, count):
    alone, _ = curves([make_plan()], task)
    many, _ = curves([make_plan(), *(make_plan(seed=k + 1) for k in range(count - 1))], task)
    np.testing.assert_array_equal(many[:, 0], alone[:, 0])
    assert len(np.unique(many[-1])) == count


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_shapes_of_the_quickstart_are_bitwise_too(precision):
    compute = Compute(precision=precision)
    task = MarkovTask(MarkovLanguage(), context=32)
    for width, sequences in ((16, 8), (32, 26), (48, 53)):
        base = make_plan(shape=ModelShape(width=width), sequences=sequences, total_steps=3)
        plans = [base, replace(base, seed=1, data_seed=1), replace(base, tau=0.5)]
        together, _ = curves(plans, task, compute=compute)
        for row, plan in enumerate(plans):
            alone, _ = curves([plan], task, compute=compute)
            np.testing.assert_array_equal(together[:, row], alone[:, 0])


def test_loss_falls_towards_the_entropy_and_never_below(task):
    plan = make_plan(total_steps=300, sequences=16)
    train, held_out = curves([plan], task)
    assert train[0, 0] == pytest.approx(np.log(32), abs=0.4)
    assert held_out[-1, 0] < held_out[74, 0] - 0.05 < train[0, 0] - 0.5
    assert held_out[-1, 0] > task.entropy


def test_losses_are_free_of_most_of_the_sampling_noise(task):
    # A model that is the task itself would report H exactly, whatever the text.
    batch = task.held_out(64)
    plain = batch.mean_surprise
    assert plain != task.entropy
    assert task.entropy + (plain - batch.mean_surprise) == task.entropy


def test_fresh_models_predict_every_token_alike():
    shape = ModelShape(width=16, vocab=32, context=16)
    tokens = torch.randint(0, 32, (2, 3, 17))
    losses = token_losses(
        normal_rows(shape.parameters, [0, 1]), tokens[..., :-1], tokens[..., 1:], shape=shape
    )
    np.testing.assert_allclose(losses.numpy(), np.log(32), rtol=1e-6)


def test_no_position_sees_the_future():
    shape = ModelShape(width=16, vocab=32, context=16)
    weights = normal_rows(shape.parameters, [0]) + 0.1 * torch.randn(1, shape.model_size)
    tokens = torch.randint(0, 32, (1, 1, 17))
    changed = tokens.clone()
    changed[..., 10] = (changed[..., 10] + 1) % 32
    losses = [
        token_losses(weights, t[..., :-1], t[..., 1:], shape=shape)[0, 0] for t in (tokens, changed)
    ]
    torch.testing.assert_close(losses[0][:9], losses[1][:9], rtol=0, atol=0)
    assert (losses[0][10:] != losses[1][10:]).any()


def test_row_adamw_equals_torch_adamw():
    shape = ModelShape(width=32, vocab=32, context=16)  # base width: all multipliers are 1
    weights = normal_rows(shape.parameters, [0])
    embedding = shape.parameters[0].size
    reference = [weights[:, :embedding].clone(), weights[:, embedding:].clone()]
    optimizer = RowAdamW(weights, shape.parameters, settings=Optimizer(epsilon=1e-8))
    torch_adamw = torch.optim.AdamW(
        [{"params": [reference[0]], "weight_decay": 0.0}, {"params": [reference[1]]}],
        lr=0.01,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.5,
    )
    for step in range(1, 6):
        gradient = torch.randn(1, shape.model_size)
        reference[0].grad, reference[1].grad = gradient[:, :embedding], gradient[:, embedding:]
        torch_adamw.step()
        optimizer.step(
            slice(0, 1),
            gradient,
            step=step,
            learning_rate=torch.tensor([0.01]),
            decay=torch.tensor([0.005]),
        )
    torch.testing.assert_close(weights, torch.cat(reference, dim=1), rtol=1e-5, atol=1e-6)


def test_width_multiplier_slows_matrices_only():
    shape = ModelShape(width=64, vocab=32, context=16)
    weights = normal_rows(shape.parameters, [0])
    before = weights.clone()
    RowAdamW(weights, shape.parameters, settings=Optimizer()).step(
        slice(0, 1),
        torch.ones_like(weights),
        step=1,
        learning_rate=torch.tensor([0.01]),
        decay=torch.tensor([0.0]),
    )
    moved = (before - weights)[0]
    embedding = shape.parameters[0].size
    torch.testing.assert_close(moved[:embedding], torch.full((embedding,), 0.01), rtol=1e-4, atol=0)
    assert moved[embedding:].max().item() == pytest.approx(0.005, rel=1e-3)


def test_evaluation_is_even_and_ends_with_the_run():
    assert evaluation_steps(100, points=4).tolist() == [25, 50, 75, 100]
    assert evaluation_steps(3, points=20).tolist() == [1, 2, 3]


def test_unlike_shapes_cannot_share_a_batch(task):
    other = make_plan(shape=ModelShape(width=8, vocab=32, context=16))
    with pytest.raises(ArgumentError, match="share one model shape"):
        next(train_rows([make_plan(), other], task))
