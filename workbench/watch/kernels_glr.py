"""Array kernels of the sequential test of a jump, or the beginning of a drift, at some block.

For every onset among the recent blocks the trace that a jump or a ramp would leave in the
innovations is carried along (the filter is linear, so the same gains apply to it). The statistic
is the largest |score|, in standard deviations, over onsets and both shapes: a generalised
likelihood ratio (Willsky and Jones 1976; Lai 1995). Its maximum over a run is simulated to set the
threshold for a stated false-alarm rate per run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.watch.kernels_state import CLIP, Belief, Wander

Floats = NDArray[np.float64]
Shape = Literal["jump", "ramp"]
SHAPES: tuple[Shape, ...] = ("jump", "ramp")
LOOKBACK = 128
"""Onsets up to so many blocks ago are considered."""
RAMP_UNIT = 0.1
"""A ramp of amplitude 1 has risen by 1 after this share of training."""
SCALE_MEMORY = 40.0
"""Blocks over which a run's own noise is learned; those of the reference count as many."""
SCALE_LAG = 8
"""The newest blocks do not count, so that a fault does not hide in the noise it makes."""
_SHAPED = 15.0
"""Clip of innovations where the shape and size of a change are told, once it is alarmed."""
_TOO_NEW = 4
_CHANGE = 5.02
"""Fall of twice the log-likelihood that bounds the onset: the 97.5 % point of chi-square(1).

A change point's likelihood is not quadratic; on simulated ramps this gives 90 % intervals.
"""


@dataclass(frozen=True)
class Change:
    """The most likely change: shape, onset with interval [progress], size, and its score [sd].

    `amplitude` is in logs of the loss: the height of a jump, or a ramp's rise over 10 % of
    training.
    """

    shape: Shape
    onset: float
    lower: float
    upper: float
    amplitude: float
    score: float


class Signatures:
    """Traces of unit changes at each of the recent blocks in the innovations of a filter."""

    def __init__(self) -> None:
        self.deviation = np.zeros((2, LOOKBACK, 3))
        self.onset = np.full(LOOKBACK, np.inf)
        self.blocks = 0
        self.before = 0.0
        self.block = 0.0

    def step(self, move: Floats, gain: Floats, x: float, spread: float) -> tuple[Floats, int]:
        """Return the standardised traces (shape, onset) at this block, and the slot that began.

        Parameters
        ----------
        move : ndarray of shape (3, 3)
            Transition of the filter since the block before.
        gain : ndarray of shape (3,)
            Its gain at this block.
        x : float
            Progress.
        spread : float
            Standard deviation of the innovation.
        """
        slot = self.blocks % LOOKBACK
        self.deviation[:, slot] = 0.0
        self.onset[slot] = self.before if self.blocks else x
        self.blocks += 1
        moved = self.deviation @ move.T
        height = np.empty((2, LOOKBACK))
        height[0] = np.isfinite(self.onset)
        height[1] = np.where(np.isfinite(self.onset), (x - self.onset) / RAMP_UNIT, 0.0)
        trace = height - (moved[..., 0] + moved[..., 2])
        self.deviation = moved + trace[..., None] * gain
        self.block = x - self.before
        self.before = x
        return trace / spread, slot


