from __future__ import annotations

import numpy as np
import pytest

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


def test_compute_must_be_positive():
    with pytest.raises(ArgumentError, match="at must be a positive compute"):
        extrapolate_power_law(COMPUTE, COMPUTE**-0.1, at=0.0)
