"""The filter whitens what it models, and the traces of faults are what the filter makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.watch.kernels_glr import Scores, Signatures, null_maxima
from workbench.watch.kernels_records import (
    block_means,
    departed,
    normal_bound,
    on_same_data,
    shared_part,
)
from workbench.watch.kernels_state import Belief, Wander, fit_wander, innovations

X = np.arange(52, 513) / 512
WHITE = 4e-6
WANDER = Wander(lasting=0.3, memory=0.01, level=4e-7, slope=1e-6)


def simulate(runs, rng):
    """Draw healthy residuals from the model."""
    generator = np.random.default_rng(rng)
    level, slope = np.zeros(runs), 0.002 * generator.standard_normal(runs)
    lasting = np.sqrt(WANDER.lasting * WHITE) * generator.standard_normal(runs)
    rows = []
    for k, x in enumerate(X):
        if k:
            du = np.log(x / X[k - 1])
            kept = np.exp(-(x - X[k - 1]) / WANDER.memory)
            level += slope * du + np.sqrt(WANDER.level * du) * generator.standard_normal(runs)
            slope += np.sqrt(WANDER.slope * du) * generator.standard_normal(runs)
            fresh = np.sqrt(WANDER.lasting * WHITE * (1 - kept**2))
            lasting = kept * lasting + fresh * generator.standard_normal(runs)
        rows.append(level + lasting + np.sqrt(WHITE) * generator.standard_normal(runs))
    return np.array(rows).T


@pytest.fixture(scope="module")
def residuals():
    return simulate(24, rng=1)


def test_innovations_of_the_true_model_are_white_and_of_unit_variance(residuals):
    variance, white = np.full(residuals.shape, WHITE), np.full(len(residuals), WHITE)
    found, spread = innovations(residuals, variance, white, X, WANDER, slope_sd=0.002)
    unit = (found / np.sqrt(spread))[:, 20:]
    assert unit.std() == pytest.approx(1, abs=0.03)
    lagged = (unit[:, 1:] * unit[:, :-1]).mean()
    assert abs(lagged) < 4 / np.sqrt(unit[:, 1:].size)


def test_gaps_teach_nothing_and_cost_nothing(residuals):
    variance, white = np.full(residuals.shape, WHITE), np.full(len(residuals), WHITE)
    gappy = residuals.copy()
    gappy[:, 100:140] = np.nan
    gappy[3, :50] = np.nan
    found, spread = innovations(gappy, variance, white, X, WANDER, slope_sd=0.002)
    assert np.isnan(found[:, 100:140]).all()
    assert np.isnan(found[3, :51]).all()
    assert (found / np.sqrt(spread))[:, 140:].std() < 1.1


def test_the_model_is_recovered_from_its_residuals(residuals):
    variance, white = np.full(residuals.shape, WHITE), np.full(len(residuals), WHITE)
    found = fit_wander(residuals, variance, white, X)
    assert found.lasting == pytest.approx(WANDER.lasting, rel=0.6)
    assert found.level == pytest.approx(WANDER.level, rel=1.5)


def test_signatures_are_what_a_fault_leaves_in_the_innovations():
    """The trace of a unit jump equals innovations with it less those without it."""
    z = np.zeros((1, len(X)))
    onset = 200
    variance, white = np.full(z.shape, 1.0), np.ones(1)
    with_jump = z + 1e-3 * (np.arange(len(X)) >= onset)
    plain, spread = innovations(z, variance, white, X, WANDER, slope_sd=0.002)
    moved, _ = innovations(with_jump, variance, white, X, WANDER, slope_sd=0.002)
    belief = Belief.first(z[0, :1], np.ones(1), np.array([WANDER.lasting]), X[0], slope_sd=0.002)
    signatures, slot, traces = Signatures(), None, []
    for k in range(1, len(X)):
        move = belief.predict(float(X[k]), WANDER, np.array([WANDER.lasting]))
        total = belief.expected()[1] + 1.0
        gain = belief.learn(np.zeros(1), total)[0]
        trace, new = signatures.step(move, gain, float(X[k]), float(np.sqrt(total[0])))
        slot = new if k == onset else slot
        if slot is not None and k < onset + 100:
            traces.append(trace[0, slot])
    expected = (moved - plain)[0] / 1e-3 / np.sqrt(spread[0])
    np.testing.assert_allclose(traces, expected[onset : onset + 100], rtol=1e-6)


def test_a_stated_rate_is_kept_on_runs_of_the_model():
    """Of 200 healthy runs that the threshold has not seen, about 5 % exceed the 5 % threshold."""
    x = X[::4]
    maxima = null_maxima(x, np.full(len(x), WHITE), WHITE, WANDER, slope_sd=0.002, draws=1500)
    threshold = float(np.quantile(maxima, 0.95))
    fresh = null_maxima(x, np.full(len(x), WHITE), WHITE, WANDER, slope_sd=0.002, draws=800, rng=9)
    assert float((fresh > threshold).mean()) == pytest.approx(0.05, abs=0.03)


def test_scores_find_the_onset_of_a_jump():
    generator = np.random.default_rng(3)
    scores, belief = Scores(), None
    for k, x in enumerate(X):
        z = np.array([1e-3 * generator.standard_normal() + 6e-3 * (k >= 250)])
        if belief is None:
            belief = Belief.first(z, np.array([1e-6]), np.array([1e-9]), x, slope_sd=0.002)
            continue
        move = belief.predict(float(x), WANDER, np.array([1e-9]))
        mean, variance = belief.expected()
        total = variance + 1e-6
        gain = belief.learn(z - mean, total)[0]
        sd = float(np.sqrt(total[0]))
        score = scores.update(move, gain, float(x), sd, float((z - mean)[0]) / sd)
        if k == 255:
            break
    change = scores.change()
    assert score > 6
    assert change.shape == "jump"
    assert change.lower <= X[250] <= change.upper
    assert change.amplitude == pytest.approx(6e-3, rel=0.25)


def test_blocks_average_the_records_that_end_in_them():
    x = np.array([1 / 512, 1.5 / 512, 2 / 512, 1.0])
    mean, count = block_means(x, np.array([1.0, 2.0, 4.0, np.nan]))
    assert mean[:2].tolist() == [1.0, 3.0]
    assert count[:3].tolist() == [1, 2, 0]
    assert count[-1] == 0


def test_runs_on_the_same_data_are_told_apart_and_so_is_where_one_leaves():
    generator = np.random.default_rng(0)
    shared = generator.standard_normal(4000)
    rows = np.stack([shared + 0.1 * generator.standard_normal(4000) for _ in range(5)])
    rows[3] = generator.standard_normal(4000)
    rows[4, 2000:] = generator.standard_normal(2000)
    assert on_same_data(rows).tolist() == [True, True, True, False, True]
    group = rows[[0, 1, 2, 4]]
    away = departed(group, np.arange(4000) / 4000)
    assert not away[:3].any()
    assert away[3].tolist() == [False] * 8 + [True] * 8
    assert not on_same_data(generator.standard_normal((4, 4000))).any()


def test_places_where_runs_differ_more_than_usual_are_known():
    generator = np.random.default_rng(0)
    rows = 0.01 * generator.standard_normal((9, 500))
    rows[:, 123] += generator.standard_normal(9)
    _, spread = shared_part(rows)
    assert spread.argmax() == 123
    assert np.median(spread) == 0


def test_the_bound_of_normal_maxima():
    generator = np.random.default_rng(0)
    largest = np.abs(generator.standard_normal((4000, 200))).max(axis=1)
    assert float((largest > normal_bound(0.05, 200)).mean()) == pytest.approx(0.05, abs=0.012)
