from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.collapse import collapse_quality, collapse_report, kernels, kernels_quality
from workbench.collapse.kernels_evidence import log_evidence_ratio, orthonormal_contrasts
from workbench.curves import kernels_smooth, smooth
from workbench.errors import DataError

POINTS = 80
FLOOR = 1.7


def family(rng, *, sizes=5, seeds=4, apart=0.0, noise=0.01, constant_rate=False):
    """Return loss curves (run, progress) that share one shape up to `apart`, with seed noise.

    The noise of the reducible loss wanders like a random walk and is partly white; under a
    decaying rate its size falls to nothing, under a constant rate it stays.
    """
    x = np.arange(1, POINTS + 1) / POINTS
    n = sizes * seeds
    size = np.repeat(1e6 * 2.0 ** np.arange(sizes), seeds)
    rate = np.ones(POINTS) if constant_rate else np.sqrt(1.01 - x)
    wander = np.cumsum(rate * rng.standard_normal((n, POINTS)), axis=1) / np.sqrt(POINTS)
    wander += 0.3 * rate * rng.standard_normal((n, POINTS))
    bend = apart * np.linspace(-1, 1, sizes)[np.repeat(np.arange(sizes), seeds)]
    shape = x**-0.3 * (1 + bend[:, None] * np.sin(np.pi * x))
    loss = FLOOR + 20 * size[:, None] ** -0.2 * shape * (1 + noise * wander)
    return xr.DataArray(
        loss,
        dims=("run", "progress"),
        coords={
            "run_id": ("run", [f"r{i}" for i in range(n)]),
            "model_size": ("run", size),
            "seed": ("run", np.tile(np.arange(float(seeds)), sizes)),
            "tau": ("run", np.full(n, 0.2)),
            "tpp": ("run", np.full(n, 20.0)),
            "schedule": ("run", ["linear"] * n),
            "progress": x,
        },
        name="eval_loss",
    )


def test_S_is_its_definition():
    """Against two loops over settings and points, as in Houdayer & Hartmann 2004."""
    rng = np.random.default_rng(0)
    mean, error = 1 + 0.01 * rng.random((4, 9)), 0.01 + 0.01 * rng.random((4, 9))
    owner = np.array([0, 0, 1, 2])
    total = []
    for i in range(4):
        for j in range(9):
            others = [k for k in range(4) if owner[k] != owner[i]]
            weight = sum(1 / error[k, j] ** 2 for k in others)
            master = sum(mean[k, j] / error[k, j] ** 2 for k in others) / weight
            total.append((mean[i, j] - master) ** 2 / (error[i, j] ** 2 + 1 / weight))
    found = kernels_quality.squared_distances(mean, error, owner)
    np.testing.assert_allclose(found.ravel(), total, rtol=1e-9)


@pytest.mark.parametrize(("sizes", "seeds"), [(8, 5), (4, 3), (3, 2)])
def test_S_is_one_where_the_noise_is_all_there_is(sizes, seeds):
    """Its mean over many families is 1 although the noise is estimated from few seeds."""
    rng = np.random.default_rng(1)
    cells = np.split(np.arange(sizes * seeds), sizes)
    average = kernels_quality.averaging(cells, sizes * seeds)
    freedom = sizes * (seeds - 1)
    draws = 1 + 0.01 * rng.standard_normal((400, sizes * seeds, 50))
    variance = kernels_quality.pooled_variance(draws, cells)[:, None, :]
    error = np.broadcast_to(np.sqrt(variance / seeds), (400, sizes, 50))
    found = kernels_quality.squared_distances(average @ draws, error, np.arange(sizes))
    assert found.mean() * (freedom - 2) / freedom == pytest.approx(1, abs=0.05)


def test_a_family_of_one_curve_is_told_from_one_that_is_not():
    rng = np.random.default_rng(2)
    one = [collapse_quality(family(rng), offset=FLOOR) for _ in range(25)]
    values = np.array([q.S.estimate for q in one])
    assert values.mean() == pytest.approx(1, abs=0.25)
    assert np.mean([q.one for q in one]) >= 0.85
    assert np.mean([q.log_evidence > 0 for q in one]) >= 0.75
    apart = [collapse_quality(family(rng, apart=0.03), offset=FLOOR) for _ in range(10)]
    assert not any(q.one for q in apart)
    assert all(q.log_evidence < 0 for q in apart)
    assert all(q.S.lower > 2 for q in apart)


@pytest.mark.parametrize("apart", [0.0, 0.02])
def test_intervals_cover(apart):
    """S and Δ/σ half-way of many families lie in the intervals of single families."""
    rng = np.random.default_rng(3)
    found = [collapse_quality(family(rng, apart=apart), offset=FLOOR) for _ in range(80)]
    for part in ([q.S for q in found], [q.ratio_half for q in found]):
        target = np.mean([p.estimate for p in part])
        covered = np.mean([p.lower <= target <= p.upper for p in part])
        assert covered >= 0.84
        assert np.mean([p.lower <= p.estimate <= p.upper for p in part]) == 1


