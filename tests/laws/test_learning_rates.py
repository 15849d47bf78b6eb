from __future__ import annotations

import numpy as np
import pytest

from tests.laws.schedule_family import PEAK, family, schedule
from workbench.errors import DataError
from workbench.laws.learning_rates import learning_rates, scheduled_runs, stretches
from workbench.schema import conform, iter_runs, make_runs


def only(runs):
    return next(iter(iter_runs(runs)))[1]


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("constant", 1e-12), ("cosine", 1e-3), ("two-stage", 1e-12)]
)
def test_records_every_so_often_give_back_the_whole_schedule(kind, tolerance):
    lr, warmup, note = learning_rates(only(family((kind,))))
    expected = schedule(kind, 4000)[: len(lr)]
    assert (warmup, note) == (200, "")
    np.testing.assert_allclose(lr / PEAK, expected / PEAK, atol=tolerance)


def one_run(step, lr, **coords):
    n = len(step)
    records = {"step": step, "train_loss": np.full(n, 3.0)}
    if lr is not None:
        records["learning_rate"] = lr
    coords = {name: [value] for name, value in coords.items()}
    return conform(make_runs({"run_id": ["r"], **coords}, records, row_size=[n]))


def test_a_run_that_branches_off_a_trunk_gets_its_past():
    step = np.arange(800, 1001, 20)
    lr, _, _ = learning_rates(
        only(one_run(step, 1e-3 * (1000 - step) / 200, warmup_steps=100.0, total_steps=1000.0))
    )
    assert lr[0] == 0
    assert lr[50] == pytest.approx(5e-4)
    np.testing.assert_allclose(lr[100:801], 1e-3)
    assert lr[900] == pytest.approx(5e-4)


def test_an_unknown_warm_up_is_said():
    _, _, note = learning_rates(only(one_run(np.arange(500, 900, 50), np.full(8, 1e-3))))
    assert "warm-up is unknown" in note


def test_without_records_the_recipe_says_the_rate():
    run = one_run(
        np.arange(0, 1000, 50),
        None,
        schedule="linear",
        peak_lr=1e-3,
        total_steps=1000.0,
        warmup_fraction=0.1,
    )
    lr, warmup, _ = learning_rates(only(run))
    assert warmup == 100
    np.testing.assert_allclose(lr[:101], 1e-3 * np.arange(101) / 100, rtol=1e-12)
    assert lr[-1] == pytest.approx(1e-3 * 50 / 900, rel=1e-6)


def test_an_unknown_rate_is_refused():
    with pytest.raises(DataError, match="learning rate of run 'r' is unknown"):
        scheduled_runs(one_run(np.arange(0, 1000, 50), None))


def test_records_of_the_warm_up_are_left_out_and_long_runs_thinned():
    run = scheduled_runs(family(("cosine",), every=5))[0]
    assert run.step[0] == 200
    short = run.thinned(100)
    assert len(short.step) == 100
    assert short.loss.mean() == pytest.approx(run.loss.mean(), rel=1e-3)
    assert np.unique(stretches([run, short])).tolist() == list(range(16))


def test_a_run_with_only_warm_up_records_is_refused():
    with pytest.raises(DataError, match="after its warm-up"):
        scheduled_runs(one_run(np.arange(10, 60, 10), np.arange(1, 6) * 1e-4, warmup_steps=100.0))
