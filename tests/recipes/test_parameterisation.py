from __future__ import annotations

import pytest

from workbench.errors import ArgumentError
from workbench.recipes import learning_rate_multiplier, matrix_init_std, residual_multiplier


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
