from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from tests.laws.schedule_family import PEAK, TRUTH, family
from tests.laws.test_multi_power import cooldowns, of_size
from workbench.errors import ArgumentError, DataError
from workbench.laws.annealing import fit_annealing
from workbench.laws.cooldown_transfer import transfer_cooldowns
from workbench.laws.kernels_design import final_loss
from workbench.laws.multi_power import fit_multi_power, published_multi_power
from workbench.laws.multi_power_profile import profile_multi_power
from workbench.laws.schedule_choice import choose_schedule_law
from workbench.laws.schedule_design import cooldown_losses, design_schedule
from workbench.schema import select_runs, take_runs

PARAMS = np.array([2.6, np.log(0.55), 0.48, np.log(500.0), 0.1, np.log(0.4), np.log(0.3), 0.8])


def test_each_law_predicts_each_run_from_the_others():
    choice = choose_schedule_law(family(total=2000, noise=1e-3))
    assert choice.name.startswith("multi-power")
    assert {len(scores) for scores in choice.held_out.values()} == {4}
    assert min(choice.errors(), key=choice.errors().get) == choice.name
    assert choice.name in str(choice)


def test_two_runs_cannot_choose():
    with pytest.raises(DataError, match="needs 3 runs"):
        choose_schedule_law(family(("constant", "cosine")))


def test_slope_of_the_final_loss():
    lr = np.linspace(1, 0.05, 20)

    def value(x):
        return final_loss(x * PEAK, 100.0, 0.3, PEAK, PARAMS)[0]

    slope = final_loss(lr * PEAK, 100.0, 0.3, PEAK, PARAMS)[1] * PEAK
    np.testing.assert_allclose(slope, approx_fprime(lr, value, 1e-7), rtol=1e-3, atol=1e-6)


def test_designed_schedule_keeps_its_limits_and_beats_the_usual_ones():
    fit = fit_multi_power(family())
    best = design_schedule(fit, total_steps=4000, warmup_steps=200, final_lr=0.1 * PEAK)
    after = best.lr[200:]
    assert best.final_loss <= min(best.usual.values())
    assert (np.diff(after) <= 1e-12).all()
    assert after.min() >= 0.1 * PEAK * (1 - 1e-9)
    assert best.lr.max() <= PEAK * (1 + 1e-9)
    assert len(best.lr) == 4000
    assert float(fit.predict(best.lr)[0]) == best.final_loss
    longer = design_schedule(fit, total_steps=20_000, peak_lr=2 * PEAK)
    assert len(longer.warnings) == 3
    assert "extrapolates" in str(longer)


@pytest.fixture(scope="module")
def fitted():
    return fit_multi_power(family(noise=5e-4))


def test_the_gain_over_the_best_usual_schedule_has_an_interval(fitted):
    best = design_schedule(fitted, total_steps=4000, warmup_steps=200)
    gain = min(best.usual.values()) - best.final_loss
    assert best.usual[best.gain_over] == min(best.usual.values())
    assert best.gain.estimate == pytest.approx(gain, abs=1e-12)
    assert best.gain.lower < gain < best.gain.upper
    assert best.lower < best.final_loss < best.upper
    assert "predicted gain over" in str(best)
    assert "no larger than the error of the law" in best.warnings[-1]


@pytest.mark.parametrize("may_rise", [False, True])
def test_designed_schedule_ends_at_the_rate_asked_for(fitted, may_rise):
    bounds = {"total_steps": 4000, "warmup_steps": 200, "peak_lr": 2e-4, "final_lr": 2e-5}
    best = design_schedule(fitted, **bounds, end_lr=4e-5, may_rise=may_rise)
    free = design_schedule(fitted, **bounds, may_rise=may_rise)
    assert best.lr[-1] == pytest.approx(4e-5, rel=1e-9)
    np.testing.assert_allclose(best.lr[:200], 2e-4 * np.arange(200) / 200)
    assert best.lr[200:].min() >= (2e-5 if may_rise else 4e-5) * (1 - 1e-9)
    assert best.lr.max() <= 2e-4 * (1 + 1e-9)
    assert may_rise or (np.diff(best.lr[200:]) <= 1e-12).all()
    assert best.constraints["end_lr"] == 4e-5
    assert free.final_loss <= best.final_loss + 1e-6


