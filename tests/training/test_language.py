from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.training.language import MarkovLanguage, _alias_tables, text_generator


@pytest.fixture(scope="module")
def language():
    return MarkovLanguage(vocab=16)


def text(language, sequences, context, purpose="held-out", seed=0, block=0):
    return language.sample(sequences, context, text_generator(purpose, seed, block))


def test_entropy_equals_brute_force_over_long_texts():
    # The per-token entropy of texts of n tokens, summed over every text, approaches the rate:
    # H(X₃ … X_n | X₁ X₂) / (n − 2) is exact for a chain started from its stationary pairs.
    language = MarkovLanguage(vocab=3, lag1=1.0, lag2=2.0)
    total, length = 0.0, 6
    for text in itertools.product(range(3), repeat=length):
        start = language.stationary[text[0], text[1]]
        steps = [language.transition[text[i : i + 3]] for i in range(length - 2)]
        total -= start * np.prod(steps) * np.log(steps).sum()
    assert language.entropy == pytest.approx(total / (length - 2), rel=1e-12)


def test_stationary_pairs_do_not_move(language):
    moved = np.einsum("ab,abx->bx", language.stationary, language.transition)
    np.testing.assert_allclose(moved, language.stationary, atol=1e-14)
    assert language.stationary.sum() == pytest.approx(1.0)


def test_sampled_surprise_averages_to_the_entropy(language):
    batch = text(language, 20_000, 12)
    error = batch.nll.std() / np.sqrt(batch.nll.size)
    # Neighbouring tokens are correlated, so allow twice the error of independent ones.
    assert abs(batch.nll.mean() - language.entropy) < 2 * 3 * error


def test_sampled_triples_follow_the_transition_table(language):
    batch = text(language, 200_000, 3)
    counts = np.zeros((16, 16, 16))
    np.add.at(counts, tuple(batch.tokens[:, :3].T), 1)
    expected = language.stationary[..., None] * language.transition * len(batch.tokens)
    busy = expected > 20
    chi_square = ((counts - expected) ** 2 / expected)[busy].sum()
    assert abs(chi_square - busy.sum()) < 5 * np.sqrt(2 * busy.sum())


def test_surprise_belongs_to_the_tokens(language):
    batch = text(language, 5, 8)
    tokens = batch.tokens
    for position in range(2, 9):
        p = language.transition[
            tokens[:, position - 2], tokens[:, position - 1], tokens[:, position]
        ]
        np.testing.assert_allclose(batch.nll[:, position - 2], -np.log(p))


def test_streams_seeds_and_blocks_share_nothing(language):
    drawn = [
        text(language, 4, 8, *words).tokens.tobytes()
        # Seeds that differ only in high bits must differ too, and not be another block.
        for words in (
            ("train", 0, 0),
            ("train", 0, 1),
            ("train", 2**32, 0),
            ("train", 2**40, 0),
            ("train", 0, 256),
            ("held-out", 0, 0),
        )
    ]
    assert len(set(drawn)) == len(drawn)
    assert text(language, 4, 8).tokens.tobytes() == drawn[-1]


@given(weights=st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=12))
def test_alias_tables_reproduce_any_distribution(weights):
    p = np.array(weights)[None] / np.sum(weights)
    keep, alias = _alias_tables(p)
    rebuilt = keep[0].copy()
    np.add.at(rebuilt, alias[0], 1 - keep[0])
    np.testing.assert_allclose(rebuilt / len(weights), p[0], atol=1e-14)
