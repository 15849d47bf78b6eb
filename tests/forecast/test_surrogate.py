"""The (τ, TPP) surrogate: printed values, recovery of known laws, honest limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ArgumentError, DataError
from workbench.forecast import fit_surrogate, learning_rate_factors
from workbench.forecast.kernels_surrogate import (
    alternating_fit,
    controls_to_shape,
    joint_fit,
    macro_mae,
    surrogate_curve,
)
from workbench.schema import conform, make_runs, take_runs

GRID = np.linspace(0.2, 1, 161)
TRUTH = {"b_const": 0.05, "b_exp": -0.5, "q_const": 4.0, "q_exp": -0.4}
NOISE = 0.01


def to_zero(x):
    return np.where(x < 0.1, x / 0.1, (1 - x) / 0.9)


@pytest.mark.parametrize(
    ("b", "q", "printed"),
    [
        (0.2, 1, (1.25624, 1.21322, 1.14346, 1.06865, 1.02696)),
        (0.05, 1, (1.12739, 1.10031, 1.06268, 1.02822, 1.01078)),
        (0.2, 2, (1.27661, 1.21360, 1.11893, 1.04093, 1.01217)),
    ],
)
def test_reference_values(b, q, printed):
    x = np.array([0.2, 0.3, 0.5, 0.75, 0.9, 1.0])
    curve = surrogate_curve(x, to_zero(x), b, q, 0.05)
    np.testing.assert_allclose(curve[:-1], printed, atol=1e-4)
    assert abs(curve[-1] - 1) <= 1e-12


@given(st.floats(0, 2), st.floats(0, 3), st.floats(0.01, 0.3))
def test_every_curve_ends_at_one_and_falls_under_a_falling_rate(b, q, m):
    curve = surrogate_curve(GRID, to_zero(GRID), b, q, m)
    assert curve[-1] == 1.0
    assert (np.diff(curve) < 0).all()


def synthetic(laws, seed, n=172):
    """Return curves from known laws, clean and with 1 % noise, their rates and log controls."""
    rng = np.random.default_rng(seed)
    log_tau, log_tpp = rng.uniform(np.log(0.02), 0, n), rng.uniform(np.log(10), np.log(320), n)
    b, q = controls_to_shape([np.log(laws[0]), laws[1], np.log(laws[2]), laws[3]], log_tau, log_tpp)
    eta = np.tile(to_zero(GRID), (n, 1))
    clean = surrogate_curve(GRID, eta, b, q, 0.05)
    noise = NOISE * rng.standard_normal(clean.shape)
    controls = (log_tau - log_tau[:112].mean(), log_tpp - log_tpp[:112].mean())
    return clean, clean * (1 + noise), eta, controls


@pytest.fixture(scope="module")
def known():
    """112 curves to fit and 60 more to test on."""
    return synthetic(tuple(TRUTH.values()), 0)


def parts(known, rows):
    clean, noisy, eta, controls = known
    return clean[rows], noisy[rows], eta[rows], (controls[0][rows], controls[1][rows])


FIT, HELD_OUT = slice(0, 112), slice(112, None)


def held_out(found, family):
    """Return the error on curves that were not fitted over that of the noise alone."""
    clean, noisy, eta, controls = parts(family, HELD_OUT)
    error = macro_mae(found, 0.05, noisy, GRID, eta, controls)
    return float(error) / np.abs(noisy - clean).mean()


@pytest.fixture(scope="module")
def alternating(known):
    _, noisy, eta, controls = parts(known, FIT)
    return list(alternating_fit(noisy, GRID, eta, controls, m=0.05))


def test_alternating_fit_recovers_the_laws(known, alternating):
    objective = [value for _, value in alternating]
    assert (np.diff(objective) <= 0).all()
    found = alternating[-1][0]
    assert found[1] == pytest.approx(-0.5, abs=0.05)
    assert found[3] == pytest.approx(-0.4, abs=0.05)
    assert held_out(found, known) <= 1.2


def test_joint_fit_agrees_with_the_alternating_one(known, alternating):
    _, noisy, eta, controls = parts(known, FIT)
    _, objective = joint_fit(noisy, GRID, eta, controls, m=0.05)
    assert objective == pytest.approx(alternating[-1][1], rel=0.05)
    assert objective <= alternating[-1][1] * (1 + 1e-3)


LAWS = st.tuples(
    st.floats(0.04, 0.25), st.floats(-0.7, -0.25), st.floats(1.0, 8.0), st.floats(-0.45, -0.1)
)


@settings(max_examples=12)
@given(LAWS, st.integers(0, 1000))
def test_any_laws_are_recovered(laws, seed):
    """Exponents within 0.05, held-out error at most 1.2 times the noise, from 112 noisy curves."""
    family = synthetic(laws, seed)
    _, noisy, eta, controls = parts(family, FIT)
    found, _ = joint_fit(noisy, GRID, eta, controls, m=0.05)
    assert found[1] == pytest.approx(laws[1], abs=0.05)
    assert found[3] == pytest.approx(laws[3], abs=0.05)
    assert held_out(found, family) <= 1.2


def test_order_of_curves_does_not_matter(known):
    _, noisy, eta, controls = parts(known, FIT)
    order = np.random.default_rng(1).permutation(112)
    one, _ = joint_fit(noisy, GRID, eta, controls, m=0.05)
    shuffled = tuple(control[order] for control in controls)
    two, _ = joint_fit(noisy[order], GRID, eta[order], shuffled, m=0.05)
    np.testing.assert_allclose(two, one, atol=1e-6)


@pytest.mark.parametrize(
    "laws", [(0.05, -0.5, 4.0, -0.4), (0.1, -0.4, 2.0, -0.2), (0.2, -0.3, 1.0, -0.1)]
)
def test_order_of_the_ablation(laws):
    """As in table 12 of the paper: 3.03, 3.35, 2.08 and 1.07 %, both over constant 0.35."""
    _, noisy, eta, controls = parts(synthetic(laws, 0), FIT)
    mae = {
        name: joint_fit(noisy, GRID, eta, controls, m=0.05, laws=name)[1]
        for name in ("none", "q", "b", "both")
    }
    assert min(mae["none"], mae["q"]) > mae["b"] > mae["both"]
    assert mae["both"] <= 0.5 * mae["none"]


def made_runs(n, *, seed, noise=1e-3, own=0.0):
    """Return curves of these laws as runs at 3 nats/token; b scatters by `own` from run to run."""
    rng = np.random.default_rng(seed)
    tau, tpp = rng.uniform(0.05, 1, n), rng.uniform(10, 300, n)
    parameters = [np.log(TRUTH["b_const"]), -0.5, np.log(TRUTH["q_const"]), -0.4]
    b, q = controls_to_shape(parameters, np.log(tau), np.log(tpp))
    x = np.arange(1, 201) / 200
    scatter = np.exp(own * rng.standard_normal(n))
    ell = surrogate_curve(x, np.tile(to_zero(x), (n, 1)), b * scatter, q, 0.05)
    ell *= 1 + noise * rng.standard_normal(ell.shape)
    ds = make_runs(
        {
            "run_id": [f"r{i}" for i in range(n)],
            "model_size": np.full(n, 1e8),
            "tau": tau,
            "tpp": tpp,
            "schedule": ["linear"] * n,
            "warmup_fraction": np.full(n, 0.1),
            "total_steps": np.full(n, 200.0),
            "status": ["done"] * n,
        },
        {"step": np.tile(np.arange(1, 201), n), "eval_loss": (3 * ell).ravel()},
        row_size=[200] * n,
    )
    return conform(ds)


@pytest.fixture(scope="module")
def runs():
    return made_runs(40, seed=5)


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Runs that scatter by 10 % of b about the law; 90 % intervals from a bootstrap over runs."""
    hits = np.zeros(4)
    for seed in range(24):
        fit = fit_surrogate(made_runs(14, seed=seed, own=0.1), m=0.05, rng=seed)
        hits += [fit.params[k].lower <= value <= fit.params[k].upper for k, value in TRUTH.items()]
    assert hits.sum() >= 0.82 * 4 * 24, hits


