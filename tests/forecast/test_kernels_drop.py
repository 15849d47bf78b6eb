"""The law of the remaining drop: exact laws are found, and its intervals mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.forecast.kernels_drop import Mixture, drop_law

LADDER = np.log(np.geomspace(1, 60, 6))[:, None]


@given(st.floats(-0.8, 0.8), st.floats(-4, 1))
def test_a_power_law_is_carried_on(exponent, level):
    target = level + exponent * LADDER[:5, 0]
    features = LADDER[:5] - LADDER[5]
    mixture, _ = drop_law(target, features, trends=[[], [0]])
    mean, sd = mixture.moments()
    truth = level + exponent * LADDER[5, 0]
    assert abs(mean - truth) < 0.03 + 0.5 * sd


def test_the_data_choose_the_trend():
    rng = np.random.default_rng(0)
    features = np.column_stack([LADDER[:, 0], rng.standard_normal(6)])
    _, weight = drop_law(-0.4 * features[:, 0], features, trends=[[], [0], [1]])
    assert weight[1] > 0.95
    _, weight = drop_law(0.01 * rng.standard_normal(6), features, trends=[[], [0], [1]])
    assert weight[0] > 0.5


def test_order_of_references_does_not_matter():
    rng = np.random.default_rng(1)
    features, target = rng.standard_normal((9, 2)), rng.standard_normal(9) * 0.1
    order = rng.permutation(9)
    options = {"trends": [[0, 1]]}
    one, _ = drop_law(target, features, distance=features, **options)
    two, _ = drop_law(target[order], features[order], distance=features[order], **options)
    assert one.moments() == pytest.approx(two.moments(), rel=1e-8)


def test_one_reference_says_little():
    mixture, _ = drop_law(np.array([-2.0]), np.zeros((1, 1)), trends=[[], [0]])
    mean, sd = mixture.moments()
    assert mean == pytest.approx(-2.0, abs=0.05)
    assert sd > 0.05


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(400):
        exponent, sigma = rng.normal(0, 0.4), np.exp(rng.uniform(np.log(0.005), np.log(0.1)))
        y = exponent * LADDER[:, 0] - 2 + sigma * rng.standard_normal(6)
        mixture, _ = drop_law(y[:5], LADDER[:5] - LADDER[5], trends=[[], [0]])
        low, high = mixture.quantile(np.array([0.05, 0.95]))
        inside += low <= y[5] <= high
    assert 0.84 <= inside / 400 <= 0.97


def test_quantiles_of_one_normal():
    normal = Mixture(np.ones(1), np.array([3.0]), np.array([4.0]))
    found = normal.quantile(np.array([0.05, 0.5, 0.95]))
    np.testing.assert_allclose(found, 3 + 2 * np.array([-1.6448536, 0, 1.6448536]), atol=1e-6)
    wide = normal.widened(variance=5.0, factor=2.0)
    assert wide.moments() == pytest.approx((3.0, 6.0))
