from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.errors import DataError
from workbench.training import build_task, parse_spec, plan_family
from workbench.training.accumulate import AccumulatedGradients, in_parts
from workbench.training.engine import RowBatch, train_rows
from workbench.training.gradients import autograd_gradients
from workbench.training.spec import Compute

SPEC = {
    "family": "parts",
    "task": {"vocab": 16},
    "model": {"context": 8},
    "batch": {"rule": "fixed", "sequences": 7},
    "evaluation": {"points": 2, "sequences": 16},
    "group": [{"width": 8, "tau": 0.3, "tpp": 1, "seed": [0, 1]}],
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_parts_add_up_to_the_whole_and_none_is_too_large():
    spec = parse_spec(SPEC)
    model = plan_family(spec).runs[0].shape.row_model()
    weights = model.initial_rows([0, 1]) + 0.1
    batch = build_task(spec).batch(0, sequences=7, seed=0)
    tokens = [torch.from_numpy(np.stack([t, t])) for t in (batch.inputs, batch.targets)]
    whole = autograd_gradients(model, "float32")
    seen = []

    def watched(weights, inputs, targets):
        seen.append(inputs.shape[1])
        return whole(weights, inputs, targets)

    losses, gradient = AccumulatedGradients(watched, 3)(weights, *tokens)
    expected = whole(weights, *tokens)
    assert seen == [2, 2, 3]
    torch.testing.assert_close(losses, expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-5, atol=1e-7)
    assert in_parts(whole, None) is whole
    seen.clear()
    AccumulatedGradients(watched, 7)(weights, *tokens)
    assert seen == [7]


def test_a_row_in_parts_is_the_same_run_alone_bit_for_bit():
    spec = parse_spec(SPEC | {"compute": {"micro_sequences": 2}})
    plans, task = plan_family(spec).runs, build_task(spec)

    def losses(runs):
        records = train_rows(runs, task, evaluation=spec.evaluation, compute=spec.compute)
        return np.stack([record.train_loss for record in records])

    together = losses(plans)
    for row, plan in enumerate(plans):
        np.testing.assert_array_equal(together[:, row], losses([plan])[:, 0])


def test_a_state_made_in_other_parts_is_refused():
    spec = parse_spec(SPEC)
    plans, task = plan_family(spec).runs, build_task(spec)
    state = RowBatch(plans, task, compute=Compute(micro_sequences=2)).state()
    with pytest.raises(DataError, match="2 sequences at once"):
        RowBatch(plans, task).restore(state)