def test_fit_to_runs_with_intervals_that_hold_the_truth(runs):
    calls = []
    fit = fit_surrogate(runs, m=0.05, progress=lambda done, total: calls.append((done, total)))
    for name, value in TRUTH.items():
        found = fit.params[name]
        assert found.lower <= found.estimate <= found.upper
        assert found.estimate == pytest.approx(value, rel=0.15), name
    assert fit.b_exp.estimate == pytest.approx(-0.5, abs=0.05)
    assert fit.mae < 2e-3
    assert calls[-1] == (61, 61)
    assert fit.to_dataset()["estimate"].sel(parameter="b_exp") == fit.b_exp.estimate
    assert "b_exp" in fit._repr_html_()


def test_order_of_runs_and_unit_of_loss_do_not_change_the_fit(runs):
    moved = take_runs(runs, np.arange(40)[::-1])
    moved = moved.assign(eval_loss=moved["eval_loss"] / np.log(2))
    one, two = (fit_surrogate(ds, m=0.05, bootstrap=0) for ds in (runs, moved))
    for name, found in one.params.items():
        assert two.params[name].estimate == pytest.approx(found.estimate, rel=1e-6)
    assert two.mae == pytest.approx(one.mae, rel=1e-9)


def test_the_exponent_of_progress_is_chosen_by_the_curves(runs):
    assert fit_surrogate(runs, bootstrap=0).m == 0.05


