from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workbench  # noqa: F401 - registers ds.collapse
from workbench.collapse import (
    collapse_report,
    crossing,
    deviation,
    largest_matched,
    noise_floor,
    normalize,
    replicate_cells,
    residual,
    seed_cells,
    spread,
)
from workbench.curves import normalize_by, on_progress, to_cube
from workbench.errors import ArgumentError, DataError
from workbench.schema import concat_runs, select_runs, take_runs


def assert_curves(one, two):
    """Compare JSON curves, in which None stands for a point without data."""
    one, two = (np.array(values, dtype=float) for values in (one, two))
    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-15)


def test_exact_family_collapses_at_its_floor_and_not_at_zero(make_family):
    runs = make_family(noise=5e-3)
    at_floor = collapse_report(runs, offset=1.7)
    assert at_floor.holds
    assert float(at_floor.deviation.max()) < 1e-12
    at_zero = collapse_report(runs, offset="zero")
    assert float(at_zero.deviation[10:100].min()) > 1e-3
    assert at_zero.excess_spread[0] > 100 * at_floor.excess_spread[0]


def test_fitted_offset_finds_the_floor(make_family):
    report = collapse_report(make_family(noise=2e-3), offset="fit")
    assert report.offset.lower <= 1.7 <= report.offset.upper
    assert report.offset.fit is not None


def test_statistics_are_those_of_the_definition(make_family):
    runs = make_family(noise=1e-2, odd=(4e6, 1))
    report = collapse_report(runs, offset=1.5)
    loss = on_progress(runs).to_numpy()
    ell = (loss - 1.5) / (loss[:, -1:] - 1.5)
    np.testing.assert_allclose(report.deviation, ell.std(0) / ell.mean(0))
    np.testing.assert_allclose(report.spread, ell.max(0) - ell.min(0))
    reducible = (loss - 1.5).reshape(4, 3, -1)
    np.testing.assert_allclose(report.noise_floor, (reducible.std(1) / reducible.mean(1)).mean(0))


@settings(max_examples=20)
@given(st.permutations(range(12)))
def test_order_of_runs_does_not_matter(order):
    runs = _family()
    one, two = (collapse_report(r, offset=1.2).to_dict() for r in (runs, take_runs(runs, order)))
    assert_curves(one["deviation"], two["deviation"])
    assert one["verdict"] == two["verdict"]
    assert one["worst_run"]["run_id"] == two["worst_run"]["run_id"]


def _family():
    x = np.arange(1, 101) / 100
    from workbench.schema import conform, make_runs

    rng = np.random.default_rng(5)
    sizes, seeds = np.repeat([1e6, 2e6, 4e6, 8e6], 3), np.tile([0.0, 1, 2], 4)
    loss = [
        1.2 + n**-0.1 * np.exp(1e-2 * rng.standard_normal()) * x**-0.3 + 1e-3 * rng.random(100)
        for n in sizes
    ]
    return conform(
        make_runs(
            {
                "run_id": [f"r{i}" for i in range(12)],
                "model_size": sizes,
                "seed": seeds,
                "tpp": [20.0] * 12,
                "total_steps": [100.0] * 12,
            },
            {"step": np.tile(np.arange(1, 101), 12), "eval_loss": np.concatenate(loss)},
            row_size=[100] * 12,
        )
    )


def test_crossing_is_the_first_point_after_the_last_exceedance():
    progress = np.arange(1, 11) / 10
    delta = xr.DataArray([9, 1, 9, 1, 1, 1, 1, 1, 1, 0.0], coords={"progress": progress})
    sigma = xr.full_like(delta, 2.0)
    assert crossing(delta, sigma) == pytest.approx(0.4)
    assert crossing(xr.full_like(delta, 3.0), sigma) is None
    assert crossing(xr.zeros_like(delta), sigma) == pytest.approx(0.1)
    gap = delta.copy(data=[np.nan, 1, 1, 1, 1, 1, 1, 1, 1, 0.0])
    assert crossing(gap, sigma) == pytest.approx(0.2)


def test_odd_run_is_named_and_what_goes_without_it(make_family):
    report = collapse_report(make_family(noise=5e-3, odd=(2e6, 2)), offset=1.7)
    assert report.worst_run["run_id"] == "N2e+06-s2"
    assert report.worst_run["residual"] > 0.05
    assert "Odd one out: run N2e+06-s2" in str(report.verdict)


