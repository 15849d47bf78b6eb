from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.recipes import CompressionTradeoff, compute_optimal

exponent = st.floats(0.2, 0.8)


@settings(max_examples=60)
@given(exponent, exponent, st.floats(1, 1e4), st.floats(1, 1e4), st.floats(1e15, 1e25))
def test_no_neighbouring_split_has_a_lower_loss(alpha, beta, a, b, compute):
    best = compute_optimal(compute, a=a, alpha=alpha, b=b, beta=beta)

    def loss(size):
        return a * size**-alpha + b * (compute / 6 / size) ** -beta

    at = loss(best.model_size)
    assert all(loss(best.model_size * k) >= at for k in (0.5, 0.9, 0.99, 1.01, 1.1, 2))


@settings(max_examples=60)
@given(exponent, exponent, st.floats(1, 1e4), st.floats(1, 1e4), st.floats(1.05, 20))
def test_a_compressed_model_reaches_the_same_loss(alpha, beta, a, b, stretch):
    best = compute_optimal(1e20, a=a, alpha=alpha, b=b, beta=beta)
    tpp = best.tokens_total / best.model_size
    tradeoff = CompressionTradeoff(alpha, beta, tpp)
    k_n = tradeoff.smallest_ratio * stretch
    k_d = float(tradeoff.tokens_ratio(k_n))
    before = a * best.model_size**-alpha + b * best.tokens_total**-beta
    after = a * (k_n * best.model_size) ** -alpha + b * (k_d * best.tokens_total) ** -beta
    assert after == pytest.approx(before, rel=1e-9)
    assert float(tradeoff.compute_ratio(k_n)) >= 1 - 1e-12
    assert float(tradeoff.tpp(k_n)) == pytest.approx(
        k_d * best.tokens_total / (k_n * best.model_size), rel=1e-12
    )


@settings(max_examples=60)
@given(exponent, exponent, st.floats(1.0, 1e4), st.floats(0.1, 1e5))
def test_inverses(alpha, beta, ratio, tpp):
    tradeoff = CompressionTradeoff(alpha, beta)
    size = tradeoff.size_ratio_for_compute(ratio)
    assert size <= 1
    assert float(tradeoff.compute_ratio(size)) == pytest.approx(ratio, rel=1e-6)
    assert float(tradeoff.tpp(tradeoff.size_ratio_for_tpp(tpp))) == pytest.approx(tpp, rel=1e-6)


def test_the_optimum_costs_nothing_extra_and_the_wall_is_refused():
    tradeoff = CompressionTradeoff()
    assert float(tradeoff.compute_ratio(1.0)) == pytest.approx(1)
    assert float(tradeoff.tpp(1.0)) == pytest.approx(20)
    np.testing.assert_array_equal(tradeoff.tokens_ratio([1.0, 0.5]) > 0, True)
    with pytest.raises(ArgumentError, match=r"size_ratio must be above 0\.138"):
        tradeoff.tokens_ratio(0.13)
    with pytest.raises(ArgumentError, match="compute_ratio must be at least 1"):
        tradeoff.size_ratio_for_compute(0.9)
    with pytest.raises(ArgumentError, match="alpha must be positive"):
        CompressionTradeoff(alpha=0.0)
