from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.laws.kernels_noisy_quadratic import second_moment, sgd_second_moment, simulate
from workbench.laws.noisy_quadratic import (
    lowest_tau,
    nearest_mode,
    noisy_quadratic,
    noisy_quadratic_parts,
)
from workbench.recipes import schedule_factors


def at(curve, *progress):
    return np.interp(progress, curve["progress"].to_numpy(), curve.to_numpy())


def test_constant_rate_has_the_reference_values():
    curve = noisy_quadratic(np.ones(4000), tau=0.3, kappa=10)
    np.testing.assert_allclose(
        at(curve, 0, 0.1, 0.25, 0.5), [9.8868, 5.5571, 2.6693, 1.3061], atol=1e-4
    )


@given(st.floats(0.02, 2.0), st.floats(0.05, 30.0))
def test_constant_rate_is_the_closed_form(tau, kappa):
    curve = noisy_quadratic(np.ones(64), tau=tau, kappa=kappa)
    left = np.exp(-2 * curve["progress"].to_numpy() / tau)
    closed = (1 - left + kappa * left) / (1 - left[-1] + kappa * left[-1])
    np.testing.assert_allclose(curve, closed, rtol=1e-10)


@given(st.floats(0.05, 1.0), st.floats(0.2, 5.0).filter(lambda k: abs(k - 1) > 0.01))
def test_it_falls_exactly_when_the_start_is_above_the_stationary_level(tau, kappa):
    curve = noisy_quadratic(np.ones(50), tau=tau, kappa=kappa).to_numpy()
    assert (np.diff(curve)[:5] < 0).all() == (kappa > 1)


def test_short_and_long_memory_change_order_between_constant_and_decay():
    linear = 1 - (np.arange(20_000) + 0.5) / 20_000
    expected = {0.05: (3.95, 2.76, 1.66), 0.8: (2.00, 1.36, 1.08)}
    for tau, values in expected.items():
        moment = second_moment(linear, tau, 1.0, 0.02)
        ell = np.interp((0.25, 0.5, 0.75), np.linspace(0, 1, len(moment)), moment / moment[-1])
        np.testing.assert_allclose(ell, values, atol=0.006)
    constant = second_moment(np.ones(1000), 0.05, 1.0, 0.02)
    assert constant[250] / constant[-1] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "wsd"])
@pytest.mark.parametrize("tau", [0.05, 0.4])
def test_simulation_agrees_with_the_equation(schedule, tau):
    factor = schedule_factors(schedule, total_steps=1000)
    mean, error = simulate(
        factor, tau, 1.0, 0.02, paths=10_000, rng=np.random.default_rng(7), every=50
    )
    discrete = sgd_second_moment(factor, tau, 1.0, 0.02)[::50]
    assert (np.abs(mean - discrete) < 4.5 * error).all()
    assert (np.abs(mean - discrete) < 3 * error).mean() > 0.9
    exact = second_moment(factor, tau, 1.0, 0.02)[::50]
    np.testing.assert_allclose(discrete, exact, rtol=0.05)


def test_many_steps_reach_the_equation():
    factor = np.interp(np.arange(200_000), [0, 200_000], [1, 0.1])
    np.testing.assert_allclose(
        sgd_second_moment(factor, 0.2, 1.0, 0.05)[::1000],
        second_moment(factor, 0.2, 1.0, 0.05)[::1000],
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("factor", "tau", "kappa"), [([1.2], 0.1, 2), ([], 0.1, 2), ([1.0], 0, 2), ([1.0], 0.1, -1)]
)
def test_bad_arguments_are_refused(factor, tau, kappa):
    with pytest.raises(ArgumentError):
        noisy_quadratic(factor, tau=tau, kappa=kappa)


@given(st.floats(0.05, 2.0), st.floats(0.1, 100.0), st.floats(0.0, 20.0))
def test_bias_and_variance_are_the_whole_curve(tau, kappa, floor):
    factor = schedule_factors("cosine", total_steps=64)
    found = noisy_quadratic_parts(factor, tau=tau, kappa=kappa, floor=floor)
    whole = (found["bias"] + found["variance"] + floor) / (1 + floor)
    np.testing.assert_allclose(whole, found["normalized_loss"], rtol=1e-10)
    np.testing.assert_array_equal(
        found["normalized_loss"], noisy_quadratic(factor, tau=tau, kappa=kappa, floor=floor)
    )
    assert (np.diff(found["bias"]) <= 0).all()
    assert float(found["variance"][0]) == 0


def test_parts_at_a_constant_rate_have_the_closed_form():
    found = noisy_quadratic_parts(np.ones(200), tau=0.4, kappa=5)
    left = np.exp(-2 / 0.4)
    share = 5 * left / (5 * left + 1 - left)
    assert float(found["bias"][-1]) == pytest.approx(share)
    assert float(found["variance"][-1]) == pytest.approx(1 - share)


@pytest.mark.parametrize("start", [3.0, 30.0])
def test_lowest_tau_at_a_constant_rate_solves_the_closed_form(start):
    # start·e^(−2/τ) + (1 − e^(−2/τ))/(2τ), by a fine grid
    tau = np.logspace(-2, 1, 20_001)
    left = np.exp(-2 / tau)
    exact = tau[np.argmin(start * left + (1 - left) / (2 * tau))]
    assert lowest_tau(np.ones(100), start=start) == pytest.approx(exact, rel=0.03)


def test_a_larger_start_wants_a_shorter_memory():
    factor = schedule_factors("linear", total_steps=100)
    found = [lowest_tau(factor, start=start) for start in (2.0, 20.0, 200.0)]
    assert found == sorted(found, reverse=True)


def test_nearest_mode_finds_the_mode_that_made_the_curves():
    tau = np.array([0.1, 0.3, 0.6])
    factor = np.stack([schedule_factors(n, total_steps=128) for n in ("linear", "cosine", "wsd")])
    curves = [
        noisy_quadratic(f, tau=t, kappa=2 * t * 10**1.3, floor=8.0)[1:]
        for f, t in zip(factor, tau, strict=True)
    ]
    found = nearest_mode(np.stack(curves), factor, tau)
    assert found.start == pytest.approx(10**1.3)
    assert found.floor == pytest.approx(8.0)
    assert found.error < 1e-12
    assert found.n_curves == 3
