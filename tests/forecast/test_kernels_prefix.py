"""Alignment and prefix lines: exact where the data are exact, robust where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.forecast.kernels_prefix import (
    ALIGNERS,
    align_scale,
    end_level,
    prefix_line,
    robust_line,
    weighted_median,
)

WINDOW = np.linspace(0.25, 0.5, 200)
REFERENCE = WINDOW**-0.12 + 0.1 * (1 - WINDOW)


@pytest.mark.parametrize("aligner", ALIGNERS)
@given(scale=st.floats(1e-3, 1e3))
def test_exact_curves_give_back_the_scale(aligner, scale):
    found = align_scale(scale * REFERENCE, REFERENCE, aligner=aligner)
    assert found == pytest.approx(scale, rel=1e-9)


@given(st.integers(0, 1000), st.floats(-0.2, 0.2))
def test_each_aligner_minimises_what_it_says(seed, off):
    """No neighbouring scale is better."""
    y = 2 * REFERENCE * (1 + 0.02 * np.random.default_rng(seed).standard_normal(200))
    misfits = {
        "squared": lambda s: ((y - s * REFERENCE) ** 2).sum(),
        "normalized": lambda s: ((y / s - REFERENCE) ** 2).sum(),
        "absolute": lambda s: np.abs(y - s * REFERENCE).sum(),
    }
    for aligner, misfit in misfits.items():
        scale = align_scale(y, REFERENCE, aligner=aligner)
        assert misfit(scale) <= misfit(scale * (1 + off)) * (1 + 1e-12)


@pytest.mark.parametrize("aligner", ALIGNERS)
@given(st.permutations(range(200)), st.floats(1e-2, 1e2))
def test_order_of_points_and_unit_of_loss_do_not_matter(aligner, order, unit):
    y = 2 * REFERENCE * (1 + 0.02 * np.random.default_rng(0).standard_normal(200))
    order = list(order)
    found = align_scale(unit * y[order], REFERENCE[order], aligner=aligner)
    assert found == pytest.approx(unit * align_scale(y, REFERENCE, aligner=aligner), rel=1e-9)


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_one_percent_noise_costs_a_thousandth_at_most(aligner):
    rng = np.random.default_rng(0)
    errors = [
        align_scale(
            3 * REFERENCE * (1 + 0.01 * rng.standard_normal(200)), REFERENCE, aligner=aligner
        )
        / 3
        - 1
        for _ in range(300)
    ]
    # The standard error itself is 0.07 %: the bound of 0.1 % is on the usual error.
    assert np.sqrt(np.mean(np.square(errors))) <= 1e-3


def test_robust_aligner_shrugs_off_spikes():
    rng = np.random.default_rng(1)
    robust, squared = [], []
    for _ in range(200):
        y = 3 * REFERENCE * (1 + 0.01 * rng.standard_normal(200))
        y[rng.choice(200, 4, replace=False)] *= 2.0
        robust.append(align_scale(y, REFERENCE, aligner="robust") / 3 - 1)
        squared.append(align_scale(y, REFERENCE, aligner="squared") / 3 - 1)
    assert np.quantile(np.abs(robust), 0.95) <= 3e-3
    assert np.median(np.abs(squared)) > 1e-2


def test_missing_points_are_left_out_and_none_is_an_error():
    y = 2 * REFERENCE
    y[::3] = np.nan
    assert align_scale(y, REFERENCE) == pytest.approx(2, rel=1e-12)
    with pytest.raises(ArgumentError, match="share no finite point"):
        align_scale(np.full(200, np.nan), REFERENCE)
    with pytest.raises(ArgumentError, match="aligner must be one of"):
        align_scale(y, REFERENCE, aligner="best")


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_weighted_median_with_equal_weights_is_the_median(values):
    found = weighted_median(values, np.ones(len(values)))
    assert found == pytest.approx(float(np.median(values)), abs=1e-9)


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_robust_line_is_exact_and_ignores_a_spike(level, slope):
    x = np.linspace(-0.7, 0, 40)
    y = level + slope * x
    assert robust_line(x, y)[:2] == pytest.approx((level, slope), abs=1e-9)
    y = y + 1e-4 * np.sin(37 * x)
    y[7] += 5
    assert robust_line(x, y)[:2] == pytest.approx((level, slope), abs=1e-3)


def test_prefix_line_reads_a_power_law():
    x = np.linspace(0.01, 0.3, 60)
    level, slope, sd, n = prefix_line(x, 2 * x**-0.1, at=0.3, start=0.15)
    assert level == pytest.approx(np.log(2 * 0.3**-0.1), abs=1e-10)
    assert slope == pytest.approx(0.1, abs=1e-9)
    assert sd < 1e-9
    assert n == int((x >= 0.15).sum())


def test_sparse_prefix_takes_the_last_three_and_two_are_too_few():
    x = np.array([0.05, 0.1, 0.2, 0.28])
    assert prefix_line(x, x**-0.1, at=0.3, start=0.15)[3] == 3
    assert np.isnan(prefix_line(x[:2], x[:2] ** -0.1, at=0.3, start=0.15)[0])


def test_end_level_holds_sparse_and_smooths_dense_ends():
    x = np.linspace(0, 1, 1001)
    y = np.exp(1 - 0.1 * x)
    assert end_level(x, y, width=0.05) == pytest.approx(0.9, abs=1e-12)
    noisy = y * np.exp(0.05 * np.random.default_rng(0).standard_normal(1001))
    assert abs(end_level(x, noisy, width=0.05) - 0.9) < 0.05
    assert end_level(x[:-20], y[:-20], width=0.0) == pytest.approx(np.log(y[-21]), abs=1e-15)
