from __future__ import annotations

import numpy as np
import pytest

from tests.laws.schedule_family import PEAK, TRUTH, family, schedule
from workbench.errors import ArgumentError, DataError
from workbench.laws.annealing import fit_annealing
from workbench.laws.learning_rates import scheduled_runs
from workbench.laws.multi_power import fit_multi_power, published_multi_power
from workbench.schema import concat_runs, select_runs, take_runs

PUBLISHED = {
    25: (3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257),
    100: (2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644),
}


def mean(scores, name="mae"):
    return float(np.mean([abs(getattr(score, name)) for score in scores]))


def test_exact_curves_give_back_the_published_form():
    fit = fit_multi_power(family(), form="published")
    for name, value in TRUTH.items():
        assert fit.params[name].estimate == pytest.approx(value, rel=1e-2), name
    assert fit.objective < 1e-11
    assert fit.params["kappa"].estimate == 0


def test_unseen_schedule_is_predicted_from_two_others():
    runs = family(noise=5e-4)
    fit = fit_multi_power(take_runs(runs, [0, 1]))
    assert mean(fit.score(scheduled_runs(take_runs(runs, [2, 3])))) < 4e-3


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = []
    for draw in range(10):
        fit = fit_multi_power(family(noise=2e-3, rng=draw, total=2000, every=20), form="published")
        held += [
            fit.params[name].lower <= TRUTH[name] <= fit.params[name].upper
            for name in ("L0", "alpha", "A")
        ]
    assert np.mean(held) > 0.8


def test_shape_of_a_relative_at_another_peak_rate_is_carried_over_without_units():
    relative = fit_multi_power(family(), form="published")
    runs = family(("constant", "cosine"))
    faster = runs.assign(learning_rate=10 * runs["learning_rate"])
    faster = faster.assign_coords(peak_lr=("run", np.full(2, 10 * PEAK)))
    fit = fit_multi_power(faster, shape=relative)
    assert fit.objective < 1e-9
    assert "Shape" in fit.warnings[0]
    assert fit.params["gamma"].lower == fit.params["gamma"].upper


def test_without_a_decay_the_fit_says_what_it_does_not_know():
    fit = fit_multi_power(family(("constant",), noise=1e-3))
    assert any("No fitted run lowers" in text for text in fit.warnings)
    assert any("Mostly the prior" in text for text in fit.warnings)
    assert "Mostly the prior" in fit._repr_html_()
    assert any("No fitted run" in text for text in fit_annealing(family(("constant",))).warnings)


def test_two_model_sizes_are_refused():
    one, two = family(("constant",)), family(("cosine",))
    two = two.assign_coords(model_size=("run", [2e8]))
    with pytest.raises(DataError, match="2 model sizes"):
        fit_multi_power(concat_runs([one, two]))


def test_bad_arguments_are_refused():
    runs = family(("constant", "cosine"))
    with pytest.raises(ArgumentError, match="form"):
        fit_multi_power(runs, form="other")
    with pytest.raises(ArgumentError, match="annealing"):
        fit_multi_power(runs, shape=fit_annealing(runs))
    law = published_multi_power(**TRUTH)
    with pytest.raises(ArgumentError, match="within the schedule"):
        law.predict(schedule("constant", 300), [300])
    with pytest.raises(ArgumentError, match="finite"):
        law.predict(-schedule("constant", 300))


def test_dataset_names_the_law():
    ds = published_multi_power(**TRUTH).to_dataset()
    assert ds.attrs["law"] == "multi-power"
    assert float(ds["estimate"].sel(parameter="gamma")) == TRUTH["gamma"]


def of_size(shared_curves, size, *where):
    return select_runs(shared_curves("mpl"), [f"model_size={size}e6", *where])


@pytest.mark.parametrize(("size", "mae", "r2"), [(25, 0.00376, 0.9988), (100, 0.00435, 0.9983)])
def test_published_parameters_score_as_published(shared_curves, size, mae, r2):
    names = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
    law = published_multi_power(**dict(zip(names, PUBLISHED[size], strict=True)))
    scores = law.score(scheduled_runs(of_size(shared_curves, size, "role=test")))
    assert len(scores) == 6
    assert mean(scores) == pytest.approx(mae, abs=2e-5)
    assert mean(scores, "r2") == pytest.approx(r2, abs=1e-4)


@pytest.mark.parametrize(("size", "objective"), [(25, 3.167e-7), (100, 4.73e-8)])
def test_public_runs_fitted_on_three_schedules_predict_six(shared_curves, size, objective):
    fitted = of_size(shared_curves, size, "role=fit")
    unseen = scheduled_runs(of_size(shared_curves, size, "role=test"))
    converged = fit_multi_power(fitted, form="published")
    assert converged.objective <= objective * 1.001
    assert mean(converged.score(unseen)) <= 0.0050
    ours = fit_multi_power(fitted)
    assert mean(ours.score(unseen)) <= 0.0046
    other = fit_multi_power(of_size(shared_curves, 125 - size))
    assert mean(fit_multi_power(fitted, shape=other).score(unseen)) <= 0.0036


@pytest.mark.parametrize(("size", "mae"), [(25, 0.0047), (100, 0.0038)])
def test_annealing_law_on_public_runs(shared_curves, size, mae):
    fit = fit_annealing(of_size(shared_curves, size, "role=fit"))
    scores = fit.score(scheduled_runs(of_size(shared_curves, size, "role=test")))
    assert mean(scores) == pytest.approx(mae, abs=1e-4)


def cooldowns(shared_curves, lr):
    where = ["model_size>1.1e8", f"peak_lr={lr}", "total_steps=50000", "schedule=wsd"]
    runs = select_runs(shared_curves("wsd_cosine"), where)
    name, fraction = runs["run_id"].to_numpy().astype(str), runs["decay_fraction"].to_numpy()
    linear = (runs["decay_type"].to_numpy() == "linear") & (fraction > 0.01)
    given = np.char.startswith(name, "stable") | (linear & np.isclose(fraction, 0.2))
    return take_runs(runs, given), take_runs(runs, linear & ~given)


def test_other_cooldowns_follow_from_the_trunk_and_one(shared_curves):
    errors = {}
    for lr in (1e-4, 5e-4, 1e-3, 2e-3):
        given, unseen = cooldowns(shared_curves, lr)
        assert (given.sizes["run"], unseen.sizes["run"]) == (2, 5)
        fit = fit_multi_power(given, loss="eval_loss")
        scores = fit.score(scheduled_runs(unseen, loss="eval_loss"))
        errors[lr] = mean(scores, "final_error")
    assert errors[1e-3] <= 0.002
    assert np.mean(list(errors.values())) <= 0.003
