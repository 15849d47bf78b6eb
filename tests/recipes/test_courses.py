"""Schedules as functions of progress: exact integrals, steps, arrays, recorded rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from workbench.errors import ArgumentError, DataError
from workbench.recipes import (
    DECAY_SHAPES,
    SCHEDULES,
    NamedSchedule,
    TabulatedSchedule,
    decay_factor,
    decay_integral,
    initial_weight,
    schedule_from_coordinates,
    update_density,
    update_weights,
)

X = np.linspace(0, 1, 41)


def any_schedule(name, warm, share, final):
    decays = name not in ("constant", "inverse_sqrt", "multi_step")
    return NamedSchedule(
        name,
        warmup_fraction=warm,
        decay_fraction=share * (1 - warm) if decays else None,
        final_lr_fraction=final,
        milestones=((0.6, 0.5), (0.9, 0.1)),
    )


schedules = st.builds(
    any_schedule,
    st.sampled_from(SCHEDULES),
    st.floats(0.01, 0.5),
    st.floats(0.05, 1.0),
    st.floats(0.01, 1.0),
)


@pytest.mark.parametrize("final", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("shape", DECAY_SHAPES)
def test_every_decay_starts_at_one_ends_where_asked_and_integrates_exactly(shape, final):
    ends = decay_factor(shape, np.array([0.0, 1.0]), final=final)
    np.testing.assert_allclose(ends, [1, final], atol=1e-15)
    for s in (0.2, 0.7, 1.0):
        area, _ = quad(lambda u: float(decay_factor(shape, np.array(u), final=final)), 0, s)
        assert float(decay_integral(shape, np.array(s), final=final)) == pytest.approx(
            area, rel=1e-8
        )


@settings(max_examples=60)
@given(schedules)
def test_gradient_flow_time_is_the_integral(schedule):
    for x in (0.005, 0.37, 1.0):
        knots = [k for k in schedule.knots if 0 < k < x]
        area, _ = quad(lambda u: float(schedule.at(u)), 0, x, points=knots or None, limit=200)
        assert float(schedule.flow_time(x)) == pytest.approx(area, rel=1e-6, abs=1e-12)


@settings(max_examples=60)
@given(schedules)
def test_steps_approach_the_function_of_progress(schedule):
    steps = 20_000
    factors = schedule.factors(steps)
    assert factors.mean() == pytest.approx(float(schedule.flow_time(1.0)), abs=2e-4)
    at = schedule.at(np.arange(steps) / steps)
    jumps = 2 if schedule.name == "multi_step" else 0
    assert (np.abs(factors - at) > 0.01).sum() <= jumps
    assert float(schedule.at(schedule.warmup_fraction)) == pytest.approx(1)


@given(schedules, st.floats(0.01, 3))
def test_instantaneous_timescale_is_tau_over_the_factor(schedule, tau):
    x = X[schedule.at(X) > 0]
    np.testing.assert_allclose(schedule.instantaneous_tau(x, tau=tau) * schedule.at(x), tau)
    assert (schedule.instantaneous_tau(X[schedule.at(X) == 0], tau=tau) == np.inf).all()


def test_inverse_sqrt_and_multi_step_courses():
    falling = NamedSchedule("inverse_sqrt", warmup_fraction=0.04)
    np.testing.assert_allclose(falling.at([0.04, 0.16, 1.0]), [1, 0.5, 0.2])
    assert falling.end_factor == pytest.approx(0.2)
    np.testing.assert_allclose(falling.factors(100)[[3, 15, 99]], [1, 0.5, 0.2])
    steps = NamedSchedule("multi_step", warmup_fraction=0.1)
    np.testing.assert_allclose(steps.at([0.5, 0.8, 0.85, 0.9]), [1, 0.316, 0.316, 0.1])
    np.testing.assert_allclose(steps.factors(10), [1] * 8 + [0.316, 0.1])
    with pytest.raises(ArgumentError, match="has no peak"):
        NamedSchedule("inverse_sqrt", warmup_fraction=0.0).at(0.5)
    with pytest.raises(ArgumentError, match="milestones must rise"):
        NamedSchedule("multi_step", milestones=((0.9, 0.1), (0.8, 0.3)))


def test_linear_to_a_fraction_and_wsd_shapes():
    assert NamedSchedule("linear", final_lr_fraction=0.1).at(1.0) == pytest.approx(0.1)
    for shape, half in (("linear", 0.5), ("1-sqrt", 1 - 0.5**0.5), ("cosine", 0.5)):
        cooled = NamedSchedule("wsd", decay_fraction=0.2, decay_shape=shape)
        assert float(cooled.at(0.9)) == pytest.approx(half)
        assert float(cooled.at(0.8)) == 1
    slow = NamedSchedule("wsd", decay_shape="exponential", final_lr_fraction=0.01)
    assert float(slow.at(0.9)) == pytest.approx(0.1)


@settings(max_examples=40)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=12).filter(lambda v: max(v) > 1e-3))
def test_an_array_is_its_own_schedule(rates):
    schedule = TabulatedSchedule.from_steps(rates)
    np.testing.assert_allclose(schedule.factors(len(rates)), np.array(rates) / max(rates))
    fine = np.linspace(0, 1, 20_001)
    values = schedule.at(fine)
    area = np.append(0, np.cumsum((values[1:] + values[:-1]) / 2) / 20_000)
    np.testing.assert_allclose(schedule.flow_time(fine), area, atol=1e-3)


def test_a_named_schedule_survives_being_tabulated():
    named = NamedSchedule("cosine", warmup_fraction=0.1, final_lr_fraction=0.1)
    table = TabulatedSchedule(np.linspace(0, 1, 2001), 3e-4 * named.at(np.linspace(0, 1, 2001)))
    np.testing.assert_allclose(table.at(X), named.at(X), atol=1e-6)
    np.testing.assert_allclose(table.flow_time(X), named.flow_time(X), atol=1e-6)
    assert table.peak == pytest.approx(3e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0.5], [1.0]), "equally long"),
        (([0.5, 0.2], [1.0, 1.0]), "must rise"),
        (([0, 0.5], [1.0, -1.0]), "not negative"),
        (([0, 0.5], [0.0, 0.0]), "somewhere above zero"),
    ],
)
def test_bad_tables_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        TabulatedSchedule(*arguments)


def test_progress_outside_the_run_is_refused():
    with pytest.raises(ArgumentError, match="share of the run"):
        NamedSchedule().at(1.5)


# -- AdamW as an average --------------------------------------------------------------------------


@settings(max_examples=40)
@given(schedules, st.floats(0.02, 2))
def test_update_weights_are_a_convex_combination(schedule, tau):
    found = update_weights(schedule.factors(500), tau=tau)
    assert (found.updates >= 0).all()
    assert found.updates.sum() + found.initial == pytest.approx(1, rel=1e-10)


def test_update_weights_are_what_the_recursion_leaves():
    factors, tau = NamedSchedule("linear").factors(50), 0.3
    alpha = factors / (tau * 50)
    found = update_weights(factors, tau=tau)
    for i in (0, 7, 49):
        weight = 0.0
        for t in range(50):
            weight = (1 - alpha[t]) * weight + alpha[t] * (t == i)
        assert found.updates[i] == pytest.approx(weight, rel=1e-12)


def test_many_steps_approach_the_density():
    schedule, steps, tau = NamedSchedule("cosine"), 40_000, 0.2
    found = update_weights(schedule.factors(steps), tau=tau)
    density = update_density(schedule, (np.arange(steps) + 0.5) / steps, tau=tau)
    np.testing.assert_allclose(found.updates * steps, density, atol=2e-3 * density.max())
    assert found.initial == pytest.approx(initial_weight(schedule, tau=tau), rel=1e-2)
    area, _ = quad(lambda x: float(update_density(schedule, x, tau=tau)), 0, 1, points=[0.1])
    assert area + initial_weight(schedule, tau=tau) == pytest.approx(1, rel=1e-8)


def test_constant_rate_weighs_updates_as_an_exponential():
    found = update_weights(np.ones(1000), tau=0.1)
    assert found.effective_updates == pytest.approx(2 * 0.1 * 1000, rel=0.01)
    with pytest.raises(ArgumentError, match="at most one step"):
        update_weights(np.ones(5), tau=0.1)
    with pytest.raises(ArgumentError, match="tau must be positive"):
        update_weights(np.ones(5), tau=0.0)


# -- recorded rates -------------------------------------------------------------------------------


def recorded(ds, run):
    ends = np.append(0, np.cumsum(ds["row_size"].to_numpy()))
    part = slice(ends[run], ends[run + 1])
    return ds["step"].to_numpy()[part], ds["learning_rate"].to_numpy()[part]


@pytest.mark.parametrize(
    ("variant", "schedule"),
    [
        ("cosine_24000", NamedSchedule("cosine", 0.09, final_lr_fraction=0.1)),
        ("cosine_72000", NamedSchedule("cosine", 0.03, final_lr_fraction=0.1)),
        (
            "wsd_20000_24000",
            NamedSchedule("wsd", 0.09, 1 / 6, 0.1, decay_shape="exponential"),
        ),
        ("wsdld_20000_24000", NamedSchedule("wsd", 0.09, 1 / 6, 0.1)),
        ("constant_72000", NamedSchedule("constant", 0.03)),
    ],
)
def test_schedules_of_the_multi_power_law_runs(shared_curves, variant, schedule):
    ds = shared_curves("mpl")
    for run in np.flatnonzero(ds["schedule_variant"].to_numpy() == variant):
        step, rate = recorded(ds, run)
        total = int(ds["total_steps"].to_numpy()[run])
        np.testing.assert_allclose(rate / 3e-4, schedule.factors(total)[step], atol=1e-3)


def test_schedules_of_the_image_transformers(shared_curves):
    ds = shared_curves("qiu_c5m_schedules")
    seen = set()
    for run in range(ds.sizes["run"]):
        name = str(ds["schedule"].to_numpy()[run])
        tokens = float(ds["tokens_total"].to_numpy()[run])
        batch = float(ds["batch_size"].to_numpy()[run])
        share = float(ds["decay_fraction"].to_numpy()[run])
        step, rate = recorded(ds, run)
        total = round(tokens / batch)
        warm = 762 / total  # 50M tokens; the share of the decay counts from the end of the warm-up
        course = NamedSchedule(name, warm, None if name == "constant" else share * (1 - warm))
        inside = step > 762
        x = np.minimum(step[inside] / total, 1.0)
        np.testing.assert_allclose(rate[inside] / 0.01, course.at(x), atol=2e-3)
        seen.add(name)
    assert seen == {"constant", "linear", "cosine", "quadratic", "multicosine"}


def test_a_run_tells_its_schedule():
    found = schedule_from_coordinates(
        {
            "schedule": np.array("wsd"),
            "warmup_steps": np.float64(300),
            "total_steps": 3000.0,
            "warmup_fraction": np.nan,
            "decay_fraction": 0.2,
            "decay_shape": "sqrt",
        }
    )
    assert found == NamedSchedule("wsd", 0.1, 0.2, decay_shape="1-sqrt")
    assert schedule_from_coordinates({"schedule": "constant", "decay_fraction": 1.0}) == (
        NamedSchedule("constant", 0.0)
    )
    assert schedule_from_coordinates(
        {"schedule": "linear", "decay_fraction": 1.0, "warmup_fraction": 0.1}
    ).decay_fraction == (pytest.approx(0.9))
    with pytest.raises(DataError, match="'two-stage' does not say"):
        schedule_from_coordinates({"schedule": "two-stage"})
    with pytest.raises(DataError, match="never reaches zero"):
        schedule_from_coordinates({"schedule": "exponential"})
