"""Exponents that the runs cannot tell come from another fit; what they can tell stays theirs."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.forecast import SLIMPAJAMA_LLAMA, fit_surrogate
from workbench.forecast.borrowed import borrow_exponents

X = np.arange(1, 65) / 64


def predicted(fit, tau, tpp):
    return fit.predict(X, tau=tau, tpp=tpp, lr_factor=1 - X)


@pytest.fixture
def of_one_tpp(make_family):
    taus = np.tile([0.1, 0.2, 0.4], 4)
    return make_family(tau=taus, noise=0.01, records=80)


def test_the_curve_at_the_runs_own_control_is_unchanged(of_one_tpp):
    own = fit_surrogate(of_one_tpp, bootstrap=10)
    found = borrow_exponents(own, SLIMPAJAMA_LLAMA)
    assert found.borrowed == ("tpp",)
    assert found.still == ()
    for name in ("normalized_loss", "lower", "upper"):
        np.testing.assert_allclose(
            predicted(found.fit, 0.3, 20)[name], predicted(own, 0.3, 20)[name], rtol=1e-12
        )
    assert found.fit.b_exp == own.b_exp


def test_away_from_it_the_lender_says_how_and_the_band_widens(of_one_tpp):
    own = fit_surrogate(of_one_tpp, bootstrap=60)
    found = borrow_exponents(own, SLIMPAJAMA_LLAMA).fit
    assert found.q_exp == SLIMPAJAMA_LLAMA.q_exp
    power = found.q_const.estimate * 80**found.q_exp.estimate
    ratio = (80 / 20) ** SLIMPAJAMA_LLAMA.q_exp.estimate
    assert power == pytest.approx(own.q_const.estimate * ratio)
    assert found.q_const.lower < found.q_const.estimate < found.q_const.upper
    np.testing.assert_allclose(found.centred()[2], own.centred()[2])


def test_a_control_that_is_not_recorded_stays_without_effect(make_family):
    runs = make_family(tau=np.nan, noise=0.01, records=80)
    found = borrow_exponents(fit_surrogate(runs, bootstrap=5), SLIMPAJAMA_LLAMA)
    assert found.still == ("tau",)
    assert found.fit.b_exp.estimate == 0
    np.testing.assert_array_equal(
        predicted(found.fit, 0.1, 20)["normalized_loss"],
        predicted(found.fit, 1.0, 20)["normalized_loss"],
    )


def test_an_exponent_of_its_own_is_kept(make_family):
    runs = make_family(
        tau=np.tile([0.1, 0.2, 0.4], 4), tpp=np.repeat([10.0, 20, 40, 80], 3), records=80
    )
    own = fit_surrogate(runs, bootstrap=3)
    found = borrow_exponents(own, SLIMPAJAMA_LLAMA)
    assert found.borrowed == found.still == ()
    assert found.fit.params == own.params
