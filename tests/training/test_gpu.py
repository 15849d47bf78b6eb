"""The same rows on a CUDA device; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.training import MarkovLanguage, ModelShape, RunPlan
from workbench.training.engine import RowBatch
from workbench.training.spec import Compute, Evaluation, Optimizer
from workbench.training.tasks import MarkovTask

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(scope="module")
def task():
    return MarkovTask(MarkovLanguage(vocab=32), context=16)


def make(task, **settings) -> RowBatch:
    plans = [
        RunPlan(
            run_id=f"run{number}",
            shape=ModelShape(width=16, vocab=32, context=16),
            sequences=4,
            total_steps=20 - 5 * number,
            tau=0.3,
            tpp=20,
            base_lr=0.008,
            schedule="linear",
            warmup_fraction=0.1,
            decay_fraction=0.9,
            final_lr_fraction=0.0,
            seed=number,
            data_seed=number,
        )
        for number in range(3)
    ]
    return RowBatch(plans, task, evaluation=Evaluation(points=4, sequences=32), **settings)


def finish(batch) -> np.ndarray:
    records = []
    while batch.active:
        record = batch.advance()
        records.append([record.train_loss, record.eval_loss, record.gradient_norm])
    return np.array(records)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("kernels", ["torch", "compiled"])
def test_curves_are_those_of_the_processor(task, name, kernels):
    settings = {"optimizer": Optimizer(name=name, clip_norm=1.0)}
    expected = finish(make(task, **settings))
    compute = Compute(kernels=kernels)
    found = finish(make(task, device="cuda", compute=compute, **settings))
    np.testing.assert_allclose(found, expected, rtol=1e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_computes_what_single_launches_do(task, precision):
    single, graphed = (
        finish(make(task, device="cuda", compute=Compute(precision=precision, kernels=kernels)))
        for kernels in ("torch", "compiled")
    )
    np.testing.assert_allclose(graphed, single, rtol=1e-5 if precision == "float32" else 1e-2)


def test_chunks_do_not_change_curves(task):
    whole, chunked = (
        finish(make(task, device="cuda", chunk_tokens=tokens)) for tokens in (None, 64)
    )
    np.testing.assert_allclose(chunked, whole, rtol=1e-3)


def test_a_resumed_batch_goes_on(task):
    first = make(task, device="cuda")
    for _ in range(7):
        first.advance()
    second = make(task, device="cuda")
    second.restore(first.state())
    np.testing.assert_allclose(finish(second), finish(first), rtol=1e-5)
