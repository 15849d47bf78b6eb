from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import DataError
from workbench.laws import fit_chinchilla, fit_overtraining

SIZES, RATIOS = np.meshgrid([1e7, 8e7, 1.5e8, 4e8], [5, 10, 20, 40, 80])
N, M = SIZES.ravel(), RATIOS.ravel()


def law(n, m, e=1.8, a=140.0, b=190.0, eta=0.13):
    return e + (a * m**eta + b * m**-eta) * (6 * n * n * m) ** -eta


@settings(max_examples=15)
@given(st.floats(1, 3), st.floats(0.08, 0.25))
def test_exact_data_give_back_their_parameters(e, eta):
    fit = fit_overtraining(N, M, law(N, M, e=e, eta=eta), draws=0)
    assert fit.eta.estimate == pytest.approx(eta, abs=2e-3)
    assert fit.E.estimate == pytest.approx(e, abs=0.02)
    np.testing.assert_allclose(fit.predict(N, M), law(N, M, e=e, eta=eta), rtol=1e-4)


def test_it_is_chinchilla_with_one_exponent():
    fit = fit_overtraining(N, M, law(N, M), draws=0)
    free = fit_chinchilla(N, N * M, law(N, M), draws=0)
    assert free.alpha.estimate == pytest.approx(2 * fit.eta.estimate, abs=2e-3)
    assert free.beta.estimate == pytest.approx(2 * fit.eta.estimate, abs=2e-3)
    assert fit.a.estimate == pytest.approx(free.A.estimate * 6**fit.eta.estimate, rel=0.02)


def test_an_anchor_takes_off_what_is_a_sizes_own():
    own = np.where(N == 8e7, 1.02, 1.0)
    early = M <= 40
    loss = law(N, M) * own
    fit = fit_overtraining(N[early], M[early], loss[early], draws=0)
    late = M == 80
    plain = np.abs(fit.predict(N[late], M[late]) / loss[late] - 1)
    anchored = np.abs(fit.predict(N[late], M[late], anchored=True) / loss[late] - 1)
    assert anchored.max() < 1e-3 < plain.max()
    assert fit.predict(3e8, 80, anchored=True) == pytest.approx(float(fit.predict(3e8, 80)))


def test_interval_of_a_prediction_holds_the_truth():
    loss = law(N, M) * np.exp(3e-3 * np.random.default_rng(0).standard_normal(len(N)))
    fit = fit_overtraining(N, M, loss)
    found = fit.interval_of(4e8, 640)
    assert found.lower <= law(4e8, 640) <= found.upper
    assert found.upper - found.lower < 0.2


def test_a_point_that_is_far_only_while_it_is_fitted_is_kept():
    """Left out and taken back in turn, it would never come to rest."""
    loss = law(N, M) * np.exp(1e-2 * np.random.default_rng(62).standard_normal(len(N)))
    fit = fit_overtraining(N, M, loss, draws=20)
    assert fit.n_points == 20
    assert fit.warnings == ()
    kept = fit_overtraining(N, M, loss, draws=20, outliers=None)
    assert fit.objective == pytest.approx(kept.objective, rel=1e-9)


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_intervals_cover_the_truth_about_as_often_as_they_say(noise):
    truths, hits = {"E": 1.8, "a": 140.0, "b": 190.0, "eta": 0.13}, np.zeros(4)
    for seed in range(100):
        wobble = np.exp(noise * np.random.default_rng(seed).standard_normal(len(N)))
        params = fit_overtraining(N, M, law(N, M) * wobble, rng=seed).params
        hits += [params[k].lower <= truth <= params[k].upper for k, truth in truths.items()]
    assert (hits >= 90).all(), hits


def test_a_floor_far_below_the_data_is_said_not_to_be_identified():
    wobble = np.exp(2e-2 * np.random.default_rng(1).standard_normal(len(N)))
    fit = fit_overtraining(N, M, law(N, M, e=0.0) * wobble)
    assert any("E is not identified" in text for text in fit.warnings)
    assert fit_overtraining(N, M, law(N, M) * wobble**0.1).warnings == ()


def test_two_sizes_are_not_enough():
    with pytest.raises(DataError, match="values of model_size"):
        fit_overtraining(N[N < 1e8], M[N < 1e8], law(N, M)[N < 1e8])


def test_the_nearest_point_of_a_size_is_the_anchor():
    """Of a size that leaves the law slowly the nearest point says most; two as near share it."""
    drift = np.where(N == 8e7, 1e-2 * np.log2(M / 20), 0.0)
    early = M <= 40
    fit = fit_overtraining(N[early], M[early], (law(N, M) * np.exp(drift))[early], draws=0)
    at = [80, 160, np.sqrt(20 * 40)]
    own = fit.predict(8e7, at, anchored=True) / fit.predict(8e7, at)
    last = fit.points[(fit.points[:, 0] == 8e7) & (fit.points[:, 1] >= 20), 2]
    np.testing.assert_allclose(np.log(own), [last[1], last[1], last.mean()])
    assert fit.predict(8e7, 170, anchored=True) == fit.predict(8e7, 170)


def final_losses(table, *, upto, at, column="loss:c4_val"):
    """Predict the runs at `at` tokens a parameter of each data set from those up to `upto`."""
    warm_up = table["warmup"] * table["batch_sequences"] * 2048 / table["tokens"]
    misses = []
    for _, runs in table.assign(warm_up=warm_up).groupby("dataset"):
        early = runs[(runs["tpp"] <= upto) & (runs["warm_up"] < 0.3)]
        fit = fit_overtraining(early["n_params"], early["tpp"], early[column], draws=0)
        late = runs[runs["tpp"] == at]
        predicted = [
            fit.predict(late["n_params"], late["tpp"], anchored=anchored)
            for anchored in (False, True)
        ]
        misses.append(np.array(predicted) / late[column].to_numpy() - 1)
    return np.abs(np.concatenate(misses, axis=1))


def test_public_table_predicts_80_tokens_a_parameter_from_40_and_fewer(shared_table):
    """One exponent, no long warm-up and the anchor are what predicts 40 best from 20 and fewer."""
    table = shared_table("gadre_overtraining_final")
    plain, anchored = final_losses(table, upto=20, at=40)
    assert len(anchored) == 12
    assert anchored.mean() < 0.0034 < 0.0044 < plain.mean()
    plain, anchored = final_losses(table, upto=40, at=80)
    assert len(anchored) == 13
    assert anchored.mean() < 0.0095 < plain.mean()
    assert np.median(anchored) < 0.008 < np.median(plain)