def test_fewer_constraints_are_no_worse(fitted):
    bounds = {"total_steps": 4000, "warmup_steps": 200, "final_lr": 3e-5}
    held = design_schedule(fitted, **bounds).final_loss
    rising = design_schedule(fitted, **bounds, may_rise=True).final_loss
    assert rising <= held + 5e-4  # both are found on blocks and judged per step
    for form in ("linear", "cosine", "1-sqrt", "exponential"):
        shaped = design_schedule(fitted, **bounds, form=form)
        assert held <= shaped.final_loss + 1e-9, form
        assert (np.diff(shaped.lr[200:]) <= 1e-12).all()
        share = 1 - np.count_nonzero(shaped.lr == shaped.lr.max()) / 4000
        assert 0.05 < share < 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"form": "square-wave"}, "form must be one of"),
        ({"end_lr": 1.0}, "end_lr must lie between"),
        ({"form": "cosine", "may_rise": True}, "Leave one out"),
        ({"form": "exponential"}, "final"),
        ({"total_steps": 100}, "steps after the warm-up"),
    ],
)
def test_constraints_that_do_not_go_together(fitted, options, match):
    with pytest.raises(ArgumentError, match=match):
        design_schedule(fitted, **({"total_steps": 4000} | options))


def test_slope_of_a_path_that_rises():
    lr = np.array([1.0, 0.4, 0.9, 0.2, 0.3])

    def value(x):
        return final_loss(x * PEAK, 100.0, 0.3, PEAK, PARAMS)[0]

    slope = final_loss(lr * PEAK, 100.0, 0.3, PEAK, PARAMS)[1] * PEAK
    np.testing.assert_allclose(slope, approx_fprime(lr, value, 1e-7), rtol=1e-3, atol=1e-6)


def test_design_needs_a_law_with_a_shape_and_room():
    with pytest.raises(ArgumentError, match="annealing"):
        design_schedule(fit_annealing(family()), total_steps=4000)
    with pytest.raises(ArgumentError, match="final_lr"):
        design_schedule(published_multi_power(**TRUTH), total_steps=4000, peak_lr=1, final_lr=2)


def test_profile_is_lowest_near_the_truth():
    runs = family(total=1000, every=20)
    profile = profile_multi_power(runs)
    assert set(profile) == {"kappa", "C", "beta", "gamma"}
    heights = profile["kappa"]["objective"].to_numpy()
    assert profile["kappa"]["value"].to_numpy()[heights.argmin()] == 0
    assert heights.min() < 1e-10
    assert (heights >= 0).all()
    assert heights[-1] > 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("size", [25, 100])
def test_runs_left_out_show_that_the_prior_helps(shared_curves, size):
    errors = choose_schedule_law(of_size(shared_curves, size, "role=fit")).errors()
    assert errors["multi-power"] < 0.6 * errors["multi-power, published form"]


def test_best_cooldown_fraction_of_a_public_trunk(shared_curves):
    given, _ = cooldowns(shared_curves, 1e-3)
    fit = fit_multi_power(given, loss="eval_loss")
    fractions = np.arange(0.05, 0.96, 0.05)
    losses = cooldown_losses(
        fit, total_steps=50_000, peak_lr=1e-3, warmup_steps=300, fractions=fractions
    )
    assert fractions[losses.argmin()] == pytest.approx(0.6, abs=0.101)


def test_cooldowns_follow_from_neighbouring_rates(shared_curves):
    runs = select_runs(shared_curves("wsd_cosine"), ["schedule=wsd"])
    errors = {}
    for lr in (5e-4, 1e-3):
        given, unseen = cooldowns(shared_curves, lr)
        given = select_runs(given, ["decay_fraction>0.1"])
        ends = transfer_cooldowns(given, unseen, runs, loss="eval_loss")
        errors[lr] = np.mean([abs(end.final_loss - end.actual) for end in ends])
        assert {end.relatives[0] < lr < end.relatives[1] for end in ends} == {True}
    assert errors[1e-3] <= 0.0015
    assert errors[5e-4] <= 0.004


def test_without_rates_on_both_sides_nothing_is_transferred(shared_curves):
    given, unseen = cooldowns(shared_curves, 2e-3)
    relatives = select_runs(shared_curves("wsd_cosine"), ["schedule=wsd"])
    with pytest.raises(DataError, match="peak rate above"):
        transfer_cooldowns(
            select_runs(given, ["decay_fraction>0.1"]), unseen, relatives, loss="eval_loss"
        )
    trunk = take_runs(given, given["decay_fraction"].to_numpy() < 0.1)
    with pytest.raises(DataError):
        transfer_cooldowns(trunk, unseen, relatives, loss="eval_loss")
