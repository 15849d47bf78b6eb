from __future__ import annotations

import numpy as np
import pytest

from tests.laws.test_frontier import SIZES, long_runs
from workbench.collapse import collapse_report, fit_offset
from workbench.curves import on_progress, to_cube
from workbench.errors import ArgumentError, DataError
from workbench.laws import PFLOP, at_horizon, fit_frontier
from workbench.laws.horizon import RECORDED, horizons
from workbench.schema import take_runs, validate


def test_cut_runs_are_whole_runs_to_their_horizon():
    runs = long_runs(peak_lr=[1e-3] * 8, weight_decay=[0.1] * 8, total_steps=[300.0] * 8)
    cut, words = at_horizon(runs)
    frontier = fit_frontier(runs)
    np.testing.assert_allclose(cut["compute_total"] / PFLOP, frontier.predict(SIZES))
    np.testing.assert_allclose(cut["tokens_total"], frontier.tokens(SIZES))
    np.testing.assert_allclose(cut["tpp"] * SIZES, cut["tokens_total"])
    np.testing.assert_allclose(cut["tau"] / runs["tau"], runs["tokens_total"] / cut["tokens_total"])
    validate(cut)
    assert "horizons of the fitted frontier" in words
    assert words in cut.attrs["history"]
    assert np.isfinite(on_progress(cut)[:, -1]).all()
    again, nothing = at_horizon(cut)
    assert nothing == ""
    assert again is cut


def test_a_long_ladder_collapses_at_its_horizons_and_not_at_its_ends():
    """A sum of power laws with equal exponents is one curve there (Qiu et al. 2025, Eq. 7)."""
    runs = long_runs()
    report = collapse_report(runs, offset=0.02)
    assert float(report.deviation.sel(progress=0.5, method="nearest")) < 2e-3
    assert "Runs cut at their horizons of the fitted frontier" in str(report.verdict)
    at_ends = collapse_report(runs, offset=0.02, horizon="end")
    assert float(at_ends.deviation.sel(progress=0.5, method="nearest")) > 1e-2
    assert at_ends.horizon == ""
    assert at_ends.to_dict()["horizon"] is None


def test_recorded_horizons_come_first_and_one_compute_counts_as_no_end():
    runs = long_runs()
    recorded = runs.assign_coords({RECORDED: ("run", np.full(8, 2e-4))})
    assert "recorded horizons" in at_horizon(recorded)[1]
    ended = runs.assign_coords({RECORDED: ("run", runs["compute_total"].to_numpy() / PFLOP)})
    assert at_horizon(ended) == (ended, "")
    # The same records, as far as one compute for every size.
    least = float(runs["compute_total"].min())
    one = runs.assign_coords({"compute_total": ("run", np.full(8, least))})
    one = one.assign_coords(tokens_total=("run", least / (6 * SIZES)))
    assert horizons(one) is not None


def test_other_runs_keep_their_ends(make_family):
    runs = make_family()
    assert at_horizon(runs) == (runs, "")
    few = take_runs(long_runs(), [0, 3, 6])
    assert at_horizon(few)[1] == ""
    with pytest.raises(DataError, match="A decayed run has one end point"):
        at_horizon(runs, horizon="optimal")
    with pytest.raises(DataError, match="--horizon end"):
        at_horizon(few, horizon="optimal")
    with pytest.raises(ArgumentError, match="horizon must be one of"):
        at_horizon(runs, horizon="best")
    with pytest.raises(ArgumentError, match="no records past its ends"):
        collapse_report(to_cube(runs), horizon="optimal")


def test_curves_that_do_not_cross_are_compared_at_their_ends_and_that_is_said():
    runs = long_runs()
    apart = runs.assign(eval_loss=("obs", 0.02 + runs["tokens"].to_numpy() ** -0.3))
    kept, words = at_horizon(apart)
    assert kept is apart
    assert "compared at their own ends" in words
    report = collapse_report(apart, offset=0.02)
    assert words in str(report.verdict)
    with pytest.raises(DataError, match="--horizon end"):
        at_horizon(apart, horizon="optimal")


def test_an_offset_at_the_ends_of_long_runs_says_where_to_look():
    with pytest.raises(DataError, match="--horizon optimal"):
        fit_offset(on_progress(long_runs()))


class TestPublicLadder:
    """Eight sizes trained to 5e9 tokens at a constant rate (Qiu et al. 2025)."""

    def test_deviation_is_that_computed_independently(self, shared_curves):
        report = collapse_report(shared_curves("qiu_mlp_const"), points=200)
        at = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]
        published = [37.10, 17.44, 10.53, 5.921, 4.553, 3.862, 3.124]
        found = 1e3 * report.deviation.sel(progress=at, method="nearest")
        np.testing.assert_allclose(found, published, rtol=5e-3)
        assert report.noise_floor is None
        assert report.verdict.tag == "Needs two seeds of one size"
        assert "recorded horizons, 1.21 to 1118 PFLOP" in str(report.verdict)
        assert report.offset.value < 1e-6
        assert report.offset.fit.b.estimate == pytest.approx(0.15271, abs=1e-4)
        kept = report.to_dict()["horizon"]["compute_pflop"]
        assert min(kept.values()) == pytest.approx(1.20994, rel=1e-5)

    def test_the_fitted_frontier_serves_as_well(self, shared_curves):
        runs = shared_curves("qiu_mlp_const")
        by_fit = collapse_report(runs.drop_vars(RECORDED))
        recorded = collapse_report(runs)
        assert "fitted frontier" in by_fit.horizon
        np.testing.assert_allclose(by_fit.deviation, recorded.deviation, atol=1e-5)
