from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.recipes import (
    LAWS,
    RECIPE_NAMES,
    RECIPES,
    Overrides,
    TransformerShape,
    plan_ladder,
    plan_run,
    plans_to_dataset,
    timescale,
    tokens_to_same_loss,
)


@settings(max_examples=150)
@given(
    st.sampled_from(RECIPE_NAMES),
    st.floats(1e7, 1e11),
    st.floats(5, 2000),
    st.one_of(st.none(), st.integers(64, 8192)),
)
def test_a_plan_keeps_its_own_relations(recipe, size, tpp, width):
    made = plan_run(size, tpp=tpp, recipe=recipe, overrides=Overrides(width=width))
    assert made.tokens_total == made.batch_size * made.total_steps
    assert made.batch_size % made.context == 0
    assert abs(made.tokens_total / (tpp * size) - 1) <= 0.5 * made.batch_size / (tpp * size) + 1e-9
    assert made.tau == pytest.approx(RECIPES[recipe].tau(tpp=tpp), rel=1e-12)
    found = timescale(
        peak_lr=made.peak_lr,
        weight_decay=made.weight_decay,
        batch_size=float(made.batch_size),
        tokens_total=float(made.tokens_total),
    )
    assert found == pytest.approx(made.tau, rel=1e-12)
    assert 1 <= made.warmup_steps <= made.total_steps
    assert made.schedule.factors(made.total_steps)[made.warmup_steps - 1] == pytest.approx(1)
    json.dumps(made.to_dict(), allow_nan=False)


def test_what_is_given_is_kept_and_the_rest_follows():
    by_decay = plan_run(1e9, tpp=20, overrides=Overrides(peak_lr=1e-3, weight_decay=0.1))
    assert by_decay.peak_lr == 1e-3
    assert by_decay.weight_decay == 0.1
    assert by_decay.tau == pytest.approx(1 / (1e-3 * 0.1 * by_decay.total_steps))
    assert any("times the 0.174 of the celerity law" in note for note in by_decay.notes)
    by_tau = plan_run(1e9, tpp=20, overrides=Overrides(tau=0.3, weight_decay=0.1))
    assert by_tau.peak_lr == pytest.approx(1 / (0.3 * 0.1 * by_tau.total_steps))
    with pytest.raises(ArgumentError, match="contradict"):
        plan_run(1e9, tpp=20, overrides=Overrides(tau=0.3, weight_decay=0.1, peak_lr=0.5))
    with pytest.raises(ArgumentError, match="not both"):
        plan_run(1e9, tpp=20, overrides=Overrides(base_lr=0.1, peak_lr=0.1))


@pytest.mark.parametrize("sequences", [1, 3, 63, 252, 378])
def test_a_given_batch_is_kept_to_the_sequence(sequences):
    made = plan_run(
        6e8, tpp=20, recipe="power-lines", overrides=Overrides(batch_size=sequences * 2048.0)
    )
    assert made.batch_size == sequences * 2048


def test_width_gives_every_group_its_settings():
    made = plan_run(
        606e6, tpp=20, recipe="power-lines", overrides=Overrides(width=2048, weight_decay=None)
    )
    assert made.peak_lr == pytest.approx(1.62e-2 / 8)
    groups = made.groups
    assert groups is not None
    assert groups["hidden"].peak_lr == made.peak_lr
    assert groups["hidden"].tau == pytest.approx(made.tau)
    assert groups["embedding"].peak_lr == pytest.approx(1.62e-2)
    assert groups["embedding"].tau == pytest.approx(made.tau / 8)
    assert groups["final_norm"].tau == np.inf
    assert made.to_dict()["groups"]["final_norm"]["tau"] is None
    assert any("embeddings keep the base rate" in note for note in made.notes)
    deep = Overrides(width=2048, depth=10, rule="completep")
    kept = plan_run(606e6, tpp=20, recipe="power-lines", overrides=deep)
    assert kept.groups is not None
    assert kept.groups["embedding"].tau == pytest.approx(kept.tau)
    assert not any("embeddings keep" in note for note in kept.notes)


def test_a_proxy_is_named_where_the_rate_belongs_to_it():
    lines = plan_run(1e9, tpp=20, recipe="power-lines").notes
    assert any("μP proxy of width 256" in note for note in lines)
    assert any("whose shape is not published" in note for note in plan_run(1e9, tpp=20).notes)
    own = plan_run(1e9, tpp=20, overrides=Overrides(width=1024, base_width=128, base_lr=0.1))
    assert own.peak_lr == pytest.approx(0.0125)
    assert not any("proxy" in note for note in own.notes)