class Scores:
    """Sums over blocks of trace times innovation, and of trace squared, for one run."""

    def __init__(self) -> None:
        self.signatures = Signatures()
        self.product = np.zeros((2, LOOKBACK))
        self.wide = np.zeros((2, LOOKBACK))
        self.square = np.zeros((2, LOOKBACK))

    def update(self, move: Floats, gain: Floats, x: float, spread: float, surprise: float) -> float:
        """Take one block in, its innovation in standard deviations; return the score."""
        trace, slot = self.signatures.step(move, gain, x, spread)
        self.product[:, slot] = self.wide[:, slot] = self.square[:, slot] = 0.0
        self.product += trace * min(max(surprise, -CLIP), CLIP)
        self.wide += trace * min(max(surprise, -_SHAPED), _SHAPED)
        self.square += trace**2
        return float(np.sqrt((self.product**2 / np.maximum(self.square, 1e-12)).max()))

    def smallest(self, threshold: float, *, blocks: int) -> dict[str, float]:
        """Return the smallest jump and ramp that would reach `threshold` in so many blocks."""
        slot = (self.signatures.blocks - blocks) % LOOKBACK
        if self.signatures.blocks < blocks or blocks > LOOKBACK:
            return dict.fromkeys(SHAPES, float("inf"))
        root = np.sqrt(np.maximum(self.square[:, slot], 1e-300))
        return {shape: float(threshold / r) for shape, r in zip(SHAPES, root, strict=True)}

    def change(self) -> Change:
        """Return the most likely change as the data now has it."""
        gain = self.wide**2 / np.maximum(self.square, 1e-12)
        newest = [(self.signatures.blocks - 1 - k) % LOOKBACK for k in range(_TOO_NEW)]
        gain[1, newest] = 0.0  # a ramp of so few blocks is a jump
        score = np.sqrt((self.product**2 / np.maximum(self.square, 1e-12)).max())
        shape, slot = np.unravel_index(int(gain.argmax()), gain.shape)
        onset = self.signatures.onset
        near = onset[gain.max(axis=0) >= gain.max() - _CHANGE]
        return Change(
            shape=SHAPES[int(shape)],
            onset=float(onset[slot]),
            lower=float(near.min()),
            upper=float(near.max()) + self.signatures.block,
            amplitude=float(self.wide[shape, slot] / self.square[shape, slot]),
            score=float(score),
        )


class OwnScale:
    """A run's own noise as a multiple of the reference's, from innovations a few blocks old."""

    def __init__(self, runs: int = 1) -> None:
        self.variance = np.ones(runs)
        self.count = SCALE_MEMORY
        self._recent: list[Floats] = []

    def update(self, surprise: Floats) -> None:
        """Take in innovations (run,) in standard deviations of the reference's noise."""
        limit = CLIP * np.sqrt(self.variance)
        self._recent.append(np.minimum(np.abs(surprise), limit) ** 2)
        if len(self._recent) > SCALE_LAG:
            weight = 1 / (self.count + 1)
            self.variance = self.variance + weight * (self._recent.pop(0) - self.variance)
            self.count = min(self.count + 1, 2 * SCALE_MEMORY)


def null_maxima(
    x: Floats,
    variance: Floats,
    white: float,
    wander: Wander,
    *,
    slope_sd: float,
    draws: int = 1500,
    rng: int = 0,
) -> Floats:
    """Simulate the largest score of healthy runs.

    Parameters
    ----------
    x : ndarray of shape (block,)
        Progress of the blocks.
    variance : ndarray of shape (block,)
        White-noise variance of each.
    white : float
        White-noise variance of a record.
    wander : Wander
        The model, taken as true.
    slope_sd : float
        As in `innovations`.
    draws : int
        Healthy runs.
    rng : int
        Seed.

    Returns
    -------
    ndarray of shape (draws,)
        Sorted. A run's own scale is learned in the simulation as it is in a monitor.
    """
    generator = np.random.default_rng(rng)
    lasting = np.array([wander.lasting * white])
    belief = Belief.first(np.zeros(1), variance[:1], lasting, float(x[0]), slope_sd=slope_sd)
    signatures, scale = Signatures(), OwnScale(draws)
    product = np.zeros((draws, 2, LOOKBACK), dtype=np.float32)
    square = np.zeros((2, LOOKBACK))
    largest = np.zeros(draws, dtype=np.float32)
    for k in range(1, len(x)):
        move = belief.predict(float(x[k]), wander, lasting)
        total = belief.expected()[1] + variance[k]
        gain = belief.learn(np.zeros(1), total)[0]
        trace, slot = signatures.step(move, gain, float(x[k]), float(np.sqrt(total[0])))
        noise = generator.standard_normal(draws)
        own = np.clip(noise / np.sqrt(scale.variance), -CLIP, CLIP)
        scale.update(noise)
        product[:, :, slot] = 0.0
        square[:, slot] = 0.0
        square += trace**2
        product += (own[:, None, None] * trace).astype(np.float32)
        root = (1 / np.sqrt(np.maximum(square, 1e-12))).astype(np.float32)
        score = np.abs(product) * root
        np.maximum(largest, score.reshape(draws, -1).max(axis=1), out=largest)
    return np.sort(largest.astype(np.float64))
