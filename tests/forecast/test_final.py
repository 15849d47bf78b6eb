"""Forecasts of a final loss: what they may see, what they say, and when they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import workbench as wb
from workbench.curves import to_cube
from workbench.errors import ArgumentError, DataError
from workbench.forecast import (
    final_levels,
    forecast_track,
    own_power_law,
    predict_final,
    truncate,
)
from workbench.forecast.combine import BackTest, combine
from workbench.forecast.members import Member
from workbench.schema import select_runs, take_runs


@pytest.fixture(scope="module")
def ladder(make_ladder):
    return make_ladder()


@pytest.fixture(scope="module")
def target(ladder):
    return take_runs(ladder, np.array([9]))


@pytest.fixture(scope="module")
def smaller(ladder):
    return select_runs(ladder, ["model_size<8e6"])


def end(run):
    return float(np.exp(final_levels(run, loss="eval_loss"))[0])


@pytest.mark.parametrize("method", ["auto", "align", "surrogate", "schedule"])
def test_every_method_beats_the_runs_own_power_law(target, smaller, method):
    forecast = predict_final(target, reference=smaller, at=0.3, method=method)
    own = own_power_law(target, at=0.3)
    assert abs(forecast.estimate - end(target)) < 0.5 * abs(own - end(target))
    assert forecast.lower <= end(target) <= forecast.upper
    assert forecast.actual == pytest.approx(end(target))
    assert forecast.lower < forecast.estimate < forecast.upper


def test_nothing_after_the_cut_enters(target, smaller):
    plain = predict_final(truncate(target, 0.3), reference=smaller, at=0.3)
    spoiled = target.copy(deep=True)
    late = spoiled["step"].to_numpy() > 0.3 * 200
    spoiled["eval_loss"][late] = 77.0
    other = predict_final(spoiled, reference=smaller, at=0.3)
    assert plain.actual is None
    assert other.actual == pytest.approx(77.0)
    assert (other.estimate, other.lower, other.upper) == (plain.estimate, plain.lower, plain.upper)


def test_the_run_itself_is_no_reference(target, ladder):
    forecast = predict_final(target, reference=ladder, at=0.3)
    assert forecast.run_id not in forecast.reference
    assert forecast.left_out[0] == {"run_id": forecast.run_id, "reason": "is the run itself"}
    with pytest.raises(DataError, match="is the run itself"):
        predict_final(target, reference=target)


def test_unfinished_references_are_left_out(target, smaller, make_ladder):
    running = make_ladder(sizes=(3e6,), seeds=(7,), until=0.6)
    forecast = predict_final(target, reference=wb.concat_runs([smaller, running]))
    assert forecast.left_out == ({"run_id": "N3e+06-s7", "reason": "has not finished its plan"},)


def test_units_of_loss_scale_out(target, smaller):
    one = predict_final(target, reference=smaller)
    two = predict_final(
        target.assign(eval_loss=3 * target["eval_loss"]),
        reference=smaller.assign(eval_loss=3 * smaller["eval_loss"]),
    )
    assert two.estimate == pytest.approx(3 * one.estimate, rel=1e-6)
    assert two.upper == pytest.approx(3 * one.upper, rel=1e-4)


def test_order_of_references_does_not_matter(target, smaller):
    one = predict_final(target, reference=smaller)
    two = predict_final(target, reference=take_runs(smaller, np.arange(9)[::-1]))
    assert two.estimate == pytest.approx(one.estimate, rel=1e-9)


def test_a_cube_is_a_reference_too(target, smaller):
    cube = to_cube(smaller, points=200)
    forecast = predict_final(target, reference=cube, at=0.3)
    plain = predict_final(target, reference=smaller, at=0.3)
    assert forecast.estimate == pytest.approx(plain.estimate, rel=2e-4)


def test_a_live_run_uses_its_planned_horizon(make_ladder, smaller, target):
    live = make_ladder(sizes=(8e6,), seeds=(0,), until=0.2, rng=5)
    forecast = predict_final(live, reference=smaller, at=0.3)
    assert forecast.at == pytest.approx(0.2)
    assert "has reached 20 % of its plan, not 30 %" in forecast.notes[0]
    assert forecast.actual is None
    assert forecast.estimate == pytest.approx(end(target), rel=0.01)


def test_forecasts_narrow_as_data_comes(target, smaller):
    track = forecast_track(target, reference=smaller, at=[0.2, 0.4, 0.6, 0.8])
    width = (track["upper"] - track["lower"]).to_numpy()
    assert width[-1] < 0.5 * width[0]
    assert abs(track["final_loss"][-1] - end(target)) < 2e-3
    with pytest.raises(DataError, match="none of"):
        forecast_track(truncate(target, 0.1), reference=smaller, at=[0.2])


def test_the_curve_leads_from_the_prefix_to_the_end(target, smaller):
    forecast = predict_final(target, reference=smaller, at=0.3)
    curve = forecast.to_dataset()
    assert curve["progress"][0] == 0.3
    assert float(curve["loss"][-1]) == pytest.approx(forecast.estimate)
    assert float(curve["lower"][-1]) == pytest.approx(forecast.lower)
    truth = np.interp(curve["progress"] * 200, target["step"], target["eval_loss"])
    np.testing.assert_allclose(curve["loss"], truth, rtol=5e-3)
    assert float(forecast.predict(0.65)["loss"][0]) == pytest.approx(
        float(np.interp(0.65, curve["progress"], curve["loss"]))
    )
    with pytest.raises(ArgumentError, match=r"must lie between 0\.3 and 1"):
        forecast.predict(0.1)


def test_it_says_what_it_rests_on(target, smaller):
    forecast = predict_final(target, reference=smaller, at=0.3)
    text = str(forecast)
    assert "will end at eval_loss" in text
    assert "9 references" in text
    assert "error" in text
    assert "<li>" in forecast._repr_html_()
    content = forecast.to_dict()
    keys = {"run_id", "at", "method", "reference", "final_loss", "actual", "curve"}
    assert keys <= set(content)
    assert set(content["final_loss"]) == {"estimate", "lower", "upper", "level"}
    assert set(content["curve"]) == {"progress", "loss", "lower", "upper"}
    assert sum(m["weight"] for m in content["members"]) == pytest.approx(1)


def test_one_setting_of_references_is_wide_and_says_so(target, smaller):
    one = predict_final(target, reference=select_runs(smaller, ["model_size=1e6"]))
    all_of_them = predict_final(target, reference=smaller)
    assert any("One setting" in note for note in one.notes)
    assert any("model size 8e+06 lies outside" in note for note in one.notes)
    assert one.upper - one.lower > 3 * (all_of_them.upper - all_of_them.lower)
    assert one.lower <= end(target) <= one.upper


def test_noisy_training_loss(make_ladder):
    runs = make_ladder(loss="train_loss", record_noise=0.02, records=2000)
    forecast = predict_final(
        take_runs(runs, np.array([9])), reference=select_runs(runs, ["model_size<8e6"])
    )
    assert forecast.loss == "train_loss"
    assert forecast.estimate == pytest.approx(1.5 + 20 * 8e6**-0.2, rel=6e-3)


def test_intervals_cover_simulated_families(make_ladder):
    inside = []
    for rng in range(12):
        runs = make_ladder(noise=3e-3, record_noise=1e-3, rng=rng)
        smaller = select_runs(runs, ["model_size<8e6"])
        for i in (9, 10):
            run = take_runs(runs, np.array([i]))
            forecast = predict_final(truncate(run, 0.3), reference=smaller)
            inside.append(forecast.lower <= end(run) <= forecast.upper)
    assert np.mean(inside) >= 0.8


def test_other_schedules_are_carried_over_by_a_law(target, smaller):
    others = smaller.assign_coords(schedule=("run", ["cosine"] * 9))
    forecast = predict_final(target, reference=others)
    assert forecast.method == "schedule"
    with pytest.raises(DataError, match="No reference shares the schedule"):
        predict_final(target, reference=others, method="surrogate")
    with pytest.raises(DataError, match="No reference matches"):
        predict_final(target, reference=others, method="align")


def test_any_law_of_curves_can_be_given(target, smaller):
    class Flat:
        def curve(self, run: xr.Dataset, progress):
            return np.ones(len(progress))

    forecast = predict_final(
        target, reference=smaller, method="schedule", law=lambda reference, loss: Flat()
    )
    window = (target["step"] >= 30) & (target["step"] <= 60)
    low, high = target["eval_loss"][window].min(), target["eval_loss"][window].max()
    assert low < forecast.estimate < high


def test_progress_is_reported_and_an_interrupt_passes(target, smaller):
    calls = []
    predict_final(target, reference=smaller, progress=lambda *now: calls.append(now))
    assert calls[-1][0] == calls[-1][1] > 0

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_final(target, reference=smaller, progress=stop)


def test_a_member_the_prefix_contradicts_is_not_averaged_in():
    tests = {"surrogate": BackTest(np.array([0.001]), np.array([1.0]))}
    near = Member("surrogate", 1.0, 0.998, 1.002, 0.001)
    far = Member("scaling", 1.2, 1.19, 1.21, 0.006)
    joined, weights = combine([near, far], tests, level=0.9)
    assert weights["scaling"] < 1e-3
    assert joined.log_loss == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"at": 0.0}, "between 0 and 1, found 0.0"),
        ({"at": 30}, "0.3 means 30 %"),
        ({"method": "guess"}, "method must be one of"),
        ({"level": 90}, "level must be"),
        ({"aligner": "best"}, "aligner must be one of"),
    ],
)
def test_bad_arguments(target, smaller, options, match):
    with pytest.raises(ArgumentError, match=match):
        predict_final(target, reference=smaller, **options)


def test_bad_data(target, smaller, make_ladder):
    with pytest.raises(ArgumentError, match="one run, found 9"):
        predict_final(smaller, reference=smaller)
    with pytest.raises(DataError, match="fewer than 3 finite records"):
        predict_final(take_runs(make_ladder(records=8), np.array([9])), reference=smaller, at=0.3)
    with pytest.raises(DataError, match="needs ragged runs"):
        predict_final(xr.Dataset({"a": ("b", [1])}), reference=smaller)
    other = make_ladder(loss="train_loss")
    with pytest.raises(DataError, match="log the same loss"):
        predict_final(target, reference=other)
