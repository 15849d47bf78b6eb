"""Final losses from a law of the schedule, and from a run's own records alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.laws.schedule_family import family
from workbench.errors import DataError
from workbench.forecast import (
    annealing_law,
    final_levels,
    multi_power_law,
    own_power_law,
    predict_final,
    truncate,
)
from workbench.forecast.prefix import hide_losses
from workbench.forecast.schedule_laws import planned_rates_of
from workbench.recipes import schedule_factors
from workbench.schema import concat_runs, select_runs, take_runs


@pytest.fixture(scope="module")
def runs():
    return family(noise=5e-4, total=2000, every=20)


@pytest.fixture(scope="module")
def target(runs):
    return select_runs(runs, ["schedule=wsd"])


@pytest.fixture(scope="module")
def others(runs):
    return select_runs(runs, ["schedule!=wsd"])


def end(run):
    return float(np.exp(final_levels(run, loss="train_loss")[0]))


def test_a_decay_to_come_is_foreseen_from_runs_of_other_schedules(target, others):
    found = predict_final(target, reference=others, at=0.3)
    assert found.method == "multi-power"
    assert found.lower <= end(target) <= found.upper
    assert abs(found.estimate - end(target)) < 0.01
    assert abs(own_power_law(target, at=0.3) - end(target)) > 0.05
    trunk = float(found.predict(0.85)["loss"][0])
    assert trunk - found.estimate > 0.5 * (trunk - end(target))  # the drop comes with the decay
    assert found.members[0].detail["runs"] == 3


def test_losses_beyond_the_cut_do_not_enter(target, others):
    spoiled = target.copy(deep=True)
    late = spoiled["step"].to_numpy() > 600
    spoiled["train_loss"][late] = 9.0
    one, two = (predict_final(run, reference=others, at=0.3) for run in (target, spoiled))
    assert (one.estimate, one.lower, one.upper) == (two.estimate, two.lower, two.upper)
    hidden = hide_losses(target, 0.3)
    assert np.isnan(hidden["train_loss"].to_numpy()[late]).all()
    assert np.isfinite(hidden["learning_rate"].to_numpy()).all()


def test_a_prefix_that_contradicts_the_law_moves_it(target, others):
    shifted = target.assign(train_loss=1.03 * target["train_loss"])
    found = predict_final(shifted, reference=others, at=0.3)
    assert found.members[0].detail["prefix_shift"] == pytest.approx(np.log(1.03), rel=0.2)
    assert found.estimate == pytest.approx(end(shifted), rel=5e-3)


def test_the_plan_of_a_live_run_is_its_named_schedule(target):
    live = truncate(target, 0.3).assign_coords(schedule=("run", ["linear"]))
    lr = planned_rates_of(live)
    factors = schedule_factors("linear", total_steps=2000, warmup_fraction=0.1)
    np.testing.assert_allclose(lr[200:], 3e-4 * factors[200:])
    np.testing.assert_allclose(lr[:200], 3e-4 * np.arange(200) / 200)
    with pytest.raises(DataError, match="no total_steps"):
        planned_rates_of(live.assign_coords(total_steps=("run", [np.nan])))


def test_a_plan_that_is_not_known_is_said(target, others):
    live = truncate(target, 0.3).assign_coords(schedule=("run", ["two-stage"]))
    found = predict_final(live, reference=others, at=0.3)
    assert "multi-power" not in found.method
    assert any("was not asked" in note for note in found.notes)


def test_runs_of_another_model_or_rate_are_not_asked(target, others):
    for change in ({"model_size": 5e8}, {"batch_size": 2e5}):
        far = others.assign_coords({k: ("run", np.full(3, v)) for k, v in change.items()})
        near = target.assign_coords(batch_size=("run", [1e5]))
        law = multi_power_law(far, "train_loss")
        with pytest.raises(DataError, match="No two references"):
            law.curve(near, np.linspace(0.1, 1, 10))
    flat = select_runs(others, ["schedule=constant"])
    with pytest.raises(DataError, match="No two references"):
        multi_power_law(concat_runs([flat]), "train_loss").curve(target, np.array([1.0]))


def test_a_reference_that_begins_after_the_cut_still_serves_the_law(runs):
    target = select_runs(runs, ["schedule=two-stage"])
    resumed = select_runs(runs, ["schedule=constant,wsd"])
    late = resumed["step"].to_numpy() > 1000
    size = [int(late[:99].sum()), int(late[99:].sum())]
    resumed = resumed.isel(obs=np.flatnonzero(late)).assign(row_size=("run", size))
    found = predict_final(target, reference=resumed, at=0.3)
    assert found.method == "multi-power"
    assert set(found.reference) == {"constant", "wsd"}
    assert found.path.loss[-1] == pytest.approx(found.estimate)
    with pytest.raises(DataError, match="too few records"):
        predict_final(target, reference=resumed, at=0.3, method="align")


def test_the_law_stands_back_where_other_members_are_tested(make_ladder):
    ladder = make_ladder(sizes=(1e6, 2e6, 4e6, 8e6), seeds=(0, 1))
    ladder = ladder.assign_coords(peak_lr=("run", np.full(8, 1e-3)))
    found = predict_final(
        take_runs(ladder, np.array([7])), reference=take_runs(ladder, np.arange(7))
    )
    assert "multi-power" not in found.weights


@pytest.mark.parametrize("fitter", [multi_power_law, annealing_law])
def test_either_law_is_a_law_of_curves(target, others, fitter):
    shape = fitter(others, "train_loss").curve(target, np.array([0.5, 1.0]))
    truth = np.interp([1000, 2000], target["step"], target["train_loss"])
    np.testing.assert_allclose(shape, truth, rtol=0.01)


def test_a_run_alone_is_wide_and_says_what_it_rests_on(runs):
    for i in range(4):
        run = take_runs(runs, np.array([i]))
        found = predict_final(run, at=0.3)
        assert (found.method, found.reference) == ("own", ())
        assert found.estimate == pytest.approx(own_power_law(run, at=0.3))
        assert "No finished run is used" in found.notes[0]
        assert ("falls after" in found.notes[0]) == (i > 0)
        assert found.upper - found.lower > 0.05 * (found.path.loss[0] - found.estimate)
        assert found.path.loss[-1] == pytest.approx(found.estimate)


@pytest.mark.parametrize(("name", "every"), [("qiu_c5m", 4), ("qiu_mlp", 4), ("wsd_cosine", 9)])
def test_public_runs_alone_lie_within_their_intervals(shared_curves, name, every):
    runs = select_runs(shared_curves(name), ["resumed_from_step=0"] if name == "wsd_cosine" else [])
    inside = []
    for at in (0.1, 0.3):
        for i in range(0, runs.sizes["run"], every):
            run = take_runs(runs, np.array([i]))
            found = predict_final(run, at=at, loss="eval_loss")
            inside.append(found.lower <= found.actual <= found.upper)
    assert np.mean(inside) >= 0.8


def test_a_run_alone_with_an_unknown_plan_leaves_both_courses_open(target):
    live = truncate(target, 0.3).assign_coords(schedule=("run", [""]))
    unknown = predict_final(live, at=0.3)
    known = predict_final(target, at=0.3)
    assert "is not known" in unknown.notes[0]
    assert unknown.upper - unknown.lower >= known.upper - known.lower


def test_a_loss_that_rises_says_nothing_of_its_end(target):
    rising = target.assign(train_loss=10 - target["train_loss"])
    with pytest.raises(DataError, match="does not fall"):
        predict_final(rising, at=0.3)


def test_public_runs_from_other_schedules_of_their_model(shared_curves):
    errors = {"law": [], "own": []}
    inside = []
    for size in ("25e6", "100e6"):
        runs = select_runs(shared_curves("mpl"), [f"model_size={size}"])
        fitted, unseen = (select_runs(runs, [f"role={role}"]) for role in ("fit", "test"))
        for i in range(unseen.sizes["run"]):
            run = take_runs(unseen, np.array([i]))
            found = predict_final(run, reference=fitted, at=0.3)
            errors["law"].append(abs(found.estimate - end(run)))
            errors["own"].append(abs(own_power_law(run, at=0.3) - end(run)))
            inside.append(found.lower <= end(run) <= found.upper)
    assert np.mean(errors["law"]) <= 0.008
    assert np.mean(errors["law"]) <= 0.25 * np.mean(errors["own"])
    assert np.mean(inside) >= 0.8
