from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError
from workbench.recipes import FLOP_COUNTS, TransformerShape
from workbench.training.shape import ModelShape


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 300), st.booleans(), st.booleans())
def test_conventions_differ_by_the_tables(width, depth, vocab, gated, tied):
    shape = TransformerShape(width, depth, vocab, 4 * width, gated=gated, tied=tied)
    table = vocab * width
    assert shape.model_size("no_input_embedding") - shape.model_size("no_embedding") == table
    assert shape.model_size() - shape.model_size("no_embedding") == (1 if tied else 2) * table


@pytest.mark.parametrize("width", [640, 768, 2048])
def test_sizes_of_qiu_et_al(width):
    images = TransformerShape(width, 3, 256, width, context=1024, learned_positions=True)
    assert images.model_size() == 256 * width + 1024 * width + 18 * width**2 + 256 * width


def test_the_trainer_counts_alike():
    ours = ModelShape(width=48, depth=2, vocab=128, context=32)
    shape = TransformerShape(48, 2, 128, 4 * 48, context=32)
    assert shape.model_size() == ours.model_size
    assert shape.flops(1.0) == ours.flops_per_token


def test_shared_keys_and_values_take_fewer_parameters():
    full = TransformerShape(64, 1, 10, 256, heads=8)
    shared = TransformerShape(64, 1, 10, 256, heads=8, kv_heads=2)
    assert full.block - shared.block == 2 * 64**2 * 3 // 4
    with pytest.raises(ArgumentError, match="kv_heads must divide heads"):
        TransformerShape(64, 1, 10, 256, heads=8, kv_heads=3)


@given(st.sampled_from(FLOP_COUNTS), st.floats(1, 1e12))
def test_flops_are_proportional_to_tokens(count, tokens):
    shape = TransformerShape(64, 2, 100, 256, context=128)
    assert shape.flops(tokens, count) == pytest.approx(tokens * shape.flops(1.0, count))
    assert np.allclose(
        shape.flops(np.array([1.0, tokens]), count),
        [shape.flops(1.0, count)] * np.array([1, tokens]),
    )


def test_tokens_per_parameter_by_another_convention():
    shape = TransformerShape(640, 13, 128_256, 8 * 640)
    tpp = shape.convert_tpp(20.0, given="all", wanted="no_embedding")
    assert tpp * shape.model_size("no_embedding") == pytest.approx(20 * shape.model_size())
    assert tpp > 20


def test_bad_arguments_are_named():
    shape = TransformerShape(8, 1, 10, 32)
    with pytest.raises(ArgumentError, match="depth must be at least 1"):
        TransformerShape(8, 0, 10, 32)
    with pytest.raises(ArgumentError, match="size_convention must be one of"):
        shape.model_size("most")
    with pytest.raises(ArgumentError, match="count must be one of"):
        shape.flops(1.0, "most")
