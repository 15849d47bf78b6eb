from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.laws.schedule_family import PEAK, TRUTH, family, schedule
from tests.laws.test_multi_power import cooldowns, of_size
from tests.laws.test_noise import noisy_family
from workbench.errors import ArgumentError
from workbench.laws.annealing import fit_annealing
from workbench.laws.curve_interval import (
    LAW_ERROR,
    describe_interval,
    difference_interval,
    predict_curve,
    predict_runs,
    with_runs_left_out,
)
from workbench.laws.learning_rates import scheduled_runs
from workbench.laws.multi_power import fit_multi_power, published_multi_power
from workbench.laws.noise import fit_noise
from workbench.laws.noise_interval import left_out_errors, predict_noise_runs
from workbench.laws.noise_runs import noise_runs
from workbench.schema import select_runs


def checked(runs, fitter=fit_multi_power):
    return with_runs_left_out(fitter(runs), runs, fitter)


def test_intervals_hold_unseen_schedules_of_simulated_runs():
    inside, ends = [], []
    for draw in range(6):
        runs = scheduled_runs(family(noise=1e-3, rng=draw, total=2000, every=20))
        found = predict_runs(checked(runs[:3]), runs[3:])[0]
        inside.append(found.coverage)
        ends.append(found.inside[-1])
    assert np.mean(inside) >= 0.9
    assert np.mean(ends) >= 0.8


def test_a_law_that_fails_on_a_run_left_out_is_given_wider_intervals():
    runs = scheduled_runs(family(total=2000, every=20))[:3]
    calm = checked(runs)
    off = [*runs[:2], replace(runs[2], loss=runs[2].loss * 1.02)]
    alarmed = replace(calm, left_out=checked(off).left_out)
    lr = schedule("wsd", 2000)
    one, other = (predict_curve(fit, lr) for fit in (calm, alarmed))
    assert max(alarmed.left_out.values()) > 3
    assert other.upper[0] - other.lower[0] > 2 * (one.upper[0] - one.lower[0])
    assert "by 3 runs left out" in describe_interval(alarmed)


def test_two_runs_leave_the_error_of_the_law_unmeasured_and_say_so():
    fit = checked(scheduled_runs(family(("constant", "cosine"))))
    assert not fit.left_out
    assert "too few runs" in describe_interval(fit)
    end = predict_curve(fit, schedule("wsd", 4000))
    assert end.upper[0] / end.loss[0] > 1 + 2 * LAW_ERROR


def test_parameters_that_were_given_keep_the_usual_error_of_the_law():
    found = predict_curve(published_multi_power(**TRUTH), schedule("wsd", 4000), level=0.5)
    assert np.log(found.upper / found.loss) == pytest.approx(0.7407 * LAW_ERROR, rel=1e-3)
    with pytest.raises(ArgumentError, match="level must be"):
        predict_curve(published_multi_power(**TRUTH), schedule("wsd", 4000), level=95)


def test_wider_at_a_higher_level_and_beyond_the_fitted_runs():
    fit = fit_multi_power(family(noise=1e-3))
    lr = PEAK * np.ones(40_000)
    near, far = predict_curve(fit, lr, [3000, 39_999]).to_dataset()["upper"].to_numpy()
    low_near, low_far = predict_curve(fit, lr, [3000, 39_999]).lower
    assert far / low_far > near / low_near
    wide = predict_curve(fit, lr, [3000], level=0.99)
    assert wide.upper[0] > near


def test_a_schedule_gains_nothing_over_itself():
    fit = fit_multi_power(family(noise=1e-3))
    lr = schedule("wsd", 4000)
    gain, low, high = difference_interval(fit, lr, lr)
    assert gain == 0
    assert low < 0 < high
    gain, low, high = difference_interval(fit, lr, schedule("constant", 4000))
    assert 0 < low < gain < high


@pytest.mark.parametrize("size", [25, 100])
def test_public_runs_lie_within_the_intervals(shared_curves, size):
    runs = scheduled_runs(of_size(shared_curves, size, "role=fit"))
    unseen = scheduled_runs(of_size(shared_curves, size, "role=test"))
    found = predict_runs(checked(runs), unseen)
    assert np.mean([curve.inside[-1] for curve in found]) >= 0.8
    assert np.mean([curve.coverage for curve in found]) >= 0.85
    assert all(curve.upper[-1] - curve.lower[-1] < 0.06 for curve in found)
    other = predict_runs(checked(runs, fit_annealing), unseen)
    assert np.mean([curve.coverage for curve in other]) >= 0.85


def test_public_cooldowns_lie_within_the_intervals(shared_curves):
    inside = []
    for lr in (1e-4, 5e-4, 1e-3, 2e-3):
        given, unseen = (scheduled_runs(d, loss="eval_loss") for d in cooldowns(shared_curves, lr))
        inside += [curve.inside[-1] for curve in predict_runs(checked(given), unseen)]
    assert len(inside) == 20
    assert np.mean(inside) >= 0.8


def test_noise_law_is_tested_on_runs_its_alpha_has_not_seen():
    runs = noisy_family()
    fit = fit_noise(runs)
    targets = noise_runs(select_runs(runs, ["schedule=linear,wsd"]))
    for forecast in (False, True):
        found = predict_noise_runs(fit, targets, forecast=forecast)
        assert np.mean([curve.coverage for curve in found]) >= 0.8
        assert len(left_out_errors(fit, forecast=forecast)) == len(targets) == 8
        assert all((curve.lower < curve.loss).all() for curve in found)
    few = fit_noise(select_runs(runs, ["model_size=4e6"]))
    mine = [target for target in targets if target.size == 4e6]
    assert np.isnan(predict_noise_runs(few, mine)[0].upper).all()