def test_prediction_ends_at_one_with_a_band(runs):
    fit = fit_surrogate(runs, m=0.05, bootstrap=20)
    x = np.linspace(0.1, 1, 50)
    found = fit.predict(x, tau=0.2, tpp=20, lr_factor=to_zero(x))
    assert found["normalized_loss"][-1] == 1.0
    assert (found["lower"] <= found["upper"]).all()
    b, q = TRUTH["b_const"] * 0.2**-0.5, TRUTH["q_const"] * 20**-0.4
    np.testing.assert_allclose(
        found["normalized_loss"], surrogate_curve(x, to_zero(x), b, q, 0.05), atol=3e-3
    )
    with pytest.raises(ArgumentError, match="end at 1"):
        fit.predict([0.1, 0.5], tau=0.2, tpp=20, lr_factor=[1, 1])


def test_controls_that_do_not_vary_are_said(make_family):
    fit = fit_surrogate(make_family(warmup_fraction=0.1), bootstrap=0)
    assert fit.b_exp.estimate == 0
    assert fit.q_exp.estimate == 0
    assert len(fit.warnings) == 2
    assert "hardly varies" in fit.warnings[0]


def test_unknown_schedule_and_too_few_runs(make_family):
    with pytest.raises(DataError, match="schedule 'zigzag' does not say how"):
        fit_surrogate(make_family(schedule="zigzag"))
    with pytest.raises(DataError, match="3 or more finished runs, found 2"):
        fit_surrogate(make_family(sizes=(1e6,), seeds=(0, 1)))


def test_recorded_learning_rate_goes_before_the_name(make_family):
    ds = make_family(sizes=(1e6,), seeds=(0,))
    rate = np.linspace(1e-3, 2e-3, 200)
    factors = learning_rate_factors(ds.assign(learning_rate=("obs", rate)), points=100)
    np.testing.assert_allclose(
        factors[0], (1e-3 + 1e-3 * (factors.progress * 200 - 1) / 199) / 2e-3
    )
    named = learning_rate_factors(ds, points=100)
    assert named[0, 0] == 1.0
    assert float(named[0, -1]) < 0.05
