"""The sequential test of one run: records go in, blocks of them are tested."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from workbench.watch.kernels_glr import LOOKBACK, Change, OwnScale, Scores
from workbench.watch.kernels_records import BLOCKS
from workbench.watch.kernels_state import Belief, Wander
from workbench.watch.records import Cleaned, Place, RecordStage, winsorised

_SCATTER_FROM = 8
"""Blocks of so many records tell their own noise, so that a noisier stretch is not a fault."""
_DATA_MEMORY = 0.03


@dataclass(frozen=True)
class Tested:
    """What one record did.

    Parameters
    ----------
    cleaned : Cleaned
        The record.
    off : float
        Its distance from the expected level, in standard deviations of its noise; NaN before the
        test has begun.
    plain_off : float
        The same without what sister runs share taken off.
    score : float
        Of the sequential test, where this record completed a block; else NaN.
    """

    cleaned: Cleaned
    off: float
    plain_off: float
    score: float


class _Block:
    """Records of one block so far."""

    def __init__(self) -> None:
        self.count = 0
        self.raw = self.total = self.square = self.variance = 0.0

    def add(self, raw: float, residual: float, variance: float) -> None:
        self.count += 1
        self.raw += raw
        self.total += residual
        self.square += residual * residual
        self.variance += variance

    def mean_and_variance(self) -> tuple[float, float]:
        mean = self.total / self.count
        variance = self.variance / self.count**2
        if self.count >= _SCATTER_FROM:
            scatter = max(self.square / self.count - mean**2, 0.0)
            variance = max(variance, scatter / self.count)
        return mean, variance


class RunTest:
    """Residuals go in a record at a time; out comes how unlikely they are for a healthy run.

    Parameters
    ----------
    wander : Wander
        How healthy runs stray.
    slope_sd : float
        Spread of the residual's slope at the start, per unit of ln x.
    start : float
        Progress from which blocks are tested; records teach their noise from half of it on.
    data_wander : float
        Spread of what other data does to a loss over some percent of training; it counts once the
        run has left the data of its sisters.
    """

    def __init__(
        self, wander: Wander, *, slope_sd: float, start: float, data_wander: float = 0.0
    ) -> None:
        self._wander, self._slope_sd, self._start = wander, slope_sd, start
        self._data = data_wander
        self._stage = RecordStage()
        self._belief: Belief | None = None
        self._scale = OwnScale()
        self._scores = Scores()
        self._block = _Block()
        self._x = 0.0
        self._ahead = math.nan, math.inf
        self._block_variance = 0.0
        self.levels: deque[tuple[float, float, float, float]] = deque(maxlen=2 * LOOKBACK)
        self.score = 0.0

    @property
    def own_noise(self) -> float:
        """The run's blocks' noise as a multiple of what its records tell."""
        return math.sqrt(float(self._scale.variance[0]))

    @property
    def slope_sd(self) -> float:
        """Spread of the slope a healthy run begins with."""
        return self._slope_sd

    @property
    def level(self) -> tuple[float, float]:
        """The level the next block is expected at, with its standard deviation."""
        return self._ahead

    def record(self, x: float, raw: float, place: Place) -> Tested:
        """Take in one record.

        Parameters
        ----------
        x : float
            Progress, not below that of the record before.
        raw : float
            Log loss less its expectation.
        place : Place
            What the family knows of its place.
        """
        step, self._x = x - self._x, x
        if x < 0.5 * self._start:
            none = Cleaned(raw, math.nan, raw, math.nan, 0.0)
            return Tested(none, math.nan, math.nan, math.nan)
        cleaned = self._stage.record(raw, place)
        if x < self._start - 1e-9:
            return Tested(cleaned, math.nan, math.nan, math.nan)
        level, uncertain = self._ahead
        off = (cleaned.residual - level) / math.sqrt(cleaned.variance + uncertain**2)
        plain = (cleaned.plain - level) / math.sqrt(cleaned.plain_variance + uncertain**2)
        kept = winsorised(cleaned.residual, level, cleaned.variance + uncertain**2)
        self._block.add(cleaned.residual, kept, cleaned.variance)
        if math.ceil((x + step) * BLOCKS - 1e-6) > math.ceil(x * BLOCKS - 1e-6):
            mean, variance = self._block.mean_and_variance()
            raw = self._block.raw / self._block.count
            self._block = _Block()
            return Tested(cleaned, off, plain, self._test(x, mean, variance, raw))
        return Tested(cleaned, off, plain, math.nan)

    def _test(self, x: float, z: float, variance: float, raw: float) -> float:
        """Test the mean residual of the block that ends at progress `x`; return the score."""
        at, spread = np.array([z]), np.array([variance])
        self._block_variance = variance
        wander, lasting = self._noise()
        if self._belief is None:
            self._belief = Belief.first(at, spread, lasting, x, slope_sd=self._slope_sd)
        else:
            move = self._belief.predict(x, wander, lasting)
            mean, uncertain = self._belief.expected()
            total = uncertain + spread
            surprise = at - mean
            gain = self._belief.learn(surprise, total)[0]
            sd = math.sqrt(float(total[0]))
            standard = surprise / sd
            noise = self.own_noise
            self._scale.update(standard)
            self.score = self._scores.update(move, gain, x, sd * noise, float(standard[0]) / noise)
        mean, uncertain = self._belief.expected()
        self._ahead = float(mean[0]), math.sqrt(max(float(uncertain[0]), 0.0))
        level, slope = (float(v) for v in self._belief.mean[0, :2])
        self.levels.append((x, raw, level, slope))
        return self.score

    def _noise(self) -> tuple[Wander, np.ndarray]:
        """Return the model as it now holds, and the variance of the lasting noise."""
        lasting = self._wander.lasting * self._stage.white
        if not self.departed:
            return self._wander, np.array([lasting])
        memory = max(self._wander.memory, _DATA_MEMORY)
        return replace(self._wander, memory=memory), np.array([lasting + self._data**2])

    @property
    def departed(self) -> bool:
        """Whether the run saw the data of its sisters and no longer does."""
        return self._stage.departed

    def change(self) -> Change:
        """Return the most likely change by what has been seen so far."""
        return self._scores.change()

    def foreseen(self, x: float, *, before: float) -> float:
        """Return the level at progress `x` as it was foreseen from the blocks before `before`."""
        known = [row for row in self.levels if row[0] < before] or [self.levels[0]]
        at, _, level, slope = known[-1]
        return level + slope * math.log(x / at)

    def latest(self, blocks: int) -> float:
        """Return the mean residual of the latest blocks."""
        rows = list(self.levels)[-blocks:]
        return sum(row[1] for row in rows) / len(rows)

    def block_sd(self, blocks: int = 1) -> float:
        """Return the standard deviation of the mean of so many blocks' own noise."""
        _, lasting = self._noise()
        return self.own_noise * math.sqrt(self._block_variance / blocks + float(lasting[0]))

    def at_end(self) -> tuple[float, float]:
        """Return the level at the end of training, and its standard deviation if all stays well."""
        if self._belief is None:
            return math.nan, math.inf
        du = max(-math.log(self._belief.x), 0.0)
        mean, c = self._belief.mean[0], self._belief.covariance[0]
        walk = self._wander.level * du + self._wander.slope * du**3 / 3
        variance = c[0, 0] + 2 * du * c[0, 1] + du**2 * c[1, 1] + walk
        return float(mean[0] + du * mean[1]), math.sqrt(max(float(variance), 0.0))

    def smallest(self, threshold: float, *, blocks: int) -> dict[str, float]:
        """Return the smallest jump, and ramp over 10 % of training, seen within so many blocks.

        Both in logs of the loss, had they begun that long ago; infinite while too new.
        """
        return self._scores.smallest(threshold, blocks=blocks)

    def restart(self, x: float, level: float, *, level_sd: float, slope_sd: float) -> None:
        """Begin anew at progress `x` at this level; the run's own noise stays known."""
        at, spread = np.array([level]), np.array([level_sd**2])
        _, lasting = self._noise()
        self._belief = Belief.first(at, spread, lasting, x, slope_sd=slope_sd)
        self._scores = Scores()
        self._block = _Block()
        self._ahead = level, level_sd
        self.levels.clear()
        self.levels.append((x, level, level, 0.0))
        self.score = 0.0
