from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.collapse import fit_offset
from workbench.curves import on_progress
from workbench.errors import DataError
from workbench.laws import fit_power_law
from workbench.laws.horizon import horizons, losses_at
from workbench.laws.kernels import huber, profile_power_law

COMPUTE = np.geomspace(1, 1e4, 8)


@settings(max_examples=40)
@given(st.floats(0.05, 0.5), st.floats(0.1, 2.0), st.floats(0.5, 4.0))
def test_exact_data_give_back_their_parameters(b, a, floor):
    fit = fit_power_law(COMPUTE, floor + a * COMPUTE**-b)
    assert fit.b.estimate == pytest.approx(b, rel=2e-3)
    assert fit.L0.estimate == pytest.approx(floor, abs=2e-3 * (1 + a))
    assert fit.objective < 1e-12
    np.testing.assert_allclose(fit.predict(COMPUTE), floor + a * COMPUTE**-b, rtol=1e-5)


@settings(max_examples=25)
@given(st.floats(0.2, 5), st.floats(1e-3, 1e3))
def test_fit_is_equivariant_to_units(loss_scale, compute_scale):
    rng = np.random.default_rng(1)
    loss = (1.5 + 0.8 * COMPUTE**-0.25) * np.exp(2e-4 * rng.standard_normal(8))
    one = fit_power_law(COMPUTE, loss)
    two = fit_power_law(compute_scale * COMPUTE, loss_scale * loss)
    assert two.b.estimate == pytest.approx(one.b.estimate, rel=1e-4)
    assert two.L0.estimate == pytest.approx(loss_scale * one.L0.estimate, rel=1e-4)
    assert two.L0.lower == pytest.approx(loss_scale * one.L0.lower, rel=1e-4)
    unit = loss_scale * compute_scale**one.b.estimate
    assert two.a.estimate == pytest.approx(unit * one.a.estimate, rel=1e-3)


@settings(max_examples=10)
@given(st.permutations(range(8)))
def test_order_of_points_does_not_matter(order):
    rng = np.random.default_rng(1)
    loss = (1.5 + 0.8 * COMPUTE**-0.25) * np.exp(5e-4 * rng.standard_normal(8))
    one, two = fit_power_law(COMPUTE, loss), fit_power_law(COMPUTE[order], loss[order])
    for name, found in one.params.items():
        for end in ("lower", "estimate", "upper"):
            assert getattr(two.params[name], end) == pytest.approx(getattr(found, end), rel=1e-5)


def test_nothing_lower_is_found_by_a_direct_search():
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    loss = (1.5 + 0.8 * COMPUTE**-0.25) * np.exp(2e-3 * rng.standard_normal(8))
    fit = fit_power_law(COMPUTE, loss)

    def objective(p):
        model = np.exp(p[0]) * COMPUTE ** -p[1] + p[2]
        return huber(np.log(model) - np.log(loss)).mean() if model.min() > 0 else np.inf

    best = min(
        minimize(
            objective,
            [u, b, c],
            method="Nelder-Mead",
            options={"xatol": 1e-12, "fatol": 1e-18, "maxiter": 6000, "maxfev": 6000},
        ).fun
        for u in (-1, 0)
        for b in (0.1, 0.3)
        for c in (1.3, 1.5)
    )
    assert fit.objective <= best * (1 + 1e-6)


@pytest.mark.parametrize("points", [6, 16])
def test_intervals_cover_the_truth_about_as_often_as_they_say(points):
    rng = np.random.default_rng(0)
    compute, covered = np.geomspace(1, 1e4, points), np.zeros(3)
    truths = (0.8, 0.25, 1.5)
    for _ in range(100):
        loss = (1.5 + 0.8 * compute**-0.25) * np.exp(5e-4 * rng.standard_normal(points))
        found = fit_power_law(compute, loss).params.values()
        covered += [p.lower <= truth <= p.upper for p, truth in zip(found, truths, strict=True)]
    assert (covered >= 90).all(), covered


