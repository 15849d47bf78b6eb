from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.laws.extrapolation import extrapolate_power_law

COMPUTE = np.geomspace(1, 1e3, 7)


def test_exact_points_predict_exactly():
    found = extrapolate_power_law(COMPUTE, 1.5 + 0.8 * COMPUTE**-0.25, at=1e4)
    assert found.loss.estimate == pytest.approx(1.5 + 0.8 * 1e4**-0.25, rel=1e-4)
    assert found.beyond == pytest.approx(10)


def test_the_interval_holds_the_estimate_and_covers_the_truth():
    rng = np.random.default_rng(0)
    truth, held = 1.5 + 0.8 * 1e4**-0.25, 0
    for _ in range(80):
        loss = (1.5 + 0.8 * COMPUTE**-0.25) * np.exp(5e-4 * rng.standard_normal(7))
        found = extrapolate_power_law(COMPUTE, loss, at=1e4)
        assert found.loss.lower <= found.loss.estimate <= found.loss.upper
        held += found.loss.lower <= truth <= found.loss.upper
    assert held >= 72


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(-3, 6), st.floats(0.5, 3)), min_size=4, max_size=8),
    st.floats(-4, 9),
)
def test_points_of_no_law_give_wide_and_finite_intervals(points, at):
    log_compute, loss = np.array(points).T
    assume(len(np.unique(log_compute.round(2))) == len(points))
    found = extrapolate_power_law(10**log_compute, loss, at=10**at)
    for p in (*found.fit.params.values(), found.loss):
        assert np.isfinite([p.lower, p.upper]).all()
        assert p.lower <= p.estimate <= p.upper


def test_compute_must_be_positive():
    with pytest.raises(ArgumentError, match="at must be a positive compute"):
        extrapolate_power_law(COMPUTE, COMPUTE**-0.1, at=0.0)
