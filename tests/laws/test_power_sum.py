from __future__ import annotations

import numpy as np
import pytest

from tests.laws.test_frontier import SIZES, long_runs
from workbench.errors import ArgumentError, DataError
from workbench.laws import fit_frontier, fit_power_sum


@pytest.mark.parametrize(("mu", "nu"), [(0.35, 0.35), (0.33, 0.42)])
def test_exact_curves_give_back_their_exponents(mu, nu):
    runs = long_runs(mu=mu, nu=nu)
    fit = fit_power_sum(runs, draws=0)
    assert fit.mu.estimate == pytest.approx(mu, abs=1e-3)
    assert fit.nu.estimate == pytest.approx(nu, abs=1e-3)
    assert fit.L0.estimate == pytest.approx(0.02, abs=1e-4)
    assert fit.rms < 1e-4
    assert fit.horizon(6e6) == pytest.approx(1.2e8, rel=0.02)
    assert fit.horizon(SIZES)[3] == pytest.approx(fit_frontier(runs).tokens(SIZES)[3], rel=0.3)


def test_intervals_hold_the_truth_when_sizes_err_as_a_whole():
    fit = fit_power_sum(long_runs(noise=3e-3, rng=1))
    for found, truth in ((fit.mu, 0.35), (fit.nu, 0.35), (fit.gamma, 1.0), (fit.L0, 0.02)):
        assert found.lower <= truth <= found.upper
    assert fit.nu.upper - fit.nu.lower > 0.01
    assert "law" in fit.to_dict()
    assert fit.predict(1e7, 1e9) == pytest.approx(float(fit.predict(1e7, [1e9])[0]))


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    hits = np.zeros(3)
    for seed in range(60):
        runs = long_runs(noise=3e-3, wander=3e-3, rng=seed, records=200)
        fit = fit_power_sum(runs, points=40)
        pairs = ((fit.mu, 0.35), (fit.nu, 0.35), (fit.gamma, 1.0))
        hits += [found.lower <= truth <= found.upper for found, truth in pairs]
    assert (hits >= 0.87 * 60).all(), hits


def test_a_floor_far_below_the_curves_is_said_not_to_be_identified():
    runs = long_runs(noise=2e-2, wander=1e-2, sizes=SIZES[:4], rng=2)
    lower = runs.assign(eval_loss=runs["eval_loss"] - 0.0199)
    fit = fit_power_sum(lower)
    assert "L0 is not identified" in fit.warnings[0]
    assert fit.L0.upper <= float(lower["eval_loss"].min())
    assert fit_power_sum(long_runs(noise=1e-3)).warnings == ()


def test_bad_requests_are_refused():
    with pytest.raises(DataError, match="3 or more sizes"):
        fit_power_sum(long_runs(sizes=SIZES[:2]))
    with pytest.raises(ArgumentError, match="start must be"):
        fit_power_sum(long_runs(), start=0)


def test_public_long_runs_give_the_known_exponents(shared_curves):
    fit = fit_power_sum(shared_curves("qiu_mlp_const"), loss="eval_loss", draws=50)
    assert fit.mu.estimate == pytest.approx(0.330, abs=1e-3)
    assert fit.nu.estimate == pytest.approx(0.343, abs=1e-3)
    assert fit.L0.estimate == pytest.approx(0.0027, abs=1e-4)
    assert fit.gamma.estimate == pytest.approx(1.0404, abs=1e-3)
    assert fit.rms == pytest.approx(0.009, abs=2e-4)
