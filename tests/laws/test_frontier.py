from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import ArgumentError, DataError
from workbench.laws import fit_frontier
from workbench.laws import kernels_frontier as kernels
from workbench.laws.horizon import horizons, losses_at
from workbench.schema import conform, make_runs, take_runs

SIZES = np.geomspace(1e6, 3e7, 8)


def long_runs(
    *, mu=0.35, nu=0.35, noise=0.0, wander=0.0, sizes=SIZES, rng=0, records=300, **coords
):
    """Constant-rate runs of a sum of power laws; 1.2e8 tokens are optimal for 6e6 parameters."""
    generator = np.random.default_rng(rng)
    p0, t0 = 6e6, 1.2e8
    tokens = np.geomspace(1e6, 4e9, records)
    weight = mu * t0**-mu / (nu * p0**-nu)
    width = records // 10
    kernel = np.ones(width) / np.sqrt(width)
    losses = [
        (0.02 + tokens**-mu + weight * size**-nu)
        * np.exp(noise * generator.standard_normal())
        * np.exp(wander * np.convolve(generator.standard_normal(records), kernel, "same"))
        for size in sizes
    ]
    n = len(sizes)
    runs = make_runs(
        {
            "run_id": [f"N{size:.3g}" for size in sizes],
            "model_size": sizes,
            "tokens_total": [tokens[-1]] * n,
            "schedule": ["constant"] * n,
            **coords,
        },
        {
            "step": np.tile(np.arange(1, records + 1), n),
            "tokens": np.tile(tokens, n),
            "eval_loss": np.concatenate(losses),
        },
        row_size=[records] * n,
    )
    return conform(runs)


@pytest.mark.parametrize(("mu", "nu"), [(0.35, 0.35), (0.33, 0.343), (0.4, 0.3)])
def test_both_methods_find_the_exponent_of_a_sum_of_power_laws(mu, nu):
    fit = fit_frontier(long_runs(mu=mu, nu=nu))
    assert fit.crossing_exponent.estimate == pytest.approx(1 + nu / mu, abs=0.01)
    assert fit.exponent.estimate == pytest.approx(1 + nu / mu, abs=0.1)
    assert fit.tokens(6e6) == pytest.approx(1.2e8, rel=0.2)


def test_order_of_runs_and_unit_of_loss_do_not_matter():
    runs = long_runs(noise=2e-3, wander=1e-3)
    moved = take_runs(runs, np.arange(8)[::-1])
    moved = moved.assign(eval_loss=moved["eval_loss"] / np.log(2))
    one, two = fit_frontier(runs), fit_frontier(moved)
    assert two.exponent.estimate == pytest.approx(one.exponent.estimate, rel=1e-9)
    assert two.scale.estimate == pytest.approx(one.scale.estimate, rel=1e-9)
    assert two.crossing_exponent.estimate == pytest.approx(one.crossing_exponent.estimate, rel=1e-6)


def test_tokens_are_the_horizons_compute_over_six_sizes():
    fit = fit_frontier(long_runs())
    assert fit.predict(fit.scale.estimate) == pytest.approx(1.0)
    np.testing.assert_allclose(6 * SIZES * fit.tokens(SIZES), 1e15 * fit.predict(SIZES))
    assert fit.scale.lower < fit.scale.estimate < fit.scale.upper


def test_a_noisier_family_has_wider_intervals():
    calm, noisy = (fit_frontier(long_runs(wander=w, rng=3)) for w in (1e-4, 5e-3))
    widths = [f.crossing_exponent.upper - f.crossing_exponent.lower for f in (calm, noisy)]
    assert widths[1] > 3 * widths[0]


def test_seeds_of_one_size_are_averaged():
    twice = long_runs(sizes=np.repeat(SIZES, 2), run_id=[f"r{i}" for i in range(16)])
    assert fit_frontier(twice).exponent.estimate == pytest.approx(
        fit_frontier(long_runs()).exponent.estimate, rel=1e-9
    )


def test_curves_that_never_cross_are_refused():
    with pytest.raises(DataError, match="4 or more sizes"):
        fit_frontier(long_runs(sizes=SIZES[:2]))
    with pytest.raises(DataError, match="middle sizes"):
        fit_frontier(long_runs(), compute_range=(0.01, 0.02))


def test_a_range_that_falls_is_refused():
    with pytest.raises(ArgumentError, match="two rising"):
        fit_frontier(long_runs(), compute_range=(10, 1))


def test_line_through_exact_points():
    size = np.array([1e6, 1e7, 1e8])
    scale, exponent = kernels.power_line(size, (size / 3e5) ** 2.1)
    assert (scale, exponent) == (pytest.approx(3e5), pytest.approx(2.1))


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    hits = np.zeros(2)
    for seed in range(100):
        fit = fit_frontier(long_runs(noise=4e-3, rng=seed, records=150))
        for i, found in enumerate((fit.exponent, fit.crossing_exponent)):
            hits[i] += found.lower <= 2.0 <= found.upper
    assert (hits >= 88).all(), hits


def test_horizons_of_equal_runs_come_from_their_frontier():
    runs = long_runs()
    compute, source = horizons(runs)
    assert "frontier" in source
    losses = losses_at(runs.isel(run=slice(0, 8)), compute)
    assert (np.diff(losses) < 0).all()
    assert horizons(long_runs(schedule=["linear"] * 8)) is None
    with pytest.raises(DataError, match="both sides"):
        losses_at(runs, np.full(8, 1e9))


def test_public_constant_rate_ladder_gives_the_authors_frontier(shared_curves):
    fit = fit_frontier(shared_curves("qiu_mlp_const"), loss="eval_loss")
    assert fit.scale.estimate == pytest.approx(1346251.612836, abs=0.01)
    assert fit.exponent.estimate == pytest.approx(2.040882, abs=1e-6)
    assert fit.compute_range[0] == pytest.approx(0.1)
