"""Regression on a sum of random waves whose frequencies have a power-law tail.

The task of Qiu et al. 2025 (arXiv:2507.02119, appendix): points x uniform in [−½, ½]^d,

    y(x) = Σᵢ wᵢ √2 cos(2π kᵢ·x + bᵢ),    kᵢ = round(sᵢ vᵢ),

vᵢ a uniform direction, sᵢ ≥ 1 with P(s > t) = t⁻², bᵢ either 0 or π/2, and normal weights scaled
to unit norm. There is no noise: the loss no model can beat is 0. An untrained model's is near ½.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.training.task import Batch, stream_generator

Floats = NDArray[np.float32]
_STREAM_OF = {"train": 3, "held-out": 4}
# Waves at points are worked out in pieces of about this many numbers, to stay in the cache.
_PIECE = 1 << 18


class FourierTask:
    """Points and the values of the wave sum there.

    Parameters
    ----------
    dimensions : int
        Numbers in a point.
    modes : int
        Waves M.
    seed : int
        Of the waves: another seed is another function.

    Attributes
    ----------
    entropy : float
        0: the function is known without noise.
    frequencies : ndarray of float32, shape (dimension, mode)
        Whole numbers k.
    phases : ndarray of float32, shape (mode,)
        b in cycles: 0 or a quarter.
    weights : ndarray of float32, shape (mode,)
        w·√2.
    """

    entropy = 0.0

    def __init__(self, *, dimensions: int = 8, modes: int = 10_000, seed: int = 42) -> None:
        rng = np.random.default_rng(seed)
        direction = rng.standard_normal((dimensions, modes))
        direction /= np.linalg.norm(direction, axis=0)
        length = (1 - rng.random(modes)) ** -0.5
        self.dimensions = dimensions
        self.frequencies: Floats = np.round(length * direction).astype(np.float32)
        self.phases: Floats = (0.25 * rng.integers(0, 2, modes)).astype(np.float32)
        weights = rng.standard_normal(modes)
        self.weights: Floats = (np.sqrt(2) * weights / np.linalg.norm(weights)).astype(np.float32)

    def batch(self, step: int, *, sequences: int, seed: int) -> Batch:
        """Return the examples of one step; see `workbench.training.Task.batch`."""
        return self._drawn("train", seed, step, sequences)

    def held_out(self, sequences: int) -> Batch:
        """Return the evaluation examples."""
        return self._drawn("held-out", 0, 0, sequences)

    def values(self, points: Floats) -> Floats:
        """Return y at points of shape (example, dimension)."""
        rows = max(1, _PIECE // len(self.weights))
        pieces = [self._waves(points[i : i + rows]) for i in range(0, len(points), rows)]
        return np.concatenate(pieces)

    def _waves(self, points: Floats) -> Floats:
        cycles = points @ self.frequencies
        cycles += self.phases
        cycles -= np.round(cycles)  # whole turns change nothing but the rounding
        waves: Floats = np.cos(np.float32(2 * np.pi) * cycles) @ self.weights
        return waves

    def _drawn(
        self, purpose: Literal["train", "held-out"], seed: int, step: int, examples: int
    ) -> Batch:
        rng = stream_generator(_STREAM_OF[purpose], seed, step)
        points = rng.random((examples, self.dimensions), dtype=np.float32) - np.float32(0.5)
        return Batch(points, self.values(points))
