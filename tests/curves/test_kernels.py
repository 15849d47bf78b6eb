from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.curves import kernels

GRID = kernels.progress_grid(64)
finite = st.floats(-1e3, 1e3, allow_nan=False)


@given(st.integers(2, 300), st.floats(0.2, 1.0))
def test_linear_resampling_is_exact_for_a_line_and_invents_nothing(n, reach):
    position = np.linspace(reach / n, reach, n)
    out = kernels.resample_linear(position, 3 - 2 * position, GRID)
    inside = (position[0] <= GRID) & (position[-1] >= GRID)
    np.testing.assert_allclose(out[inside], 3 - 2 * GRID[inside], atol=1e-12)
    assert np.isnan(out[~inside]).all()


def test_a_nearly_finished_curve_is_held_at_its_last_value():
    out = kernels.resample_linear(np.array([0.1, 0.98]), np.array([2.0, 1.0]), GRID, hold_from=0.97)
    assert out[-1] == 1.0
    cut = kernels.resample_linear(np.array([0.1, 0.9]), np.array([2.0, 1.0]), GRID, hold_from=0.97)
    assert np.isnan(cut[-1])


def test_nan_records_are_skipped_not_spread():
    position, values = np.linspace(0.01, 1, 100), np.linspace(2, 1, 100)
    values[::3] = np.nan
    assert np.isfinite(kernels.resample_linear(position, values, GRID)[2:-1]).all()
    assert np.isnan(kernels.resample_linear(position, np.full(100, np.nan), GRID)).all()


def test_mean_resampling_reads_every_record():
    position = np.arange(1, 6401) / 6400
    noisy = np.where(np.arange(6400) % 2, 1.0, 3.0)
    out = kernels.resample_mean(position, noisy, GRID)
    np.testing.assert_allclose(out, 2.0, atol=0.05)
    sparse = kernels.resample_mean(np.array([0.0, 1.0]), np.array([1.0, 2.0]), GRID)
    np.testing.assert_allclose(sparse, 1 + GRID, atol=1e-12)


@given(finite, finite, st.integers(0, 40))
def test_local_line_leaves_a_line_alone_up_to_the_ends(a, b, half_width):
    line = a + b * np.arange(64)
    np.testing.assert_allclose(
        kernels.local_linear(line, half_width), line, atol=1e-9 * (1 + abs(a) + 64 * abs(b))
    )


def test_local_line_is_the_moving_average_inside():
    values = np.random.default_rng(0).normal(size=64)
    smooth = kernels.local_linear(values, 4)
    for k in range(4, 60):
        assert smooth[k] == pytest.approx(values[k - 4 : k + 5].mean())
    window = values[:5]
    slope, intercept = np.polyfit(np.arange(5), window, 1)
    assert smooth[0] == pytest.approx(intercept)
    assert slope != 0


def test_local_line_keeps_gaps():
    values = np.r_[np.full(10, np.nan), np.linspace(2, 1, 54)]
    smooth = kernels.local_linear(values, 3)
    assert np.isnan(smooth[:10]).all()
    np.testing.assert_allclose(smooth[10:], values[10:], atol=1e-12)


@given(
    st.lists(st.floats(0.5, 10), min_size=4, max_size=12),
    st.floats(0, 0.4),
    st.floats(0.1, 5),
    st.floats(-3, 3),
)
def test_normalised_curve_ends_at_one_and_ignores_affine_changes(losses, offset, scale, shift):
    curve = np.array([losses])
    ell = kernels.normalize(curve, curve[:, -1], offset)
    assert ell[0, -1] == pytest.approx(1)
    moved = kernels.normalize(
        scale * curve + shift, scale * curve[:, -1] + shift, scale * offset + shift
    )
    np.testing.assert_allclose(moved, ell, rtol=1e-9, atol=1e-9)
