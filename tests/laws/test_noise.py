from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import DataError
from workbench.laws.kernels_noise import causal_mean, flow_time, weighted_median_slope
from workbench.laws.noise import fit_noise
from workbench.laws.noise_runs import noise_runs
from workbench.schema import conform, make_runs, select_runs, take_runs

ALPHA = 0.25
FLOOR = 1.5


def noisy_family(sizes=(1e6, 2e6, 4e6, 8e6), kinds=("constant", "linear", "wsd"), steps=2000):
    """Runs that obey Eqs. 14 and 17 exactly: L = F(flow) + ALPHA·η·trace, trace = h(x)·(L − L0)."""
    step = np.arange(1, steps + 1, 5)
    x = step / steps
    h = 0.3 + 0.5 * x
    rows, loss, trace, rate = [], [], [], []
    for size in sizes:
        for kind in kinds:
            every = np.arange(steps + 1)
            factor = {
                "constant": np.ones(steps + 1),
                "linear": 1 - every / (steps + 1),
                "wsd": np.minimum(1, 4 * (1 - every / (steps + 1))),
            }[kind]
            flow = flow_time(factor)[step]
            slow = 40 * size**-0.25 * (1 + flow / 100) ** -0.4
            reducible = slow / (1 - ALPHA * h * factor[step])
            loss.append(FLOOR + reducible)
            trace.append(h * reducible)
            rate.append(1e-2 * factor[step])
            rows.append((f"{size:g}-{kind}", size, kind))
    n = len(rows)
    names, size, kind = zip(*rows, strict=True)
    return conform(
        make_runs(
            {
                "run_id": list(names),
                "model_size": list(size),
                "schedule": list(kind),
                "peak_lr": np.full(n, 1e-2),
                "total_steps": np.full(n, float(steps)),
            },
            {
                "step": np.tile(step, n),
                "eval_loss": np.concatenate(loss),
                "noise_trace": np.concatenate(trace),
                "learning_rate": np.concatenate(rate),
            },
            row_size=[len(step)] * n,
        )
    )


def mean_relative(scores):
    return float(np.mean([score.mean_relative for score in scores]))


def test_alpha_is_recovered_and_both_predictions_hold():
    runs = noisy_family()
    fit = fit_noise(runs)
    # Trace and constant-run loss carry noise of their own, so Eq. 16 holds to first order.
    assert fit.alpha.lower <= fit.alpha.estimate <= fit.alpha.upper
    assert fit.alpha.estimate == pytest.approx(ALPHA, rel=0.2)
    targets = noise_runs(select_runs(runs, ["schedule=linear,wsd"]))
    plain = mean_relative(fit.score(targets))
    assert plain < 0.01
    assert mean_relative(fit.score(targets, forecast=True)) < 0.02


def test_forecast_reads_nothing_of_the_target_but_its_schedule():
    runs = noisy_family()
    target = noise_runs(select_runs(runs, ["run_id=4e+06-linear"]))[0]
    one = fit_noise(runs).forecast(target)
    names = runs["run_id"].to_numpy().astype(str)
    owner = np.repeat(names, runs["row_size"].to_numpy()) == "4e+06-linear"
    spoilt = runs.assign(
        eval_loss=("obs", np.where(owner, 9.0, runs["eval_loss"])),
        noise_trace=("obs", np.where(owner, 7.0, runs["noise_trace"])),
    )
    other_target = noise_runs(select_runs(spoilt, ["run_id=4e+06-linear"]))[0]
    np.testing.assert_array_equal(fit_noise(spoilt).forecast(other_target), one)


def test_alpha_from_the_targets_is_said():
    runs = noisy_family()
    constant = select_runs(runs, ["schedule=constant"])
    with pytest.raises(DataError, match="every run is constant"):
        fit_noise(constant)
    fit = fit_noise(constant, targets=select_runs(runs, ["schedule=wsd"]))
    assert "predicted runs themselves" in fit.warnings[0]
    assert not fit.can_forecast


def test_a_model_without_a_constant_run_is_named():
    runs = noisy_family()
    lacking = take_runs(runs, runs["run_id"].to_numpy() != "2e+06-constant")
    with pytest.raises(DataError, match=r"'2e\+06-linear' has no constant-rate run"):
        fit_noise(lacking)


def test_a_run_without_trace_is_named():
    runs = noisy_family()
    runs = runs.assign(noise_trace=("obs", np.full(runs.sizes["obs"], np.nan)))
    with pytest.raises(DataError, match="has no noise_trace"):
        fit_noise(runs)


@given(st.integers(3, 60), st.floats(0.01, 1.0))
def test_mean_of_the_past_leaves_a_constant_alone(n, half_life):
    position = np.cumsum(np.random.default_rng(n).uniform(0.01, 0.1, n))
    out = causal_mean(position, np.full(n, 3.5), half_life)
    assert np.isnan(out[0])
    np.testing.assert_allclose(out[1:], 3.5)


def test_mean_of_the_past_is_the_integral_it_says():
    position = np.linspace(0, 1, 4001)
    value = causal_mean(position, position, 0.1)[-1]
    k = np.log(2) / 0.1
    mean = (1 - (1 - np.exp(-k)) / k) / (1 - np.exp(-k))  # ∫ s·e^(−k(1−s)) over ∫ e^(−k(1−s))
    assert value == pytest.approx(mean, abs=1e-6)


def test_weighted_median_slope_is_the_minimum():
    rng = np.random.default_rng(0)
    x, y, weight = rng.standard_normal(200), rng.standard_normal(200), rng.uniform(0.1, 1, 200)
    best = weighted_median_slope(x, y, weight)

    def cost(a):
        return (weight * np.abs(y - a * x)).sum()

    assert cost(best) <= min(cost(a) for a in np.linspace(best - 1, best + 1, 2001)) + 1e-12


def test_public_schedules(shared_curves):
    runs = shared_curves("qiu_c5m_schedules")
    fit = fit_noise(runs)
    targets = [run for run in noise_runs(runs) if not run.constant]
    assert len(targets) == 36
    assert fit.alpha.estimate == pytest.approx(0.21, abs=0.005)
    assert fit.alpha.lower < 0.2114 < fit.alpha.upper
    assert mean_relative(fit.score(targets)) <= 8.0e-5
    assert mean_relative(fit.score(targets, forecast=True)) <= 1.2e-4
