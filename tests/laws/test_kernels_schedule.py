from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.schedule_family import PEAK, schedule
from workbench.laws.kernels_schedule import curve, in_units, make_path

POWER = np.array([2.6, np.log(0.55), 0.48, np.log(500.0), 0.1, np.log(0.4), np.log(0.3), 0.8])
EXPONENTIAL = np.array([2.6, np.log(0.55), 0.48, np.log(400.0), 0.05, np.log(600.0)])


def by_the_book(lr, step, params):
    """The Multi-Power Law summed as printed, one record and one step at a time."""
    floor, log_a, alpha, log_b, kappa, log_c, log_beta, gamma = params
    total = np.cumsum(lr)
    out = []
    for t in step:
        saved = sum(
            (lr[k - 1] - lr[k])
            * (
                1
                - (1 + np.exp(log_c) * lr[k] ** -gamma * (total[t] - total[k - 1]))
                ** -np.exp(log_beta)
            )
            for k in range(1, t + 1)
        )
        slow = np.exp(log_a) * total[t] ** -alpha
        out.append(floor + slow - np.exp(log_b) * total[t] ** -kappa * saved)
    return np.array(out)


@pytest.mark.parametrize("kind", ["constant", "cosine", "two-stage", "wsd"])
def test_short_schedules_are_summed_exactly(kind):
    lr, step = schedule(kind, 500, 40), np.array([60, 200, 251, 499])
    value, _ = curve(make_path(lr, step), POWER)
    np.testing.assert_allclose(value, by_the_book(lr, step, POWER), rtol=1e-12)


@pytest.mark.parametrize("kind", ["constant", "cosine", "two-stage", "wsd"])
def test_blocks_change_a_long_curve_by_less_than_its_noise(kind):
    lr, step = schedule(kind, 20_000, 1000), np.arange(1200, 20_000, 100)
    exact, _ = curve(make_path(lr, step, max_blocks=10**6), POWER)
    blocks, _ = curve(make_path(lr, step), POWER)
    assert np.abs(exact - blocks).max() < 2e-4
    assert np.abs(exact - blocks).mean() < 1e-5


def test_annealing_sum_is_the_recursion_with_momentum():
    lr, step = schedule("cosine", 500, 40), np.arange(50, 500, 7)
    factor = np.exp(-1 / 600.0)
    momentum, total, s2 = 0.0, 0.0, np.zeros(500)
    for i in range(1, 500):
        momentum = factor * momentum + lr[i - 1] - lr[i]
        total += momentum
        s2[i] = total
    value, _ = curve(make_path(lr, step), EXPONENTIAL, exponential=True)
    s1 = np.cumsum(lr)[step]
    gain = 400.0 * (1 - factor) * s1**-0.05
    np.testing.assert_allclose(value, 2.6 + 0.55 * s1**-0.48 - gain * s2[step], rtol=1e-12)


@pytest.mark.parametrize(("params", "exponential"), [(POWER, False), (EXPONENTIAL, True)])
def test_slopes_are_the_derivatives(params, exponential):
    path = in_units(make_path(schedule("wsd", 900, 60), np.arange(100, 900, 40)), PEAK)
    params = params.copy()
    params[3] = np.log(0.2)
    _, slope = curve(path, params, exponential=exponential, horizon=700.0)
    for i in range(len(params)):
        away = np.zeros(len(params))
        away[i] = 1e-6
        up, _ = curve(path, params + away, exponential=exponential, horizon=700.0)
        down, _ = curve(path, params - away, exponential=exponential, horizon=700.0)
        np.testing.assert_allclose(slope[:, i], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)


@settings(max_examples=25)
@given(st.floats(1e-5, 1e-1))
def test_units_of_the_learning_rate_do_not_matter(unit):
    path = make_path(schedule("cosine", 900, 60), np.arange(100, 900, 40))
    here, _ = curve(path, POWER)
    floor, log_a, alpha, log_b, kappa, log_c, log_beta, gamma = POWER
    u = np.log(unit)
    changed = [
        floor,
        log_a - alpha * u,
        alpha,
        log_b + u - kappa * u,
        kappa,
        log_c + (1 - gamma) * u,
        log_beta,
        gamma,
    ]
    there, _ = curve(in_units(path, unit), np.array(changed))
    np.testing.assert_allclose(there, here, rtol=1e-10)


def test_a_rate_of_zero_at_the_end_is_finite():
    lr = np.concatenate([np.full(50, 1e-3), np.linspace(1e-3, 0, 50)])
    value, slope = curve(make_path(lr, np.array([99])), POWER)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()


def test_a_rate_that_never_changes_is_a_plain_power_law():
    value, _ = curve(make_path(np.full(100, 1e-3), np.array([9, 99])), POWER)
    np.testing.assert_allclose(value, 2.6 + 0.55 * np.array([1e-2, 1e-1]) ** -0.48)