def test_a_size_that_stands_off_is_named(make_family):
    runs = make_family(noise=2e-3, sizes=(1e6, 2e6, 4e6, 8e6, 16e6))
    position = np.tile(np.arange(1, 201) / 200, runs.sizes["run"])
    bent = np.repeat(runs.model_size.to_numpy() == 1e6, 200) * 0.05 * np.sin(np.pi * position)
    runs = runs.assign(eval_loss=("obs", runs.eval_loss.to_numpy() + bent))
    report = collapse_report(runs, offset=1.7)
    late = [r["model_size"] for r in report.sizes if (r["within_noise_from"] or 1) > 0.5]
    assert 1e6 in late
    assert not report.holds


def test_without_seeds_nothing_is_claimed(make_family):
    report = collapse_report(make_family(seeds=(0,)), offset=1.7)
    assert report.noise_floor is None
    assert report.holds is None
    assert report.verdict.tag == "Needs two seeds of one size"
    data = report.to_dict()
    assert data["noise_floor"] is None
    assert data["supercollapse"] is None
    assert data["ratio_mean"] is None


def test_one_size_is_not_a_collapse(make_family):
    report = collapse_report(make_family(sizes=(1e6,), noise=1e-2), offset="zero")
    assert report.verdict.tag == "Needs two sizes"


def test_unfinished_late_and_low_runs_are_left_out_by_name(make_family):
    whole = make_family()
    cut = make_family(sizes=(3e6,), seeds=(0,), records=100, total_steps=200.0)
    late = make_family(sizes=(5e6,), seeds=(0,)).assign_coords(run_id=("run", ["late"]))
    late = take_runs(late, [0]).isel(obs=slice(120, 200)).assign(row_size=("run", [80]))
    report = collapse_report(concat_runs([whole, cut, late]), offset=1.7)
    reasons = {row["run_id"]: row["reason"] for row in report.left_out}
    assert "not reached the end" in reasons["N3e+06-s0"]
    assert "branched off a trunk" in reasons["late"]
    assert report.curves.sizes["run"] == 12
    high = collapse_report(whole, offset=float(on_progress(whole)[:, -1].median()))
    assert all("not above the offset" in row["reason"] for row in high.left_out)


def test_mixed_settings_are_said(make_family):
    other = make_family(schedule="constant").assign_coords(
        run_id=("run", [f"c{i}" for i in range(12)])
    )
    report = collapse_report(concat_runs([make_family(noise=1e-3), other]), offset="fit")
    assert "2 settings are mixed" in str(report.verdict)
    assert "of linear" in report.offset.method or "of constant" in report.offset.method


def test_reruns_of_one_seed_are_not_seed_noise(make_family):
    same = make_family(sizes=(1e6, 2e6), seeds=(0, 0)).assign_coords(run_id=("run", list("abcd")))
    assert len(replicate_cells(same)) == 2
    assert seed_cells(same) == []
    unknown = same.assign_coords(seed=("run", np.full(4, np.nan)))
    assert len(seed_cells(unknown)) == 2
    assert "Seeds are not recorded" in str(collapse_report(unknown, offset="zero").verdict)
    assert "Seeds are not recorded" not in str(collapse_report(make_family(), offset=1.0).verdict)


def test_largest_matched_group_prefers_sizes_over_runs(make_family):
    many = make_family(sizes=(1e6,), seeds=tuple(range(9)), schedule="constant")
    few = make_family(sizes=(1e6, 2e6), seeds=(0,)).assign_coords(run_id=("run", ["x", "y"]))
    label, rows = largest_matched(concat_runs([many, few]))
    assert label.startswith("linear")
    assert rows.tolist() == [9, 10]


def test_cube_and_runs_give_one_answer(make_family):
    runs = make_family(noise=1e-2)
    cube = to_cube(runs)
    one = runs.collapse.report(offset=1.6).to_dict()
    two = cube.collapse.report(offset=1.6).to_dict()
    assert_curves(one["deviation"], two["deviation"])
    assert_curves(one["noise_floor"], two["noise_floor"])
    assert one["verdict"] == two["verdict"]
    with pytest.raises(ArgumentError, match="holds eval_loss, not train_loss"):
        cube.collapse.report(loss="train_loss")


