from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from workbench.curves import SMOOTHERS, kernels_smooth, on_progress, smooth
from workbench.curves.smoothing import _KERNELS
from workbench.errors import ArgumentError

TRAILING = ("trailing-average", "trailing-exponential")
CENTRED = [name for name in SMOOTHERS if name not in TRAILING]
FITS_LINES = [name for name in CENTRED if name != "isotonic"]
N = 80


@given(st.sampled_from(FITS_LINES), st.integers(1, 60), st.floats(-5, 5), st.floats(-1, 1))
def test_a_line_is_left_alone_up_to_its_ends(name, half_width, level, slope):
    line = level + slope * np.arange(N)
    out = _KERNELS[name](line, half_width)
    np.testing.assert_allclose(out, line, atol=1e-8 * (1 + abs(level) + N * abs(slope)))


@given(st.sampled_from(CENTRED), st.integers(1, 30), st.integers(0, 1000))
def test_centred_smoothers_do_not_know_the_direction(name, half_width, seed):
    """Read backwards (and, for the curve that never rises, upside down) the result is the same."""
    values = np.random.default_rng(seed).normal(size=N)
    flip = -1.0 if name == "isotonic" else 1.0
    forth = _KERNELS[name](values, half_width)
    back = flip * _KERNELS[name](flip * values[::-1], half_width)[::-1]
    np.testing.assert_allclose(forth, back, atol=1e-9)


@given(st.sampled_from(SMOOTHERS), st.floats(0.1, 50), st.floats(-9, 9))
def test_smoothing_commutes_with_units(name, scale, shift):
    values = np.random.default_rng(1).normal(size=(3, N))
    one = _KERNELS[name](shift + scale * values, 5)
    np.testing.assert_allclose(one, shift + scale * _KERNELS[name](values, 5), atol=1e-8 * scale)


@pytest.mark.parametrize("name", SMOOTHERS)
def test_missing_values_stay_missing_and_are_not_read(name):
    values = np.random.default_rng(2).normal(size=(2, N))
    cut = values.copy()
    cut[1, :7] = np.nan
    cut[1, 70:] = np.nan
    out = _KERNELS[name](cut, 4)
    assert np.isfinite(out[0]).all()
    assert np.array_equal(np.isnan(out[1]), np.isnan(cut[1]))
    np.testing.assert_allclose(out[1, 7:70], _KERNELS[name](values[1, 7:70], 4))
    gap = values[0].copy()
    gap[30:33] = np.nan
    assert np.array_equal(np.isnan(_KERNELS[name](gap, 4)), np.isnan(gap))
    assert np.isnan(_KERNELS[name](np.full(N, np.nan), 4)).all()
    assert np.array_equal(_KERNELS[name](values, 0), values)


@pytest.mark.parametrize("name", [n for n in SMOOTHERS if n != "isotonic"])
def test_smoothing_takes_noise_away(name):
    noise = np.random.default_rng(3).normal(size=(200, N))
    middle = slice(25, 55)
    assert _KERNELS[name](noise, 8)[:, middle].std() < 0.5


def test_the_robust_ones_do_not_follow_a_spike():
    line = np.linspace(4, 2, N)
    spiked = line + np.random.default_rng(5).normal(0, 0.02, N)
    spiked[40] += 3
    for name in ("median", "lowess"):
        np.testing.assert_allclose(_KERNELS[name](spiked, 6), line, atol=0.06)
    assert _KERNELS["moving-average"](spiked, 6)[40] - line[40] > 0.2


def test_trailing_smoothers_lag_by_what_they_say():
    """A falling curve ends too high by lag times slope: why they are not the default."""
    line = 4 - 0.01 * np.arange(400)
    average = kernels_smooth.trailing_average(line, 10)
    assert average[-1] - line[-1] == pytest.approx(10 * 0.01)
    past = kernels_smooth.trailing_exponential(line, 10)
    assert past[-1] - line[-1] == pytest.approx(10 * 0.01 / np.log(2), rel=0.05)


def test_isotonic_never_rises_and_keeps_the_mean():
    values = np.linspace(3, 1, N) + np.random.default_rng(4).normal(0, 0.2, N)
    out = kernels_smooth.isotonic(values, 1)
    assert (np.diff(out) <= 0).all()
    assert out.mean() == pytest.approx(values.mean())


@pytest.mark.parametrize("name", SMOOTHERS)
def test_name_and_width_are_stated(make_family, name):
    curves = on_progress(make_family())
    out = smooth(curves, width=0.05, smoother=name)
    assert isinstance(out, xr.DataArray)
    assert name.replace("-", " ") in out.attrs["smoothing"]
    assert ("5 % of the run" in out.attrs["smoothing"]) == (name != "isotonic")
    assert smooth(curves, width=0.0, smoother=name).equals(curves)


def test_an_unknown_smoother_is_refused(make_family):
    with pytest.raises(ArgumentError, match="smoother must be one of local-line"):
        smooth(on_progress(make_family()), width=0.1, smoother="boxcar")
