from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.recipes import (
    batch_size_for_tau,
    peak_lr_for_tau,
    steps_for_tokens,
    timescale,
    tokens_for_tpp,
    tokens_per_parameter,
    training_compute,
    weight_decay_for_tau,
)

CONTEXT, PROXY_WIDTH, BASE_LR = 2048, 256, 1.62e-2
# Parameters and width of the ladder of Bergsma et al. 2025 (table 3).
LADDER = {
    "111M": (109.4e6, 768),
    "266M": (265.1e6, 768),
    "610M": (606.2e6, 2048),
    "1.7B": (1.7135e9, 2048),
    "3.3B": (3.324e9, 2048),
}


def tau_of(size, *, tpp, sequences, weight_decay=0.1, base_lr=BASE_LR):
    parameters, width = LADDER[size]
    return timescale(
        peak_lr=base_lr * PROXY_WIDTH / width,
        weight_decay=weight_decay,
        batch_size=sequences * CONTEXT,
        tokens_total=tokens_for_tpp(tpp, model_size=parameters),
    )


@pytest.mark.parametrize(
    ("size", "tpp", "sequences", "printed"),
    [
        ("610M", 80, 126, 0.026),
        ("610M", 80, 252, 0.053),
        ("610M", 80, 504, 0.105),
        ("610M", 80, 1008, 0.210),
        ("610M", 80, 2016, 0.421),
        ("111M", 20, 192, 0.333),
        ("266M", 20, 378, 0.270),
        ("1.7B", 20, 1008, 0.297),
        ("3.3B", 20, 2016, 0.307),
        ("111M", 20, 96, 0.166),
        ("610M", 20, 252, 0.210),
        ("1.7B", 20, 504, 0.149),
    ],
)
def test_timescales_printed_in_the_paper(size, tpp, sequences, printed):
    assert tau_of(size, tpp=tpp, sequences=sequences) == pytest.approx(printed, rel=0.015)


@pytest.mark.parametrize(
    ("change", "printed"),
    [
        ({"base_lr": 4.05e-3}, 0.421),
        ({"base_lr": 6.48e-2}, 0.026),
        ({"weight_decay": 0.025}, 0.421),
        ({"weight_decay": 0.4}, 0.026),
    ],
)
def test_learning_rate_and_decay_sweeps_of_the_paper(change, printed):
    assert tau_of("610M", tpp=80, sequences=504, **change) == pytest.approx(printed, rel=0.015)


def test_llama_2_recipes():
    known = {"weight_decay": 0.1, "batch_size": 4e6, "tokens_total": 2e12}
    assert timescale(peak_lr=3e-4, **known) == pytest.approx(0.07, abs=0.005)
    assert timescale(peak_lr=1.5e-4, **known) == pytest.approx(0.13, abs=0.005)


positive = st.floats(1e-6, 1e6)


@given(lr=positive, decay=positive, batch=positive, tokens=positive)
def test_every_inverse_undoes_the_timescale(lr, decay, batch, tokens):
    tau = timescale(peak_lr=lr, weight_decay=decay, batch_size=batch, tokens_total=tokens)
    known = {"peak_lr": lr, "weight_decay": decay, "batch_size": batch, "tokens_total": tokens}

    def given_all_but(name):
        return {key: value for key, value in known.items() if key != name}

    for inverse, name in (
        (weight_decay_for_tau, "weight_decay"),
        (peak_lr_for_tau, "peak_lr"),
        (batch_size_for_tau, "batch_size"),
    ):
        assert inverse(tau, **given_all_but(name)) == pytest.approx(known[name], rel=1e-12)


def test_arrays_broadcast():
    tau = timescale(
        peak_lr=np.array([1e-3, 2e-3]),
        weight_decay=np.array(0.1),
        batch_size=np.array(1e3),
        tokens_total=np.array(1e7),
    )
    np.testing.assert_allclose(tau, [1.0, 0.5])


def test_tokens_steps_and_compute():
    tokens = tokens_for_tpp(20.0, model_size=1e6)
    assert tokens_per_parameter(tokens_total=tokens, model_size=1e6) == 20
    assert steps_for_tokens(tokens, batch_size=30_000) == 667
    assert training_compute(model_size=1e6, tokens_total=tokens) == 1.2e14


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_value_that_is_not_positive_is_named(value):
    with pytest.raises(ArgumentError, match="weight_decay must be positive"):
        timescale(peak_lr=1.0, weight_decay=value, batch_size=1.0, tokens_total=1.0)


def test_a_batch_larger_than_the_run():
    with pytest.raises(ArgumentError, match="2000 tokens but the run may see only 1000"):
        steps_for_tokens(1000, batch_size=2000)
