from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.collapse import deviation, noise_floor, normalize, normalize_as, scan_offset
from workbench.curves import on_progress, smooth
from workbench.errors import ArgumentError, DataError
from workbench.schema import conform


@pytest.fixture(scope="module")
def curves(request):
    from tests.collapse.test_quality import family

    return family(np.random.default_rng(0), noise=0.02)


@given(st.floats(0, 1.6))
def test_every_curve_ends_at_one(curves, offset):
    ell = normalize(curves, offset=offset)
    np.testing.assert_array_equal(ell[:, -1], 1.0)
    assert ell.attrs["offset"] == offset


@settings(max_examples=30)
@given(st.floats(1e-3, 1e3), st.floats(-1.5, 5), st.floats(0, 1.6))
def test_an_affine_change_of_the_loss_changes_nothing_when_the_offset_moves_along(
    curves, scale, shift, offset
):
    """Bits for nats, another base of the logarithm, another zero."""
    moved_offset = scale * (offset + shift)
    if moved_offset < 0:
        return
    moved = normalize(scale * (curves + shift), offset=moved_offset)
    np.testing.assert_allclose(moved, normalize(curves, offset=offset), rtol=1e-8)


@settings(max_examples=20)
@given(st.permutations(range(20)))
def test_order_of_runs_only_reorders(curves, order):
    ell = normalize(curves, offset=1.0)
    np.testing.assert_array_equal(
        normalize(curves.isel(run=list(order)), offset=1.0), ell.isel(run=list(order))
    )
    np.testing.assert_allclose(deviation(ell.isel(run=list(order))), deviation(ell), atol=1e-15)


def test_the_mean_final_loss_gives_away_the_control_variate(curves):
    """Divided by the seed mean, the spread of one size is its noise floor (Qiu, section 3.3)."""
    one = curves.isel(run=slice(0, 4))
    shared = normalize(one, offset=1.7, denominator="setting-mean")
    np.testing.assert_allclose(deviation(shared), noise_floor(one, offset=1.7), rtol=1e-9)
    assert float(shared[:, -1].mean()) == pytest.approx(1)
    own = deviation(normalize(one, offset=1.7))
    assert float(own[-1]) == 0
    assert float(own[-10:].mean()) < float(deviation(shared)[-10:].mean())
    assert shared.attrs["denominator"] == "setting-mean"


def test_qiu_is_held_out_loss_minus_fitted_floor(make_family):
    runs = make_family(noise=2e-3)
    found = normalize_as(runs, "qiu-2025")
    expected = normalize(on_progress(runs, loss="eval_loss"), offset="fit")
    assert found.equals(expected)
    assert found.attrs["offset_method"] == expected.attrs["offset_method"]
    assert found.attrs["offset"] == pytest.approx(1.7, abs=0.05)


def _training(make_family, steps):
    runs = make_family(sizes=(1e6, 2e6), seeds=(0,), records=steps)
    return conform(runs.rename(eval_loss="train_loss"))


def test_bergsma_is_smoothed_training_loss_over_its_smoothed_end(make_family):
    runs = _training(make_family, 2000)
    found = normalize_as(runs, "bergsma-2025")
    line = smooth(on_progress(runs, loss="train_loss"), width=0.05)
    np.testing.assert_allclose(found, line / line.isel(progress=-1, drop=True))
    np.testing.assert_array_equal(found[:, -1], 1.0)
    assert found.attrs["smoothing"] == "local line, 100 steps"
    assert found.attrs["offset"] == 0


def test_a_trailing_average_lifts_the_end_and_so_lowers_the_curve(make_family):
    runs = _training(make_family, 1000)
    line = normalize_as(runs, "bergsma-2025")
    trailing = normalize_as(runs, "bergsma-2025", smoother="trailing-average")
    middle = {"progress": 0.5, "method": "nearest"}
    raw = on_progress(runs, loss="train_loss")
    true = (raw / raw.isel(progress=-1, drop=True)).sel(**middle)
    assert abs(line.sel(**middle) / true - 1).max() < abs(trailing.sel(**middle) / true - 1).max()


def test_requests_that_cannot_be_met_say_the_fix(make_family, curves):
    with pytest.raises(ArgumentError, match="denominator must be own or setting-mean"):
        normalize(curves, denominator="mean")
    with pytest.raises(ArgumentError, match="paper must be one of qiu-2025"):
        normalize_as(make_family(), "kaplan-2020")
    with pytest.raises(ArgumentError, match="window_steps must be at least 1"):
        normalize_as(make_family(), "bergsma-2025", window_steps=0)
    with pytest.raises(DataError, match="no finite train_loss"):
        normalize_as(make_family(), "bergsma-2025")
    with pytest.raises(DataError, match="needs two finished runs"):
        scan_offset(curves.isel(run=[0]))


def test_the_scan_finds_the_floor_and_covers_it():
    from tests.collapse.test_quality import FLOOR, family

    rng = np.random.default_rng(1)
    found = [scan_offset(family(rng, noise=0.01)) for _ in range(20)]
    assert np.median([f.value for f in found]) == pytest.approx(FLOOR, abs=0.02)
    assert np.mean([f.lower <= FLOOR <= f.upper for f in found]) >= 0.8


def test_the_scan_agrees_with_the_independent_one(shared_curves):
    """CIFAR-5M: smallest at 3.133, 0.0212 over [0.5, 0.7), computed independently."""
    curves = on_progress(shared_curves("qiu_c5m"), loss="eval_loss")
    found = scan_offset(curves, start=0.5)
    assert found.value == pytest.approx(3.133, abs=0.002)
    assert found.lower <= found.value <= found.upper
