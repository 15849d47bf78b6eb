"""The records of one run as they come: what its sisters share taken off, its own noise learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

GAIN_MEMORY = 100.0
NOISE_MEMORY = 100.0
_PRIOR_RECORDS = 30.0
_LOCAL = 1 / 20
_FEWEST = 30
_DEPARTS_AFTER = 100
_EXPLAINED = 0.2
_CLIP = 4.0
_WINSOR = 6.0
"""A record further off than this many standard deviations counts as this far in its block."""


class OwnNoise:
    """A record's own noise as a multiple of the family's, from differences of successive residuals.

    At first it is the family's, which counts as 30 records.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._count = _PRIOR_RECORDS
        self._before = math.nan

    def update(self, residual: float, family: float) -> None:
        """Take in the next residual, where the family's noise has variance `family`."""
        step = residual - self._before
        self._before = residual
        if step != step:
            return
        square = min(0.5 * step * step / family, _CLIP**2 * self.factor)
        self.factor += (square - self.factor) / (self._count + 1)
        self._count = min(self._count + 1, NOISE_MEMORY)

    def skip(self) -> None:
        """Forget the last residual, as the next one is not its neighbour."""
        self._before = math.nan


class SharedGain:
    """How much of what its sisters show at the same data a run shows too.

    A regression of the quick part of its residual on theirs, over the last few hundred records; 0
    where it explains less than a fifth: the run sees other data, or sees it in another order.
    """

    def __init__(self) -> None:
        self.value = 0.0
        self.departed = False
        """Whether the run saw the data of its sisters and no longer does."""
        self._clear = 0
        self._pairs = 0
        self._mean = [0.0, 0.0]
        self._moments = [0.0, 0.0, 0.0]

    def update(self, own: float, shared: float) -> None:
        """Take in one record of the run, and what its sisters had there."""
        self._pairs += 1
        if self._pairs == 1:
            self._mean = [own, shared]
            return
        weight = max(1 / self._pairs, 1 / GAIN_MEMORY)
        y, c = own - self._mean[0], shared - self._mean[1]
        self._mean[0] += max(_LOCAL, 1 / self._pairs) * y
        self._mean[1] += max(_LOCAL, 1 / self._pairs) * c
        yy, yc, cc = self._moments
        if self._pairs > _FEWEST:
            kept = min(1.0, _WINSOR * math.sqrt(max(yy, 1e-300)) / max(abs(y), 1e-300))
            y, c = kept * y, kept * c
        self._moments = [
            yy + weight * (y * y - yy),
            yc + weight * (y * c - yc),
            cc + weight * (c * c - cc),
        ]
        yy, yc, cc = self._moments
        clear = self._pairs >= _FEWEST and yc > 0 and yc * yc > _EXPLAINED * yy * cc
        self.value = min(yc / cc, 1.5) if clear else 0.0
        self._clear += clear
        if self._clear >= _DEPARTS_AFTER:
            self.departed = not clear


@dataclass(frozen=True)
class Place:
    """What the family knows of the place of a record.

    Parameters
    ----------
    shared : float
        What sister runs share at this data, log loss; NaN where unknown.
    spread : float
        How much they differ there beyond their noise, a standard deviation.
    own, plain : float
        Variance of the family's noise at this progress, with and without what is shared taken off.
    """

    shared: float
    spread: float
    own: float
    plain: float


@dataclass(frozen=True)
class Cleaned:
    """One record: its residual, the variance of its noise, and the same before sharing."""

    residual: float
    variance: float
    plain: float
    plain_variance: float
    gain: float


class RecordStage:
    """Turns raw residuals into residuals of the run's own."""

    def __init__(self) -> None:
        self._own, self._plain = OwnNoise(), OwnNoise()
        self._gain = SharedGain()
        self.white = 0.0
        """Variance of the noise of a record, as its blocks see it."""

    @property
    def departed(self) -> bool:
        """Whether the run saw the data of its sisters and no longer does."""
        return self._gain.departed

    def record(self, raw: float, at: Place) -> Cleaned:
        """Take in one record: log loss less its expectation, and what is known of its place."""
        self._plain.update(raw, at.plain)
        plain = self._plain.factor * at.plain
        if at.shared != at.shared:
            self._own.skip()
            self.white = plain
            return Cleaned(raw, plain, raw, plain, 0.0)
        gain = self._gain.value
        self._gain.update(raw, at.shared)
        residual = raw - gain * at.shared
        if gain == 0.0:
            self._own.skip()
            self.white = plain
            return Cleaned(raw, plain, raw, plain, 0.0)
        self._own.update(residual, at.own)
        self.white = self._own.factor * at.own
        return Cleaned(residual, self.white + (gain * at.spread) ** 2, raw, plain, gain)


def winsorised(residual: float, level: float, variance: float) -> float:
    """Return a residual drawn to within six standard deviations of the expected level."""
    if level != level:
        return residual
    limit = _WINSOR * math.sqrt(variance)
    return min(max(residual, level - limit), level + limit)