@settings(max_examples=8)
@given(st.floats(0.1, 10), st.floats(-1, 3), st.permutations(range(12)))
def test_units_floor_and_order_do_not_matter(scale, shift, order):
    """The offset moves along with the loss: bits instead of nats, another zero, another order."""
    loss = family(np.random.default_rng(4), sizes=4, seeds=3, apart=0.01)
    moved = (scale * (loss + shift)).isel(run=list(order))
    one = collapse_quality(loss, offset=FLOOR, draws=20)
    two = collapse_quality(moved, offset=scale * (FLOOR + shift), draws=20)
    assert two.S.estimate == pytest.approx(one.S.estimate, rel=1e-6)
    assert two.ratio_half.estimate == pytest.approx(one.ratio_half.estimate, rel=1e-6)
    assert two.log_evidence == pytest.approx(one.log_evidence, rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(two.by_size, one.by_size, rtol=1e-6)


def test_the_size_that_stands_off_has_the_largest_share():
    loss = family(np.random.default_rng(5), apart=0.0)
    bent = loss * xr.where(loss["model_size"] == 4e6, 1 + 0.05 * (1 - loss["progress"]), 1.0)
    found = collapse_quality(bent.transpose("run", "progress").assign_attrs(loss.attrs), offset=0.5)
    assert float(found.by_size["model_size"][np.argmax(found.by_size.values)]) == 4e6
    assert float(found.by_progress.mean()) == pytest.approx(found.S.estimate)


def test_the_tail_tells_decay_from_a_constant_rate():
    rng = np.random.default_rng(6)
    decay = collapse_quality(family(rng, seeds=8), offset=FLOOR).tail
    constant = collapse_quality(family(rng, seeds=8, constant_rate=True), offset=FLOOR).tail
    assert decay.closing.estimate < constant.closing.estimate
    assert constant.deviation.lower > decay.deviation.upper
    assert decay.ratio is not None


def test_without_seeds_the_errors_are_those_of_the_records():
    """White record noise of known size, smoothed: S stays 1 only if errors know the smoother."""
    rng = np.random.default_rng(7)
    x = np.arange(1, 201) / 200
    values = []
    for _ in range(20):
        clean = np.array([[5.0], [4.0], [3.0], [2.5]]) * x**-0.1
        raw = _curves(clean * (1 + 0.01 * rng.standard_normal(clean.shape)), x)
        line = smooth(raw, width=0.05)
        found = collapse_quality(line, raw=raw, smoother=partial(smooth, width=0.05), draws=60)
        assert found.ratio_half is None
        assert found.log_evidence is None
        assert "record noise" in found.errors
        values.append(found.S.estimate)
    assert np.mean(values) == pytest.approx(1.15, abs=0.35)
    naive = collapse_quality(line, draws=60)
    assert naive.S.estimate > 2 * found.S.estimate


def _curves(loss, x):
    n = len(loss)
    return xr.DataArray(
        loss,
        dims=("run", "progress"),
        coords={
            "run_id": ("run", [f"r{i}" for i in range(n)]),
            "model_size": ("run", 1e6 * 2.0 ** np.arange(n)),
            "seed": ("run", np.zeros(n)),
            "tau": ("run", np.full(n, 0.2)),
            "tpp": ("run", np.full(n, 20.0)),
            "schedule": ("run", ["linear"] * n),
            "progress": x,
        },
        name="train_loss",
    )


def test_blocks_keep_the_memory_of_the_noise():
    rng = np.random.default_rng(8)
    slow = kernels_smooth.moving_average(rng.standard_normal((1, 4000)), 5)
    drawn = kernels_quality.block_noise(slow, 4000, 40, 20, rng)[:, 0]
    lag = np.mean([np.corrcoef(row[:-3], row[3:])[0, 1] for row in drawn])
    assert lag == pytest.approx(np.corrcoef(slow[0, :-3], slow[0, 3:])[0, 1], abs=0.1)
    assert np.isin(drawn, slow).all()


def test_contrasts_are_orthonormal_and_blind_to_a_shift():
    basis = orthonormal_contrasts(np.ones(5))
    np.testing.assert_allclose(basis @ basis.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(basis @ np.ones(5), 0, atol=1e-12)


def test_evidence_is_the_ratio_of_two_normal_densities():
    """With the grids reduced to one point each, against dense covariances."""
    from scipy.special import gammaln

    from workbench.collapse import kernels_evidence as ke

    rng = np.random.default_rng(9)
    x = np.linspace(0.2, 0.9, 6)
    counts = np.array([3, 1, 2])
    seeds, means = rng.standard_normal((4, 6)), rng.standard_normal((3, 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ke, "NOISE_LENGTHS", np.array([0.2]))
        patch.setattr(ke, "WHITE_SHARES", np.array([0.1]))
        patch.setattr(ke, "CURVE_LENGTHS", np.array([0.4]))
        patch.setattr(ke, "CURVE_VARIANCES", np.array([2.0]))
        found = log_evidence_ratio(x, seeds, means, counts)
    noise = 0.9 * np.exp(-np.abs(x[:, None] - x) / 0.2) + 0.1 * np.eye(6)
    smooth_part = 2.0 * np.exp(-((x[:, None] - x) ** 2) / (2 * 0.4**2))
    contrasts = orthonormal_contrasts(np.sqrt(counts.astype(float)))
    between = (contrasts @ (np.sqrt(counts)[:, None] * means)).ravel()

    def density(own):
        added = np.kron(contrasts * counts @ contrasts.T, own)
        covariance = np.kron(np.eye(2), noise) + added
        square = between @ np.linalg.solve(covariance, between)
        square += sum(s @ np.linalg.solve(noise, s) for s in seeds)
        log_det = np.linalg.slogdet(covariance)[1] + 4 * np.linalg.slogdet(noise)[1]
        n = 36
        return gammaln(n / 2) - log_det / 2 - n / 2 * np.log(square / 2)

    expected = density(np.zeros((6, 6))) - density(smooth_part)
    assert found == pytest.approx(expected, rel=1e-8)


def test_bootstrap_by_counts_is_the_bootstrap_by_rows():
    rng = np.random.default_rng(10)
    ell = 1.3 + 0.01 * rng.random((6, 20))
    cells = [np.array([0, 1, 2]), np.array([3, 4]), np.array([5])]
    counts = kernels.bootstrap_counts(cells, 30, rng)
    assert (counts[:, :3].sum(1) == 3).all()
    assert (counts[:, 5] == 1).all()
    rows = [np.repeat(np.arange(6), c.astype(int)) for c in counts]
    expected = [kernels.excess_spread(ell[r]) for r in rows]
    np.testing.assert_allclose(kernels.drawn_excess_spread(ell, counts), expected, rtol=1e-9)


def test_one_size_or_no_noise_says_the_fix(make_family):
    with pytest.raises(DataError, match="two or more sizes"):
        collapse_quality(family(np.random.default_rng(0), sizes=1))
    report = collapse_report(make_family(noise=5e-3), offset=1.7, quality=True)
    assert report.quality is None
    assert "replicates coincide" in report.no_quality
    data = report.to_dict()["quality"]
    assert data["name"].startswith("mean sd")
    assert "replicates coincide" in data["no_S"]


def test_report_carries_quality_into_words_and_json(make_family):
    runs = make_family(noise=5e-3, records=100)
    rng = np.random.default_rng(11)
    noisy = runs["eval_loss"].to_numpy() * (1 + 1e-3 * rng.standard_normal(runs.sizes["obs"]))
    runs = runs.assign(eval_loss=("obs", noisy))
    plain = collapse_report(runs, offset=1.7)
    report = collapse_report(runs, offset=1.7, quality=True, neighbours=runs)
    assert "S = " not in str(plain)
    assert plain.to_dict()["quality"]["no_S"] == "not asked for"
    data = report.to_dict()
    assert {"name", "value", "lower", "upper", "one_curve"} <= set(data["quality"])
    assert data["quality"]["lower"] <= data["quality"]["value"] <= data["quality"]["upper"]
    assert all(cause["explained"] < 0.5 for cause in data["worst_run"]["causes"])
    assert "residual" in data["worst_run"]["why"]
    assert "95 % intervals: Δ/σ half-way" in data["verdict"]
    assert data["excess_spread"] == plain.to_dict()["excess_spread"]
    assert str(report.quality.sentence()) in str(report)


TABLE_POINTS = 200  # the tables' shares of training are among its grid points
REFERENCE = {
    "qiu_c5m": (
        3.132387,
        [53.07, 16.27, 7.681, 5.053, 3.222, 2.418, 1.138],
        [10.97, 10.86, 8.090, 9.621, 8.905, 8.319, 8.995],
    ),
    "qiu_mlp": (
        0.0013265,
        [32.77, 12.98, 7.137, 5.017, 3.942, 2.908, 1.680],
        [5.196, 3.793, 2.596, 3.296, 2.231, 2.568, 3.020],
    ),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_published_deviation_and_noise_tables(shared_curves, name):
    """Δ and mean σ in units of 1e-3, ddof 0, computed independently on the same public curves."""
    offset, deviation, noise = REFERENCE[name]
    report = collapse_report(
        shared_curves(name), loss="eval_loss", offset=offset, quality=True, points=TABLE_POINTS
    )
    at = {"progress": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9], "method": "nearest"}
    np.testing.assert_allclose(1e3 * report.deviation.sel(**at), deviation, rtol=0.005)
    np.testing.assert_allclose(1e3 * report.noise_floor.sel(**at), noise, rtol=0.005)
    half = report.quality.ratio_half
    assert half.lower < half.estimate < half.upper
    assert (half.upper < 1) == (name == "qiu_c5m")
    assert report.quality.S.lower > report.quality.one_curve[1]
