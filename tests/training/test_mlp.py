from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.training import FourierTask, parse_spec, plan_family
from workbench.training.engine import train_rows
from workbench.training.mlp_shape import MlpShape
from workbench.training.spec import Evaluation

SPEC = {
    "family": "waves",
    "task": {"name": "fourier", "modes": 200},
    "model": {"kind": "mlp"},
    "batch": {"rule": "fixed", "sequences": 32},
    "optimizer": {"peak_lr": 0.001, "epsilon": 1e-20},
}
GROUP = {"width": 16, "weight_decay": 0, "tpp": 1, "warmup_fraction": 0, "data_seed": 0}


def test_size_is_the_papers():
    assert MlpShape(384).model_size == 10 * 384**2 + 9 * 384
    assert MlpShape(384).flops_per_token == 6 * MlpShape(384).model_size


def test_rates_follow_the_fan_in():
    rates = {p.name: p.learning_rate for p in MlpShape(512).parameters}
    assert rates["embedding"] == 1
    assert {rate for name, rate in rates.items() if name != "embedding"} == {0.25}
    frozen = MlpShape(512, parameterisation="standard")
    assert {p.learning_rate for p in frozen.parameters} == {1}


def test_a_fresh_model_says_nothing_and_a_row_reads_its_own_data():
    model = MlpShape(16).row_model()
    weights = model.initial_rows([0, 1])
    inputs, targets = torch.rand(2, 7, 8) - 0.5, torch.randn(2, 7)
    torch.testing.assert_close(
        model.row_losses(weights, inputs, targets), 0.5 * targets.square().mean(1)
    )
    weights = weights + 0.1 * torch.randn_like(weights)
    together = model.row_losses(weights, inputs, targets)
    for row in (0, 1):
        alone = model.row_losses(*(t[row : row + 1] for t in (weights, inputs, targets)))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=0)


def test_the_loss_is_that_of_the_formula():
    model = MlpShape(4, depth=1, inputs=2).row_model()
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(1, model.model_size, generator=generator)
    inputs, targets = torch.randn(1, 3, 2, generator=generator), torch.zeros(1, 3)
    shapes = [(2, 4), (4, 4), (4, 4), (4, 1)]
    parts = torch.split(weights[0], [8, 16, 16, 4])
    embed, up, down, readout = (part.view(shape) for part, shape in zip(parts, shapes, strict=True))
    residual = inputs[0] @ embed
    normed = residual / (residual.square().mean(1, keepdim=True) + 1e-6).sqrt()
    # One block instead of five: its branch counts five times.
    residual = residual + 5 * torch.nn.functional.gelu(normed @ up) @ down
    expected = 0.5 * (residual @ readout).square().mean()
    torch.testing.assert_close(model.row_losses(weights, inputs, targets)[0], expected)


def test_it_learns_and_rows_equal_solo_runs():
    group = GROUP | {"seed": [0, 1], "schedule": ["linear", "constant"], "tpp": 6}
    spec = parse_spec(SPEC | {"group": [group]})
    plans, task = plan_family(spec).runs, FourierTask(modes=200)
    evaluation = Evaluation(points=4, sequences=256)

    def curves(runs):
        records = list(train_rows(runs, task, optimizer=spec.optimizer, evaluation=evaluation))
        return np.stack([record.train_loss for record in records]), records[-1].eval_loss

    together, ends = curves(plans)
    untrained = 0.5 * np.mean(task.held_out(256).targets ** 2)
    assert (ends < untrained).all()
    for row, plan in enumerate(plans):
        alone, end = curves([plan])
        np.testing.assert_array_equal(together[:, row], alone[:, 0])
        assert end[0] == ends[row]


def test_runs_without_decay_have_no_timescale():
    run = plan_family(parse_spec(SPEC | {"group": [GROUP]})).runs[0]
    assert run.weight_decay == 0
    assert np.isinf(run.tau)
    assert "tau" not in run.coordinates()
    assert run.run_id == "waves-w16-linear-warmup0-data0-wd0-tpp1-s0"
    assert run.batch_size == run.sequences == 32
    assert run.peak_lr == pytest.approx(0.001 * 128 / 16)