def test_extrapolation_is_told():
    assert any("τ is extrapolated: tpp 2000" in n for n in plan_run(1e9, tpp=2000).notes)
    assert any("model_size 1.00M is outside" in n for n in plan_run(1e6, tpp=20).notes)
    assert not any("extrapolated" in n for n in plan_run(1e9, tpp=80).notes)


def test_a_shape_gives_the_detailed_count_and_is_compared_with_the_size():
    shape = TransformerShape(640, 13, 128_256, 5120, context=8192)
    made = plan_run(float(shape.model_size()), tpp=20, shape=shape)
    assert made.flops_count == "matmul"
    assert made.flops == shape.flops(float(made.tokens_total))
    assert not any("The shape has" in note for note in made.notes)
    other = plan_run(1e9, tpp=20, shape=shape, flops_count="table9")
    assert any("The shape has 271M parameters" in note for note in other.notes)
    with pytest.raises(ArgumentError, match="needs the shape"):
        plan_run(1e9, tpp=20, flops_count="matmul")


def test_schedules_and_warmup_can_be_chosen():
    given = Overrides(schedule="wsd", decay_fraction=0.3, final_lr_fraction=0.1, warmup_fraction=0)
    made = plan_run(1e9, tpp=20, overrides=given)
    assert made.schedule.name == "wsd"
    assert made.warmup_steps == 1
    assert float(made.schedule.at(1.0)) == pytest.approx(0.1)
    with pytest.raises(ArgumentError, match="warmup_fraction must be in"):
        plan_run(1e9, tpp=20, overrides=Overrides(warmup_fraction=1.0))


def test_impossible_plans_are_refused():
    with pytest.raises(ArgumentError, match="model_size must be positive"):
        plan_run(0.0, tpp=20)
    with pytest.raises(ArgumentError, match="not one whole step"):
        plan_run(1e6, tpp=20, overrides=Overrides(batch_size=1e9))
    with pytest.raises(ArgumentError, match="at most one step"):
        plan_run(1e6, tpp=20, overrides=Overrides(tau=1e-5))
    with pytest.raises(ArgumentError, match="recipe must be one of celerity, power-lines"):
        plan_run(1e9, tpp=20, recipe="folklore")
    with pytest.raises(ArgumentError, match="belong to one model"):
        plan_ladder([1e8, 1e9], tpp=20, overrides=Overrides(width=512))


def test_a_ladder_becomes_planned_runs():
    plans, notes = plan_ladder([1e8, 1e9], tpp=20, recipe="power-lines")
    assert notes == ()
    ds = plans_to_dataset(plans)
    assert ds.sizes == {"run": 2}
    assert ds["status"].to_numpy().tolist() == ["planned"] * 2
    np.testing.assert_allclose(
        ds["tau"],
        ds["batch_size"] / (ds["peak_lr"] * ds["weight_decay"] * ds["tokens_total"]),
    )


def test_a_plan_reads_as_text_and_as_html():
    made = plan_run(1e9, tpp=20)
    assert "1.00B parameters, 20 tokens per parameter, recipe celerity" in str(made)
    html = made._repr_html_()
    assert html.count("<tr>") == 7 + len(made.notes)
    assert "<th>weight decay</th>" in html


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_laws_scale_as_they_say(law):
    inputs = {"tpp": 40.0, "model_size": 1e9, "tokens_total": 4e10, "compute": 2.4e20}
    for name, exponent in law.exponents:
        doubled = inputs | {name: 2 * inputs[name]}
        assert law(**doubled) / law(**inputs) == pytest.approx(2**exponent)
        with pytest.raises(ArgumentError, match=f"needs {name}"):
            law(**{key: value for key, value in inputs.items() if key != name})
        np.testing.assert_allclose(
            law(**{key: np.array([value, value]) for key, value in inputs.items()}),
            law(**inputs),
        )


def test_published_rates_and_batches_for_comparison():
    assert LAWS["learning-rate-deepseek"](compute=1e20) == pytest.approx(9.86e-4, rel=1e-2)
    assert LAWS["batch-step-law"](tokens_total=1e11) / 2048 == pytest.approx(540, rel=0.02)
    assert float(tokens_to_same_loss(2e6, critical=2e6)) == 2
