from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.recipes import Controls, solve_controls, timescale

positive = st.floats(1e-6, 1e6)
NAMES = [field.name for field in fields(Controls)]
# One way to fix all nine: five numbers that no relation ties together.
FREE = ("peak_lr", "weight_decay", "batch_size", "total_steps", "model_size")


def complete(lr, decay, batch, steps, size):
    return solve_controls(
        peak_lr=lr, weight_decay=decay, batch_size=batch, total_steps=steps, model_size=size
    )


@given(positive, positive, positive, positive, positive, st.data())
def test_any_determining_subset_gives_back_the_rest(lr, decay, batch, steps, size, data):
    whole = complete(lr, decay, batch, steps, size)
    order = data.draw(st.permutations(NAMES))
    kept: dict[str, float] = {}
    for name in order:  # keep a name unless what is kept already determines it
        if getattr(solve_controls(**kept), name) is None:
            kept[name] = whole.value(name)
    assert len(kept) == len(FREE)
    again = solve_controls(**kept)
    for name in NAMES:
        assert again.value(name) == pytest.approx(whole.value(name), rel=1e-12)


@given(positive, positive, positive, positive)
def test_all_four_forms_of_tau_agree(lr, decay, batch, tokens):
    known = solve_controls(peak_lr=lr, weight_decay=decay, batch_size=batch, tokens_total=tokens)
    expected = timescale(peak_lr=lr, weight_decay=decay, batch_size=batch, tokens_total=tokens)
    assert known.value("tau") == pytest.approx(expected, rel=1e-12)
    by_steps = solve_controls(
        tau_steps=known.value("tau_steps"), total_steps=known.value("total_steps")
    )
    assert by_steps.value("tau") == pytest.approx(expected, rel=1e-12)


@given(positive, positive, positive, positive, positive, st.floats(1e-3, 1e3))
def test_tau_does_not_depend_on_the_unit_of_tokens(lr, decay, batch, steps, size, unit):
    one = complete(lr, decay, batch, steps, size)
    two = complete(lr, decay, unit * batch, steps, size)
    assert two.value("tau") == pytest.approx(one.value("tau"), rel=1e-12)
    assert two.value("tpp") == pytest.approx(unit * one.value("tpp"), rel=1e-12)


def test_what_does_not_follow_stays_open():
    found = solve_controls(peak_lr=1e-3, weight_decay=0.1, total_steps=1e5)
    assert found.value("tau") == pytest.approx(0.1)
    assert found.tokens_total is None
    with pytest.raises(
        ArgumentError, match=r"tokens_total does not follow.*batch_size, or tpp and"
    ):
        found.value("tokens_total")


def test_a_base_is_completed():
    base = solve_controls(peak_lr=1e-3, weight_decay=0.1)
    found = solve_controls(base, total_steps=np.array([1e4, 1e5]))
    np.testing.assert_allclose(found.value("tau"), [1.0, 0.1])


def test_contradictions_and_bad_values_are_named():
    with pytest.raises(ArgumentError, match=r"contradict tokens_total = batch_size·total_steps"):
        solve_controls(tokens_total=1e9, batch_size=1e6, total_steps=999.0)
    with pytest.raises(ArgumentError, match="peak_lr must be positive"):
        solve_controls(peak_lr=0.0)
    with pytest.raises(ArgumentError, match="no control 'width'"):
        solve_controls(width=3.0)
    with pytest.raises(ArgumentError, match="no control 'width'"):
        solve_controls().value("width")
