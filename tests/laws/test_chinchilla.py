from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from workbench.errors import DataError
from workbench.laws import fit_chinchilla
from workbench.laws import kernels_sums as kernels
from workbench.laws.kernels import huber

PUBLISHED = {"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658}
PUBLISHED_ERROR = {"E": 0.03, "A": 124.58, "alpha": 0.02, "B": 1293.23, "beta": 0.02}
"""Standard errors of the refit (Besiroglu et al. 2024, table 1)."""


def design():
    n = np.geomspace(5e7, 1e10, 8)
    d = np.geomspace(1e9, 1e11, 6)
    return (g.ravel() for g in np.meshgrid(n, d))


def law(n, d, e=1.8, a=480.0, alpha=0.35, b=2000.0, beta=0.37):
    return e + a * n**-alpha + b * d**-beta


@settings(max_examples=20)
@given(st.floats(1.0, 3.0), st.floats(0.2, 0.6), st.floats(0.2, 0.6))
def test_exact_data_give_back_their_parameters(e, alpha, beta):
    n, d = design()
    loss = e + 0.5 * (n / 5e8) ** -alpha + 0.4 * (d / 1e10) ** -beta
    fit = fit_chinchilla(n, d, loss, draws=0)
    assert fit.E.estimate == pytest.approx(e, abs=2e-3)
    assert fit.alpha.estimate == pytest.approx(alpha, abs=2e-3)
    assert fit.beta.estimate == pytest.approx(beta, abs=2e-3)
    np.testing.assert_allclose(fit.predict(n, d), loss, rtol=1e-5)


def test_units_of_size_and_tokens_do_not_matter():
    n, d = design()
    loss = law(n, d) * np.exp(3e-3 * np.random.default_rng(0).standard_normal(n.size))
    one, two = (fit_chinchilla(k * n, k * d, loss, draws=0) for k in (1.0, 1e-6))
    assert two.alpha.estimate == pytest.approx(one.alpha.estimate, rel=1e-4)
    assert two.E.estimate == pytest.approx(one.E.estimate, rel=1e-4)


def test_order_of_points_does_not_matter():
    n, d = design()
    rng = np.random.default_rng(1)
    loss = law(n, d) * np.exp(3e-3 * rng.standard_normal(n.size))
    order = rng.permutation(n.size)
    one = fit_chinchilla(n, d, loss, draws=0)
    two = fit_chinchilla(n[order], d[order], loss[order], draws=0)
    assert two.objective == pytest.approx(one.objective, rel=1e-9)


def test_nothing_lower_is_found_by_a_direct_search():
    n, d = design()
    loss = law(n, d) * np.exp(5e-3 * np.random.default_rng(2).standard_normal(n.size))
    fit = fit_chinchilla(n, d, loss, draws=0)

    def objective(p):
        model = np.exp(p[0]) + np.exp(p[1] - p[2] * np.log(n / 1e9))
        model += np.exp(p[3] - p[4] * np.log(d / 1e10))
        return 1e6 * huber(np.log(model / loss)).mean()

    found = [
        minimize(
            objective, [e, -1, alpha, -1, beta], method="Nelder-Mead", options={"maxfev": 8000}
        )
        for e in (0.3, 0.6)
        for alpha in (0.3, 0.5)
        for beta in (0.3, 0.5)
    ]
    assert 1e6 * fit.objective <= min(one.fun for one in found) * (1 + 1e-6)


def test_slopes_agree_with_differences():
    rng = np.random.default_rng(3)
    features = rng.standard_normal((3, 7, 2)) * np.array([0, 1, 1])[:, None, None]
    theta = rng.standard_normal((4, 5))
    slope = kernels.slopes(features, kernels.log_sum(features, theta)[1])
    for i in range(5):
        step = 1e-6 * np.eye(5)[i]
        up, down = (kernels.log_sum(features, theta + s * step)[0] for s in (1, -1))
        np.testing.assert_allclose(slope[:, i], (up - down) / 2e-6, atol=1e-8)


def test_descent_never_climbs_whatever_the_start():
    rng = np.random.default_rng(4)
    n, d = design()
    features = np.zeros((3, n.size, 2))
    features[1, :, 0], features[2, :, 1] = np.log(n / 5e8), np.log(d / 1e10)
    start = rng.standard_normal((50, 5)) * 2
    before = kernels.objective(features, np.log(law(n, d)), start)
    _, after = kernels.descend(features, np.log(law(n, d)), start)
    assert (after <= before).all()


def test_gross_outliers_are_left_out_and_named():
    n, d = design()
    loss = law(n, d) * np.exp(2e-3 * np.random.default_rng(5).standard_normal(n.size))
    loss[[3, 17]] *= 1.2
    fit = fit_chinchilla(n, d, loss)
    assert fit.left_out == (3, 17)
    assert "2 of 48 points" in fit.warnings[0]
    kept = fit_chinchilla(n, d, loss, outliers=None, draws=20)
    assert kept.left_out == ()
    assert kept.n_points == 48


def test_optimum_is_where_the_law_is_least():
    n, d = design()
    fit = fit_chinchilla(n, d, law(n, d), draws=0)
    size, tokens = fit.optimal(1e21)
    assert 6 * size * tokens == pytest.approx(1e21, rel=1e-9)
    around = np.geomspace(size / 3, size * 3, 2001)
    best = around[np.argmin(fit.predict(around, 1e21 / 6 / around))]
    assert best == pytest.approx(size, rel=3e-3)
    assert fit.optimal_exponent.estimate == pytest.approx(0.37 / 0.72, abs=1e-3)


def test_a_ladder_at_one_tpp_says_that_the_terms_cannot_be_told_apart():
    n = np.geomspace(1e7, 1e9, 12)
    loss = law(n, 20 * n) * np.exp(1e-3 * np.random.default_rng(6).standard_normal(12))
    fit = fit_chinchilla(n, 20 * n, loss, draws=50)
    assert any("rise together" in text for text in fit.warnings)


def test_a_floor_far_below_the_data_is_said_not_to_be_identified():
    n, d = design()
    wobble = np.exp(2e-2 * np.random.default_rng(8).standard_normal(n.size))
    small = law(n, d) - law(1e30, 1e30) + 0.003
    assert any("E is not identified" in t for t in fit_chinchilla(n, d, small * wobble).warnings)
    calm = fit_chinchilla(n, d, law(n, d) * wobble**0.1)
    assert not any("not identified" in text for text in calm.warnings)


@pytest.mark.parametrize(
    ("n", "d", "loss", "message"),
    [
        ([1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3], [3] * 6, "values of model_size"),
        ([1, 2, 3], [1, 2, 3], [3, 2, 1], "5 parameters"),
        ([1, 2, -3], [1, 2, 3], [3, 2, 1], "point 2 has -3"),
        ([1, 2, 3], [1, 2], [3, 2, 1], "equally long"),
        ([1, 2, 3], [1, 2, 3], [3, np.nan, 1], "finite loss"),
    ],
)
def test_bad_points_are_refused(n, d, loss, message):
    with pytest.raises(DataError, match=message):
        fit_chinchilla(n, d, loss)


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    n, d = design()
    truth = {"E": 1.8, "alpha": 0.35, "beta": 0.37}
    hits = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(7)
    for _ in range(150):
        fit = fit_chinchilla(n, d, law(n, d) * np.exp(3e-3 * rng.standard_normal(n.size)), rng=rng)
        for name, value in truth.items():
            found = fit.params[name]
            hits[name] += found.lower <= value <= found.upper
    for name, count in hits.items():
        assert 0.88 <= count / 150 <= 1.0, (name, count / 150)


def test_public_table_agrees_with_the_published_refit(shared_table):
    table = shared_table("chinchilla_digitised")
    fit = fit_chinchilla(table["n_params"], table["tokens"], table["loss"])
    for name, value in PUBLISHED.items():
        found = fit.params[name]
        assert found.lower <= value <= found.upper, name
        assert abs(found.estimate - value) < 1.96 * PUBLISHED_ERROR[name], name
    same = fit_chinchilla(
        table["n_params"][5:], table["tokens"][5:], table["loss"][5:], outliers=None, draws=0
    )
    assert same.E.estimate == pytest.approx(PUBLISHED["E"], abs=1e-3)
    assert same.alpha.estimate == pytest.approx(PUBLISHED["alpha"], abs=1e-3)
    assert same.beta.estimate == pytest.approx(PUBLISHED["beta"], abs=2e-3)
