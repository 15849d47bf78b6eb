"""A sweep stopped early: whom the loss of the moment keeps, and whom the predicted end."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from workbench.curves import smooth
from workbench.errors import ArgumentError, DataError
from workbench.forecast import SLIMPAJAMA_LLAMA, replay_sweep
from workbench.forecast.kernels_selection import mid_ranks, rank_correlation
from workbench.forecast.kernels_surrogate import controls_to_shape, joint_fit, surrogate_curve
from workbench.recipes import NamedSchedule, timescale, weight_decay_for_tau
from workbench.recipes.published import ORIGINAL

RECORDS = 2000
PROGRESS = np.arange(1, RECORDS + 1) / RECORDS
FACTOR = NamedSchedule("linear", warmup_fraction=0.1).at(PROGRESS)
SHAPE = ORIGINAL["1.7B"]  # figure 7: 20 tokens per parameter
SEQUENCES = np.array([126, 252, 504, 1008, 2016, 4032])
CONTROLS = {
    "peak_lr": np.array(1.62e-2 * 256 / SHAPE.width),
    "batch_size": SEQUENCES * 2048.0,
    "tokens_total": np.array(20.0 * SHAPE.model_size()),
}
TUNED = 2.3 * (1 + 0.004 * np.log2(SEQUENCES / 450) ** 2)
NOISE = 2e-3
M = SLIMPAJAMA_LLAMA.m
TRUTH = np.array([p.estimate for p in SLIMPAJAMA_LLAMA.params.values()])


def true_curves(taus, tpp):
    """Return normalised curves of shape (run, progress) by our published constants."""
    parameters = [np.log(TRUTH[0]), TRUTH[1], np.log(TRUTH[2]), TRUTH[3]]
    b, q = controls_to_shape(parameters, np.log(taus), np.log(tpp))
    return surrogate_curve(PROGRESS, np.tile(FACTOR, (len(taus), 1)), b, q, M)


@pytest.fixture(scope="module")
def universal():
    """Return what a surrogate fitted to noisy small runs says of each τ at 20 TPP."""
    rng = np.random.default_rng(11)
    taus, tpp = np.exp(rng.uniform(np.log(0.03), np.log(1.5), 60)), rng.choice([10.0, 20, 80], 60)
    noisy = true_curves(taus, tpp) * (1 + NOISE * rng.standard_normal((60, RECORDS)))
    late = np.flatnonzero(PROGRESS >= 0.2)[::-20][::-1]
    factors = np.tile(FACTOR[late], (60, 1))
    controls = (np.log(taus), np.log(tpp / 20))
    found, _ = joint_fit(noisy[:, late], PROGRESS[late], factors, controls, m=M)

    def curves(taus):
        b, q = controls_to_shape(found, np.log(taus), np.zeros(len(taus)))
        values = surrogate_curve(PROGRESS, np.tile(FACTOR, (len(taus), 1)), b, q, M)
        return xr.DataArray(values, dims=("run", "progress"), coords={"progress": PROGRESS})

    return curves


def sweep(taus, final, rng):
    """Return the smoothed training loss of settings with these final losses."""
    rough = 1 + NOISE * np.random.default_rng(rng).standard_normal((len(taus), RECORDS))
    loss = final[:, None] * true_curves(taus, np.full(len(taus), 20.0)) * rough
    coords = {"progress": PROGRESS, "sequences": ("run", SEQUENCES)}
    curves = xr.DataArray(loss, dims=("run", "progress"), coords=coords, name="train_loss")
    return smooth(curves, width=0.05)


@pytest.mark.parametrize("rng", range(6))
def test_fixed_tau_keeps_the_order_from_a_quarter_on(universal, rng):
    """λ follows the batch: the curves share one shape."""
    decay = weight_decay_for_tau(np.array(0.15), **CONTROLS)
    taus = timescale(weight_decay=decay, **CONTROLS)
    np.testing.assert_allclose(taus, 0.15)
    loss = sweep(taus, TUNED, rng)
    found = replay_sweep(loss, universal=universal(taus), stops=[0.25, 0.5, 0.75])
    assert (found["current_rank"] >= 0.95).all()
    assert (found["predicted_rank"] >= 0.95).all()
    assert (found["predicted_gap"] == 0).all()


@pytest.mark.parametrize("rng", range(6))
def test_fixed_decay_misleads_the_loss_of_the_moment_and_not_the_predicted_end(universal, rng):
    """λ = 0.1: τ goes from 0.037 to 1.19, the curves cross, and a τ off the best one costs."""
    taus = timescale(weight_decay=np.array(0.1), **CONTROLS)
    np.testing.assert_allclose(taus[[0, -1]], [0.037, 1.19], rtol=0.01)
    loss = sweep(taus, TUNED * (1 + 2e-3 * np.log(taus / 0.22) ** 2), rng)
    found = replay_sweep(loss, universal=universal(taus), stops=[0.25])
    assert found["current_rank"].item() < 0.8
    assert found["predicted_rank"].item() >= 0.94
    assert found["predicted_gap"].item() <= 1e-3
    assert found["current_gap"].item() > 3e-3
    assert found["predicted_error"].item() < 0.1 * found["current_error"].item()


def test_gaps_errors_and_ranks_are_what_they_say():
    """Three settings whose curves cross: a small share of the loss is known early for the last."""
    x = np.array([0.25, 0.5, 0.75, 1.0])
    ell = xr.DataArray(
        [[2.0, 1.5, 1.2, 1.0], [2.0, 1.5, 1.2, 1.0], [1.4, 1.3, 1.1, 1.0]],
        dims=("run", "progress"),
        coords={"progress": x, "run_id": ("run", ["a", "b", "c"])},
    )
    loss = ell * xr.DataArray([2.0, 2.1, 2.5], dims="run")
    found = replay_sweep(loss.assign_coords(ell.coords), universal=ell, stops=[0.5])
    np.testing.assert_allclose(found["predicted"], [[2.0, 2.1, 2.5]], rtol=1e-12)
    assert found["current_gap"].item() == 0  # 3.0, 3.15, 3.25
    assert found["current_error"].item() == pytest.approx((1.0 + 1.05 + 0.75) / 3)
    early = replay_sweep(loss, universal=ell, stops=[0.25])  # 4.0, 4.2, 3.5: c leads
    assert early["current_gap"].item() == pytest.approx(0.25)
    assert early["current_rank"].item() == pytest.approx(-0.5)
    assert early["predicted_gap"].item() == 0
    assert early["random_gap"].item() == pytest.approx(2.2 / 2.0 - 1)
    assert found["run_id"].to_numpy().tolist() == ["a", "b", "c"]


@given(st.permutations(range(6)), st.floats(1e-2, 1e2))
def test_order_of_runs_and_unit_of_loss_do_not_matter(universal, order, unit):
    taus = timescale(weight_decay=np.array(0.1), **CONTROLS)
    loss, ell = sweep(taus, TUNED, 0), universal(taus)
    one = replay_sweep(loss, universal=ell, stops=[0.3])
    order = list(order)
    two = replay_sweep(unit * loss[order], universal=ell[order], stops=[0.3])
    np.testing.assert_allclose(two["predicted"], unit * one["predicted"][:, order], rtol=1e-9)
    for name in ("current_gap", "predicted_gap", "random_gap", "current_rank", "predicted_rank"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-9, 9)), min_size=3, max_size=20))
def test_ranks_and_their_correlation_are_scipys(pairs):
    from scipy.stats import rankdata, spearmanr

    one, two = map(np.array, zip(*pairs, strict=True))
    np.testing.assert_array_equal(mid_ranks(one) + 1, rankdata(one))
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        assert np.isnan(rank_correlation(one, two))
    else:
        expected = spearmanr(one, two).statistic
        assert rank_correlation(one, two) == pytest.approx(expected, abs=1e-12)


def test_what_cannot_be_replayed_is_refused(universal):
    taus = np.full(6, 0.15)
    loss, ell = sweep(taus, TUNED, 0), universal(taus)
    with pytest.raises(ArgumentError, match=r"stops must lie in \(0, 1\)"):
        replay_sweep(loss, universal=ell, stops=[30])
    with pytest.raises(DataError, match="two or more runs"):
        replay_sweep(loss[:1], universal=ell[:1])
    with pytest.raises(DataError, match="share runs and progress"):
        replay_sweep(loss, universal=ell[:, ::2])
    with pytest.raises(DataError, match="must end at 1"):
        replay_sweep(loss, universal=2 * ell)
    with pytest.raises(DataError, match="no loss at the end"):
        replay_sweep(loss.where(loss["progress"] < 1), universal=ell)
    with pytest.raises(DataError, match=r"before the stop at 0\.0001"):
        replay_sweep(loss, universal=ell, stops=[1e-4])
