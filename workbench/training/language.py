"""A language with exactly known entropy, made to be learnt gradually by tiny models.

An order-2 Markov chain over a small vocabulary whose logits are a sum of three effects,

    log p(x | a, b) = log zipf(x) + s₁ G₁[b, x] + s₂ G₂[a, x] − log Z(a, b),

``b`` the last token and ``a`` the one before. G₁ and G₂ are random orthogonal matrices scaled to
unit variance, so there is no short description to jump to: models improve steadily, which is what
a family needs to collapse at this scale. The entropy rate is exact and −log p of every token drawn
is known, so a batch's loss can be reported without most of its sampling noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.training.task import stream_generator

Purpose = Literal["train", "held-out"]
_STREAM_OF: dict[Purpose, int] = {"train": 0, "held-out": 1}
_STATIONARY_TOLERANCE = 1e-15


@dataclass(frozen=True)
class Text:
    """Sequences and how surprising each of their tokens truly is.

    Parameters
    ----------
    tokens : ndarray of int64, shape (sequences, context + 1)
        Inputs are all but the last column, targets all but the first.
    nll : ndarray of float64, shape (sequences, context - 1), nats
        True −log p of columns 2 onwards; the first two tokens of a sequence are its seed context.
    """

    tokens: NDArray[np.int64]
    nll: NDArray[np.float64]


class MarkovLanguage:
    """Additive order-2 Markov language.

    Parameters
    ----------
    vocab : int
        Number of tokens V.
    zipf : float
        Exponent of the base frequencies, p ∝ rank^−zipf.
    lag1, lag2 : float
        Strengths s₁, s₂ of the last token's effect and the one before.
    seed : int
        Seed of the effects: another seed is another language.

    Attributes
    ----------
    transition : ndarray of float64, shape (V, V, V)
        p(x | a, b), indexed [a, b, x].
    stationary : ndarray of float64, shape (V, V)
        Long-run frequency of the pair (a, b).
    entropy : float
        Entropy rate in nats per token: the loss no model can beat.
    """

    def __init__(
        self,
        *,
        vocab: int = 128,
        zipf: float = 1.0,
        lag1: float = 1.5,
        lag2: float = 1.0,
        seed: int = 7,
    ) -> None:
        rng = np.random.default_rng(seed)
        base = -zipf * np.log(np.arange(1, vocab + 1))
        last, before = _random_effect(rng, vocab), _random_effect(rng, vocab)
        logits = base + lag1 * last[None] + lag2 * before[:, None]
        self.vocab = vocab
        self.transition = np.exp(logits - logits.max(-1, keepdims=True))
        self.transition /= self.transition.sum(-1, keepdims=True)
        self.stationary = _stationary(self.transition)
        surprise = -np.log(self.transition)
        self.entropy = float(np.einsum("ab,abx,abx", self.stationary, self.transition, surprise))
        keep, alias = _alias_tables(self.transition.reshape(vocab**2, vocab))
        self._keep, self._alias = keep.ravel(), alias.ravel()
        self._surprise = surprise.ravel()
        self._pair_cdf = np.cumsum(self.stationary)

    def sample(self, sequences: int, context: int, rng: np.random.Generator) -> Text:
        """Draw sequences of ``context + 1`` tokens, each started from the stationary pairs.

        Parameters
        ----------
        sequences, context : int
            Number of sequences and length of a model's input.
        rng : Generator
            Source of randomness.

        Returns
        -------
        Text
        """
        vocab = self.vocab
        tokens = np.empty((context + 1, sequences), np.int64)
        nll = np.empty((context - 1, sequences))
        pair = np.searchsorted(self._pair_cdf, rng.random(sequences) * self._pair_cdf[-1])
        tokens[0], tokens[1] = np.divmod(pair, vocab)
        for position in range(2, context + 1):
            # One uniform number chooses both the cell of the alias table and which half of it.
            scaled = rng.random(sequences) * vocab
            cell = scaled.astype(np.int64)
            row = pair * vocab
            entry = row + cell
            token = np.where(scaled - cell < self._keep[entry], cell, self._alias[entry])
            nll[position - 2] = self._surprise[row + token]
            tokens[position] = token
            pair = (pair % vocab) * vocab + token
        return Text(np.ascontiguousarray(tokens.T), np.ascontiguousarray(nll.T))


def text_generator(purpose: Purpose, seed: int, block: int) -> np.random.Generator:
    """Return the source of randomness of one block of one stream."""
    return stream_generator(_STREAM_OF[purpose], seed, block)


def _random_effect(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    left, _ = np.linalg.qr(rng.standard_normal((size, size)))
    right, _ = np.linalg.qr(rng.standard_normal((size, size)))
    product = left @ right.T
    effect: NDArray[np.float64] = product / product.std()
    return effect


def _stationary(transition: NDArray[np.float64]) -> NDArray[np.float64]:
    vocab = len(transition)
    by_last = np.ascontiguousarray(transition.swapaxes(0, 1))
    pairs = np.full((vocab, vocab), 1 / vocab**2)
    for _ in range(1000):
        following = (pairs.T[:, None, :] @ by_last)[:, 0]
        converged = np.abs(following - pairs).max() < _STATIONARY_TOLERANCE
        pairs = following / following.sum()
        if converged:
            break
    return pairs


def _alias_tables(
    probabilities: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return Walker's alias tables of every row, built for all rows in one sweep.

    Cells are sorted by weight; the heaviest tops up light ones until it is light itself, then the
    next heaviest takes over, V − 1 times in all (Kronmal & Peterson 1979).
    """
    rows, vocab = probabilities.shape
    order = np.argsort(probabilities, axis=1)
    weight = np.take_along_axis(probabilities, order, axis=1) * vocab
    keep = np.ones((rows, vocab))
    alias = order.copy()
    row = np.arange(rows)
    light, heavy = np.zeros(rows, np.int64), np.full(rows, vocab - 1)
    rest = weight[:, -1].copy()
    for _ in range(vocab - 1):
        give = rest >= 1
        cell = np.where(give, light, heavy)
        share = np.where(give, weight[row, light], rest)
        donor = np.where(give, heavy, heavy - 1)
        keep[row, cell] = np.clip(share, 0.0, 1.0)
        alias[row, cell] = order[row, donor]
        rest = np.where(give, rest, weight[row, donor]) - (1 - share)
        light, heavy = light + give, donor
    back = np.argsort(order, axis=1)
    return np.take_along_axis(keep, back, axis=1), np.take_along_axis(alias, back, axis=1)
