from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from workbench.errors import ArgumentError
from workbench.laws.noise import fit_noise
from workbench.schema import make_runs
from workbench.training import build_task, parse_spec, plan_family
from workbench.training.engine import RowBatch, train_rows
from workbench.training.noise_trace import noise_trace

SPEC = {
    "family": "noisy",
    "task": {"vocab": 16},
    "model": {"context": 8},
    "batch": {"rule": "fixed", "sequences": 8},
    "evaluation": {"points": 10, "sequences": 64, "noise_batches": 4},
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def family(**group):
    spec = parse_spec(SPEC | {"group": [{"width": 8, "tau": 0.3, "tpp": 10} | group]})
    return spec, plan_family(spec).runs, build_task(spec)


def records(spec, plans, task):
    settings = {"optimizer": spec.optimizer, "evaluation": spec.evaluation}
    return list(train_rows(plans, task, **settings))


def test_the_trace_of_known_noise_is_found_without_bias():
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([1.0, 2.0, 0.5])
    weight = torch.tensor([1.0, 0.1, 10.0])
    expected = float((spread**2 * weight).sum())
    found = [
        noise_trace((5 + spread * torch.randn(3, generator=generator) for _ in range(2)), weight)
        for _ in range(4000)
    ]
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 4000**0.5)


def test_it_is_measured_where_loss_is_and_changes_nothing():
    spec, plans, task = family(seed=[0, 1])
    with_noise = records(spec, plans, task)
    plain = spec.model_copy(
        update={"evaluation": spec.evaluation.model_copy(update={"noise_batches": 0})}
    )
    without = records(plain, plans, task)
    for one, other in zip(with_noise, without, strict=True):
        np.testing.assert_array_equal(one.train_loss, other.train_loss)
        np.testing.assert_array_equal(one.eval_loss, other.eval_loss)
        np.testing.assert_array_equal(np.isnan(one.noise_trace), np.isnan(one.eval_loss))
        assert np.isnan(other.noise_trace).all()
    alone = records(spec, plans[1:], task)
    for one, other in zip(with_noise, alone, strict=True):
        np.testing.assert_array_equal(one.noise_trace[1:], other.noise_trace)


def test_a_larger_batch_has_less_noise_at_the_same_weights():
    spec, (plan,), task = family()
    many = spec.evaluation.model_copy(update={"noise_batches": 64})
    small = RowBatch([plan], task, optimizer=spec.optimizer, evaluation=many)
    for _ in range(20):
        small.advance()
    large = RowBatch([replace(plan, sequences=32)], task, optimizer=spec.optimizer, evaluation=many)
    large.restore(small.state())
    assert small._noise(0) / large._noise(0) == pytest.approx(4, rel=0.3)


def test_the_noise_law_fits_our_own_runs():
    spec, plans, task = family(schedule=["constant", "linear", "cosine", "wsd"], tpp=40)
    found = records(spec, plans, task)
    coords = [plan.coordinates() for plan in plans]
    step = np.array([record.step for record in found])
    rows = {
        "step": np.tile(step, len(plans)),
        "learning_rate": np.concatenate([plan.peak_lr * plan.factors() for plan in plans]),
    }
    for name in ("eval_loss", "noise_trace"):
        rows[name] = np.stack([getattr(record, name) for record in found]).T.ravel()
    bare = {name: [c[name] for c in coords] for name in coords[0]}
    ids = {"run_id": [plan.run_id for plan in plans], "status": ["done"] * len(plans)}
    runs = make_runs(bare | ids, rows, row_size=[len(step)] * len(plans))
    assert isinstance(runs, xr.Dataset)
    fit = fit_noise(runs)
    assert 0 < fit.alpha.estimate < 10
    assert fit.objective < 0.05


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"evaluation": {"noise_batches": 1}}, "is 1, but a covariance needs two"),
        ({"optimizer": {"name": "muon"}}, "muon keeps none"),
    ],
)
def test_what_cannot_be_measured_is_said(sections, message):
    group = {"width": 8, "tau": 0.3, "tpp": 10}
    with pytest.raises(ArgumentError, match=message):
        parse_spec(SPEC | sections | {"group": [group]})
