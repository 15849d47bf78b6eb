from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.laws import theory

SIZES = 10.0 ** np.arange(1, 10)
X = np.linspace(0.05, 1, 20)
POSITIVE = st.floats(0.1, 1.5)


@given(POSITIVE, POSITIVE, st.floats(0.2, 5))
def test_balance_is_free_of_size_at_any_multiple_of_the_horizon(mu, nu, multiple):
    terms = ((1.0, mu, 0.0), (1.0, 0.0, nu))
    kappa = multiple * float(theory.balance_horizon(1.0, mu=mu, nu=nu))
    curves = theory.sum_curve(X, SIZES, terms=terms, gamma=nu / mu, kappa=kappa)
    assert (curves.std(axis=0) / curves.mean(axis=0)).max() < 1e-9
    if multiple == 1:
        np.testing.assert_allclose(curves[0], theory.balance_curve(X, mu=mu, nu=nu), rtol=1e-9)


def test_balance_curve_is_the_sum_at_its_horizon():
    terms = ((1.0, 0.4, 0.0), (1.0, 0.0, 0.3))
    kappa = float(theory.balance_horizon(1.0, mu=0.4, nu=0.3))
    curves = theory.sum_curve(X, [1e6, 1e9], terms=terms, gamma=0.75, kappa=kappa)
    np.testing.assert_allclose(curves[1], theory.balance_curve(X, mu=0.4, nu=0.3), rtol=1e-9)
    limit = theory.limit_curve(X, terms=terms, gamma=0.75, kappa=kappa)
    np.testing.assert_allclose(limit, curves[0], rtol=1e-9)


def test_horizon_is_the_optimum_at_equal_compute():
    mu, nu, p = 0.33, 0.41, 1e7
    t = float(theory.balance_horizon(p, mu=mu, nu=nu))
    sizes = p * np.geomspace(0.5, 2, 2001)
    loss = (t * p / sizes) ** -mu + sizes**-nu
    assert sizes[np.argmin(loss)] == pytest.approx(p, rel=1e-3)


def test_slope_at_the_end_is_minus_the_exponent_of_the_frontier():
    mu, nu = 0.33, 0.41
    ends = theory.balance_curve([1.0, 1 - 1e-6], mu=mu, nu=nu)
    assert (ends[0] - ends[1]) / 1e-6 == pytest.approx(-mu * nu / (mu + nu), rel=1e-5)


def test_figure_5b_first_row():
    np.testing.assert_allclose(theory.balance_curve(X, mu=0.5, nu=0.5), (X**-0.5 + 1) / 2)


def test_figure_5b_second_row():
    terms = theory.phase_two_terms(alpha=0.6, beta=0.52)
    e, gamma = theory.phase_exponents("II", alpha=0.6, beta=0.52)
    assert gamma == pytest.approx(1.153846, abs=1e-6)
    assert e == pytest.approx((0.52 / 0.6) / (1 + 0.52 / 0.6))
    np.testing.assert_allclose([t[1] for t in terms], [0, 1.0333, 0.16667], atol=5e-5)
    beta = theory.decay_exponents(terms, gamma=gamma)
    np.testing.assert_allclose(beta, [1.2, 1.19231, 1.19231], atol=5e-6)
    curve = theory.sum_curve([0.1], SIZES, terms=terms, gamma=gamma)[:, 0]
    assert curve.std() / curve.mean() == pytest.approx(0.011, abs=5e-4)
    limit = theory.limit_curve([0.1], terms=terms, gamma=gamma)
    far = theory.sum_curve([0.1], [1e9, 1e100, 1e200], terms=terms, gamma=gamma)[:, 0]
    off = np.abs(far / limit[0] - 1)  # falls as p**-0.0077, the gap to the third term
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.02


@pytest.mark.parametrize(
    ("phase", "alpha", "beta", "e"),
    [
        ("Ia", 0.7, 0.2, 1 / 2.4),
        ("Ib", 0.3, 0.6, 0.5),
        ("III", 1.0, 1.2, 0.5),
        ("IVa", 0.4, 1.0, 0.5),
        ("IVb", 0.4, 0.6, (0.4 - 0.6) / (2 * 0.24 + 0.4 - 1.2)),
        ("Ic", 0.2, 0.9, (1 - 2.2) / (2 * (0.2 * (1.8 - 3) - 1.8 + 1))),
    ],
)
def test_exponents_of_the_phases(phase, alpha, beta, e):
    found, gamma = theory.phase_exponents(phase, alpha=alpha, beta=beta)
    assert found == pytest.approx(e)
    assert gamma == pytest.approx((1 - e) / e)


@pytest.mark.parametrize(
    ("v", "values"),
    [
        (1, (1.6194, 1.3123, 1.1373)),
        (4, (1.4720, 1.2380, 1.1046)),
        (64, (1.2343, 1.1181, 1.0519)),
    ],
)
def test_overtraining_has_its_golden_values(v, values):
    curve = theory.overtraining_curve([0.1, 0.25, 0.5], overtraining=v, exponent=0.35)
    np.testing.assert_allclose(curve, values, atol=1e-4)


@given(st.floats(0.1, 1.0), st.floats(0.01, 100), st.floats(1e6, 1e12), st.floats(1e-2, 1e3))
def test_overtraining_is_the_reducible_loss_of_any_size(a, ratio, size, tpp):
    """Eq. 6-9 of Bergsma et al.: with B = A·r^a the size cancels and only v = TPP/r is left."""
    tokens = tpp * size
    loss = size**-a + ratio**a * (X * tokens) ** -a
    found = theory.overtraining_curve(X, overtraining=tpp / ratio, exponent=a)
    np.testing.assert_allclose(found, loss / loss[-1], rtol=1e-9)


@given(st.floats(0.05, 1.0), st.floats(1e-2, 1e3), st.floats(1.01, 100))
def test_more_tokens_per_parameter_lower_the_whole_curve(a, v, more):
    one, two = (
        theory.overtraining_curve(X, overtraining=value, exponent=a) for value in (v, v * more)
    )
    assert one[-1] == two[-1] == 1
    assert (two[:-1] < one[:-1]).all()
    assert (np.diff(one) < 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.balance_curve(X, mu=0, nu=1), "mu must be positive"),
        (lambda: theory.phase_exponents("V", alpha=1, beta=1), "one of Ia"),
        (lambda: theory.phase_exponents("IVb", alpha=0.5, beta=0.5), "no exponent"),
        (lambda: theory.limit_curve(X, terms=(), gamma=1), "one or more"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
