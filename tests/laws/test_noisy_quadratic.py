from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.laws.kernels_noisy_quadratic import second_moment, sgd_second_moment, simulate
from workbench.laws.noisy_quadratic import (
    expected_loss,
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


def equation_15(t, *, tau, start, noise, curvature=1.0):
    """As printed, for a constant rate."""
    left = np.exp(-2 * np.asarray(t) / tau)
    return curvature * noise / (4 * tau) * (1 - left) + curvature / 2 * left * start


@given(st.floats(0.02, 2.0), st.floats(0, 10.0), st.floats(1e-3, 10.0), st.floats(0.01, 100.0))
def test_constant_rate_is_equation_15(tau, start, noise, curvature):
    parts = {"tau": tau, "start": start, "noise": noise, "curvature": curvature}
    found = expected_loss(np.ones(40), **parts)
    np.testing.assert_allclose(found, equation_15(found["progress"], **parts), rtol=1e-10)


SCHEDULED = st.sampled_from(["constant", "linear", "cosine", "wsd"])


@given(SCHEDULED, st.floats(0.05, 1.0), st.floats(0.1, 30.0), st.integers(-20, 20))
def test_curvature_cancels(schedule, tau, kappa, exponent):
    """To the last bit for powers of two, whose products are exact; else to rounding."""
    factor = schedule_factors(schedule, total_steps=50)
    ell = noisy_quadratic(factor, tau=tau, kappa=kappa).to_numpy()
    for curvature, tolerance in ((2.0**exponent, 0.0), (1.1**exponent, 1e-15)):
        loss = expected_loss(factor, tau=tau, start=kappa, noise=2 * tau, curvature=curvature)
        np.testing.assert_allclose(loss / loss[-1], ell, rtol=tolerance, atol=0)


@given(st.floats(0.05, 3.0), st.floats(0.05, 20.0))
def test_it_falls_exactly_when_the_start_is_above_the_stationary_level(tau, kappa):
    """All the way: until the transient is lost in rounding there is no turn."""
    slope = np.diff(noisy_quadratic(np.ones(50), tau=tau, kappa=kappa).to_numpy())
    away = np.exp(-2 * np.arange(50) / 50 / tau) * abs(kappa - 1) > 1e-9
    assert ((slope < 0) == (kappa > 1))[away].all()
    assert (np.abs(slope[~away]) < 1e-8).all()
    np.testing.assert_allclose(noisy_quadratic(np.ones(50), tau=tau, kappa=1.0), 1.0, rtol=1e-14)


FALLING = 1 - (np.arange(4000) + 0.5) / 4000
TAUS = (0.05, 0.1, 0.2, 0.4, 0.8)


def test_short_memory_drops_late_under_decay_and_early_without():
    """The order of τ turns round between a constant rate and decay to zero (figure 10)."""
    expected = {0.05: (3.95, 2.76, 1.66), 0.8: (2.00, 1.36, 1.08)}
    late, middle = {}, {}
    for name, factor in {
        "constant": np.ones(4000),
        "tenth": 0.1 + 0.9 * FALLING,
        "zero": FALLING,
    }.items():
        curves = [expected_loss(factor, tau=tau, start=1.0, noise=0.02) for tau in TAUS]
        ell = np.array([at(curve / curve[-1], 0.25, 0.5, 0.75) for curve in curves])
        middle[name], late[name] = ell[-1, 1] - ell[0, 1], ell[:, 2]
        if name == "zero":
            for tau, values in expected.items():
                np.testing.assert_allclose(ell[TAUS.index(tau)], values, atol=0.006)
        if name == "constant":
            np.testing.assert_allclose(ell[0], 1.0, atol=2e-3)
    assert (np.diff(late["constant"]) > 0).all()
    assert (np.diff(late["zero"]) < 0).all()
    assert middle["zero"] < middle["tenth"] < 0 < middle["constant"]


@pytest.mark.parametrize("tau", [0.1, 0.4])
def test_decay_to_zero_solves_the_differential_equation(tau):
    from scipy.integrate import solve_ivp

    solved = solve_ivp(
        lambda t, m: -2 * (1 - t) / tau * m + ((1 - t) / tau) ** 2 * 0.02,
        (0, 1),
        [1.0],
        t_eval=np.linspace(0, 1, 11),
        rtol=1e-10,
        atol=1e-12,
    )
    found = second_moment(FALLING, tau, 1.0, 0.02)
    np.testing.assert_allclose(found[::400], solved.y[0], rtol=1e-4)


@pytest.mark.parametrize("tau", [0.1, 0.4])
def test_decay_to_zero_is_simulated_within_two_percent(tau):
    factor = 1 - (np.arange(1000) + 0.5) / 1000
    mean, error = simulate(
        factor, tau, 1.0, 0.02, paths=40_000, rng=np.random.default_rng(2), every=100
    )
    assert (error < 0.008 * mean).all()  # so that 2 % would show
    np.testing.assert_allclose(mean, second_moment(factor, tau, 1.0, 0.02)[::100], rtol=0.02)


@pytest.mark.parametrize("tau", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_monte_carlo_is_within_three_standard_errors_of_equation_15(tau, start):
    mean, error = simulate(
        np.ones(1000), tau, start, 0.2, paths=12_000, rng=np.random.default_rng(3), every=100
    )
    expected = 2 * equation_15(np.arange(1, 11) / 10, tau=tau, start=start, noise=0.2)
    assert (np.abs(mean[1:] - expected) < 3 * error[1:]).all()


def test_simulated_curves_turn_their_order_too():
    def middle(factor, tau):
        options = {"paths": 10_000, "rng": np.random.default_rng(4), "every": 500}
        mean, _ = simulate(factor, tau, 1.0, 0.02, **options)
        return mean[1] / mean[2]

    falling = 1 - (np.arange(1000) + 0.5) / 1000
    assert middle(falling, 0.05) > 1.5 * middle(falling, 0.8)
    assert 1.5 * middle(np.ones(1000), 0.05) < middle(np.ones(1000), 0.8)


@given(st.floats(1e-4, 0.3), st.floats(0.01, 10))
def test_independent_steps_settle_at_their_stationary_variance(share, variance):
    """θ ← (1 − α)θ + αx with Var x = s² ends at αs²/(2 − α), αs²/2 for small α (σ² = s²/T)."""
    steps = int(np.ceil(20 / share))
    found = sgd_second_moment(np.ones(steps), 1 / (share * steps), 0.0, variance / steps)
    assert found[-1] == pytest.approx(share * variance / (2 - share), rel=1e-9)


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


@pytest.mark.parametrize("change", [{"tau": 0}, {"start": -1}, {"noise": -0.1}, {"curvature": 0}])
def test_a_mode_that_cannot_be_is_refused(change):
    with pytest.raises(ArgumentError, match="tau and curvature must be above 0"):
        expected_loss([1.0], **{"tau": 0.1, "start": 1.0, "noise": 0.1} | change)