@pytest.mark.parametrize("offset", ["fit", "zero"])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(12)), unit=st.floats(0.2, 5))
def test_order_of_runs_and_unit_of_loss_do_not_change_the_verdict(make_family, offset, order, unit):
    """The fitted offset takes the unit along."""
    runs = make_family(noise=5e-3, odd=(4e6, 1))
    moved = take_runs(runs, np.array(order))
    moved = moved.assign(eval_loss=unit * moved["eval_loss"])
    one, two = (collapse_report(ds, offset=offset) for ds in (runs, moved))
    np.testing.assert_allclose(two.deviation, one.deviation, rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(two.noise_floor, one.noise_floor, rtol=1e-3)
    assert two.beyond == one.beyond
    assert two.verdict.tag == one.verdict.tag
    assert two.offset.value == pytest.approx(unit * one.offset.value, rel=1e-4)
    assert two.worst_run["run_id"] == one.worst_run["run_id"]


def test_accessor_is_sugar(make_family):
    runs = make_family(noise=1e-2)
    curves = on_progress(runs)
    assert runs.collapse.normalize(offset=1.0).equals(normalize(curves, offset=1.0))
    assert runs.collapse.deviation(offset=1.0).equals(deviation(normalize_by(curves, offset=1.0)))
    assert runs.collapse.noise_floor(offset=1.0).equals(noise_floor(curves, offset=1.0))
    assert runs.collapse.residual().equals(residual(normalize_by(curves)))
    assert runs.collapse.where("seed=1").identical(select_runs(runs, ["seed=1"]))
    assert runs.collapse.to_cube().identical(to_cube(runs))
    runs.collapse.validate()


def test_report_is_json_and_readable(make_family):
    report = collapse_report(make_family(noise=5e-3, seeds=(0, 1)), offset="fit", x="compute")
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert {"n_runs", "offset", "power_law", "supercollapse", "quality", "worst_run"} <= set(data)
    assert data["x"] == "compute"
    assert report.curves["x"].dims == ("run", "progress") or report.curves["x"].ndim == 2
    assert str(report.verdict) in str(report)
    assert "<script" not in report._repr_html_()
    assert float(spread(report.curves)[-1]) == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"offset": "best"}, ArgumentError, "offset must be"),
        ({"offset": -1.0}, ArgumentError, "offset must be"),
        ({"start": 1.0}, ArgumentError, "start"),
        ({"x": "epoch"}, ArgumentError, "x must be one of"),
        ({"offset": 50.0}, DataError, "at least 2 finished runs"),
        ({"loss": "train_loss"}, DataError, "no finite train_loss"),
    ],
)
def test_bad_requests_say_the_fix(make_family, options, error, message):
    with pytest.raises(error, match=message):
        collapse_report(make_family(), **options)


def test_fit_needs_sizes_and_compute(make_family):
    with pytest.raises(DataError, match="3 or more"):
        collapse_report(make_family(sizes=(1e6, 2e6)), offset="fit")
    runs = make_family().assign_coords(compute_total=("run", np.full(12, np.nan)))
    with pytest.raises(DataError, match="needs the compute"):
        collapse_report(runs, offset="fit")


class TestPublicLadders:
    """Reference values computed independently on the same public curves."""

    def test_cifar5m_supercollapses(self, shared_curves):
        report = collapse_report(shared_curves("qiu_c5m"), loss="eval_loss", offset="fit")
        half = report.deviation.sel(progress=0.5).item()
        assert half == pytest.approx(3.2e-3, rel=0.1)
        assert report.noise_floor.sel(progress=0.5).item() == pytest.approx(8.9e-3, rel=0.1)
        assert 0.1 < report.beyond < 0.2
        assert report.holds

    def test_mlp_does_not_and_says_why(self, shared_curves):
        report = collapse_report(shared_curves("qiu_mlp"), loss="eval_loss", offset="fit")
        assert report.beyond == pytest.approx(0.775, abs=0.02)
        assert "not identified" in str(report.verdict)

    def test_matched_runs_lie_closer_than_any_timescale(self, shared_curves):
        runs = shared_curves("wsd_cosine")
        where = ["schedule=cosine", "tpp>=18.5", "tpp<=22.5"]
        matched = select_runs(runs, [*where, "tau>=0.38", "tau<=0.46"])
        mixed = select_runs(runs, [*where, "tau>=0.2", "tau<=0.8"])
        at = {"progress": [0.3, 0.5, 0.7], "method": "nearest"}
        one, two = (
            collapse_report(r, loss="eval_loss", offset="zero").spread.sel(**at).to_numpy()
            for r in (matched, mixed)
        )
        np.testing.assert_allclose(one, [0.0037, 0.0021, 0.0015], atol=1e-4)
        np.testing.assert_allclose(two, [0.012, 0.013, 0.009], atol=5e-4)
