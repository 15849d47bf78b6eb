from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.recipes import SCHEDULES, decay_fraction_of, schedule_factors


@given(
    schedule=st.sampled_from([name for name in SCHEDULES if name != "multicosine"]),
    steps=st.integers(1, 500),
    warmup=st.floats(0, 0.5),
    final=st.floats(1e-6, 1),
)
def test_every_schedule_rises_then_never_rises_again(schedule, steps, warmup, final):
    factors = schedule_factors(
        schedule, total_steps=steps, warmup_fraction=warmup, final_lr_fraction=final
    )
    assert factors.shape == (steps,)
    assert factors.min() >= 0
    assert factors.max() <= 1
    top = max(1, round(warmup * steps))
    assert (np.diff(factors[:top]) > 0).all()
    assert (np.diff(factors[top - 1 :]) <= 1e-15).all()


def test_constant_stays_at_the_peak():
    factors = schedule_factors("constant", total_steps=100, warmup_fraction=0.1)
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    assert (factors[9:] == 1).all()


def test_linear_would_reach_its_end_one_step_after_the_last():
    factors = schedule_factors("linear", total_steps=100, warmup_fraction=0.1)
    assert factors[10] == 1
    assert factors[-1] == pytest.approx(1 / 90)
    to_tenth = schedule_factors("linear", total_steps=100, final_lr_fraction=0.1)
    assert to_tenth[-1] == pytest.approx(0.1 + 0.9 / 90)


def test_cosine_is_half_way_in_the_middle_of_its_decay():
    factors = schedule_factors("cosine", total_steps=110, warmup_fraction=0.1 / 1.1)
    assert factors[60] == pytest.approx(0.5)
    linear = schedule_factors("linear", total_steps=110, warmup_fraction=0.1 / 1.1)
    assert factors[20] > linear[20]


def test_wsd_decays_over_its_last_fifth():
    factors = schedule_factors("wsd", total_steps=100)
    assert (factors[10:81] == 1).all()
    assert factors[90] == pytest.approx(0.5)
    half = schedule_factors("wsd", total_steps=100, decay_fraction=0.5)
    assert half[75] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", 0.0), ("linear", 0.9), ("cosine", 0.9), ("wsd", 0.2)]
)
def test_usual_decay_fractions(schedule, expected):
    assert decay_fraction_of(schedule, warmup_fraction=0.1) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "round"}, "schedule must be one of constant, linear, cosine, wsd"),
        ({"schedule": "exponential"}, "never reaches zero"),
        ({"decay_shape": "cosine"}, "only 'wsd' takes one"),
        ({"schedule": "wsd", "decay_shape": "round"}, "decay_shape must be one of linear"),
        ({"schedule": "inverse_sqrt", "decay_fraction": 0.2}, "does not decay at its end"),
        ({"warmup_fraction": 1.0}, "warmup_fraction must be in"),
        ({"decay_fraction": 0.95}, "at most 1 − warmup_fraction = 0.9"),
        ({"schedule": "constant", "decay_fraction": 0.2}, "a constant schedule does not decay"),
        ({"final_lr_fraction": 1.5}, "final_lr_fraction must be in"),
        ({"total_steps": 0}, "total_steps must be at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        schedule_factors(**({"schedule": "linear", "total_steps": 10} | arguments))
