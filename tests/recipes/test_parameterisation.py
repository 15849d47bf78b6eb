from __future__ import annotations

import math

import pytest

from workbench.errors import ArgumentError
from workbench.recipes import (
    PARAMETERISATIONS,
    Scaling,
    learning_rate_multiplier,
    matrix_init_std,
    residual_multiplier,
)


def test_matrices_slow_down_with_width_and_embeddings_do_not():
    assert learning_rate_multiplier("matrix", width=64, base_width=32) == 0.5
    assert learning_rate_multiplier("embedding", width=64, base_width=32) == 1.0


def test_init_and_residual_scale():
    assert matrix_init_std(16) == 0.25
    assert residual_multiplier(2) == 1.0
    assert residual_multiplier(8) == 0.25


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="width must be positive, found 0"):
        learning_rate_multiplier("matrix", width=0, base_width=32)
    with pytest.raises(ArgumentError, match="kind must be"):
        learning_rate_multiplier("norm", width=8, base_width=32)


def test_completep_table():
    scaling = Scaling("completep", width=1024, base_width=256, depth=16, base_depth=2, alpha=0.5)
    groups = scaling.groups()
    assert scaling.residual_multiplier == pytest.approx(8**-0.5)
    assert scaling.logit_multiplier == 0.25
    assert scaling.attention_scale(64) == 1 / 64
    hidden = groups["hidden"]
    assert hidden.learning_rate == pytest.approx(8**-0.5 / 4)
    assert hidden.init_std == 0.5
    assert hidden.weight_decay == 4
    assert hidden.epsilon == pytest.approx(8**-0.5 / 4)
    assert groups["hidden_norm"].learning_rate == pytest.approx(8**-0.5)
    assert groups["hidden_norm"].weight_decay == 0
    assert groups["embedding"].learning_rate == groups["final_norm"].learning_rate == 1
    assert groups["embedding"].epsilon == groups["readout"].epsilon == 0.25


def test_mup_is_completep_without_depth_and_with_decay_left_alone():
    mup = Scaling("mup", width=1024, base_width=256, depth=16, base_depth=2)
    assert mup.residual_multiplier == 1
    assert mup.groups()["hidden"].learning_rate == 0.25
    assert mup.groups()["hidden"].weight_decay == 1
    assert mup.groups()["hidden"].learning_rate == learning_rate_multiplier(
        "matrix", width=1024, base_width=256
    )


def test_standard_changes_nothing():
    plain = Scaling("standard", width=1024, base_width=256, depth=16, base_depth=2)
    assert all(r.learning_rate == r.init_std == r.epsilon == 1 for r in plain.groups().values())
    assert plain.attention_scale(64) == 0.125


@pytest.mark.parametrize("rule", PARAMETERISATIONS)
def test_the_base_shape_is_left_alone_and_undecayed_groups_have_no_timescale(rule):
    scaling = Scaling(rule, width=256, base_width=256, depth=4, base_depth=4)
    assert all(r.learning_rate == r.init_std == r.epsilon == 1 for r in scaling.groups().values())
    assert scaling.residual_multiplier == scaling.logit_multiplier == 1
    taus = scaling.group_timescales(0.2)
    assert taus["hidden"] == taus["embedding"] == taus["readout"] == 0.2
    assert taus["hidden_norm"] == taus["final_norm"] == math.inf


def test_bad_scalings_are_named():
    with pytest.raises(ArgumentError, match="rule must be one of standard, mup, completep"):
        Scaling("ntk", width=8, base_width=8)
    with pytest.raises(ArgumentError, match="base_depth must be positive"):
        Scaling("completep", width=8, base_width=8, depth=2, base_depth=0)