def test_interval_ends_are_where_the_profile_meets_its_bound():
    """Against a direct search over the other two parameters with the first held."""
    from scipy.optimize import minimize
    from scipy.stats import f

    rng = np.random.default_rng(4)
    loss = (1.5 + 0.8 * COMPUTE**-0.25) * np.exp(5e-4 * rng.standard_normal(8))
    fit = fit_power_law(COMPUTE, loss)
    bound = fit.objective * (1 + f.ppf(0.95, 1, 5) / 5)
    best = [p.estimate for p in fit.params.values()]

    def objective(p):
        model = p[0] * COMPUTE ** -p[1] + p[2]
        return huber(np.log(model) - np.log(loss)).mean() if model.min() > 0 else np.inf

    for k, found in enumerate(fit.params.values()):
        for end in (found.lower, found.upper):
            held = minimize(
                lambda rest, k=k, end=end: objective(np.insert(rest, k, end)),
                np.delete(best, k),
                method="Nelder-Mead",
                options={"xatol": 1e-12, "fatol": 1e-18, "maxiter": 4000, "maxfev": 4000},
            )
            assert held.fun == pytest.approx(bound, rel=0.01), (k, end)


def test_a_flat_ladder_says_that_the_floor_is_not_identified():
    rng = np.random.default_rng(2)
    loss = 0.05 * COMPUTE**-0.15 * np.exp(5e-3 * rng.standard_normal(8))
    fit = fit_power_law(COMPUTE, loss)
    assert fit.L0.lower == 0
    assert not fit.identified
    assert "not identified" in fit.warnings[0]
    assert "not identified" in fit._repr_html_()


def test_three_points_fit_exactly_and_claim_nothing():
    fit = fit_power_law(COMPUTE[:3], 1 + COMPUTE[:3] ** -0.3)
    assert not fit.identified
    assert fit.L0.lower == 0


@pytest.mark.parametrize(
    ("compute", "loss", "message"),
    [
        ([1, 2], [1, 2], "3 or more"),
        ([1, 1, 1, 1], [1, 2, 3, 4], "3 or more"),
        ([1, 2, 3], [1, np.nan, 2], "finite"),
        ([1, 2, 3], [1, -1, 2], "positive"),
        ([1, 2, 3], [1, 2], "equally long"),
    ],
)
def test_bad_points_are_refused(compute, loss, message):
    with pytest.raises(DataError, match=message):
        fit_power_law(compute, loss)


def test_profile_agrees_with_a_dense_grid_over_the_other_parameters():
    log_x = np.log(COMPUTE) - np.log(COMPUTE).mean()
    log_y = np.log(1.5 + 0.8 * COMPUTE**-0.25 + 1e-3 * np.sin(COMPUTE))
    u, b, value = profile_power_law(log_x, log_y, np.array([1.4]))
    around = np.array(
        [
            huber(np.log(np.exp(u[0] + du - (b[0] + db) * log_x) + 1.4) - log_y).mean()
            for du in np.linspace(-0.01, 0.01, 41)
            for db in np.linspace(-0.01, 0.01, 41)
        ]
    )
    assert value[0] <= around.min() + 1e-18


def test_dataset_names_the_law(make_family):
    ds = fit_offset(on_progress(make_family(noise=1e-3))).fit.to_dataset()
    assert ds.parameter.to_numpy().tolist() == ["a", "b", "L0"]
    assert ds.attrs["law"] == "power"


@pytest.mark.parametrize(
    ("name", "a", "b", "floor", "objective"),
    [
        ("qiu_c5m", 0.15644, 0.19688, 3.133433, 1.681e-9),
        ("qiu_mlp", 0.042782, 0.15938, 0.0012012, 2.293e-6),
    ],
)
def test_public_ladders_reach_the_known_optimum(shared_curves, name, a, b, floor, objective):
    fit = fit_offset(on_progress(shared_curves(name), loss="eval_loss")).fit
    assert fit.a.estimate == pytest.approx(a, rel=5e-5)
    assert fit.b.estimate == pytest.approx(b, abs=1e-5)
    assert fit.L0.estimate == pytest.approx(floor, abs=1e-5)
    assert fit.objective <= objective * 1.001
    assert fit.identified == (name == "qiu_c5m")


def test_public_long_runs_reach_the_known_optimum_at_their_horizons(shared_curves):
    runs = shared_curves("qiu_mlp_const")
    compute, source = horizons(runs)
    fit = fit_power_law(compute, losses_at(runs, compute, loss="eval_loss"))
    assert source == "recorded horizons"
    assert fit.a.estimate == pytest.approx(0.050088, abs=1e-6)
    assert fit.b.estimate == pytest.approx(0.15271, abs=1e-5)
    assert fit.L0.estimate == pytest.approx(0, abs=1e-6)
    assert fit.objective <= 7.566e-7
