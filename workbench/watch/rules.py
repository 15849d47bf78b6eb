"""Rules that need no reference: not a number, divergence, spikes against the own past, stalls."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

_RECENT = 30
_FEWEST = 5
_SUSTAINED = 0.04
_SUSTAINED_SD = 4.5
_LATEST = 10
_MANY = 500
_SHARE = 1e-3
_BACK = 0.01
_REPEATED = 10
_NORMAL_MAD = 1.4826
_IDLE = 10.0
_IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class Rise:
    """How far the loss lies above the best it has been, in logs, and from where it counts."""

    size: float
    limit: float
    since: float
    before: float


class DivergenceRule:
    """Alarms when the loss stays above the best level the run has had.

    The level is the median of the latest records: five, and up to thirty once there are many, so
    that its lowest is no accident. The rise counts from 4 %, or 4.5 standard deviations of the
    run's recent noise where that is more; it has to last for 0.1 % of training and two records, one
    more for every 500. It knows no reference: loss curves are compared by logs, so that a rise
    means the same at every loss.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._best = math.inf
        self._count = 0
        self._rising: list[float] = []
        self._place = self._since = self._before = 0.0
        self.diverged = False

    def update(self, x: float, log_loss: float) -> Rise | None:
        """Take in a record; return the rise when it becomes a divergence.

        Parameters
        ----------
        x : float
            Progress.
        log_loss : float
            Finite.
        """
        before, limit = self._place, self._limit()
        self._place = x
        self._count += 1
        above = log_loss - self._best
        if above <= limit:
            self._recent.extend(self._rising[-1:])  # one record alone was noise
            self._recent.append(log_loss)
            self._rising.clear()
            self._best = min(self._best, self._level())
            return None
        if not self._rising:
            self._since, self._before = x, before
        self._rising.append(log_loss)
        long = x - self._before >= _SHARE
        if self.diverged or len(self._rising) < 2 + self._count // _MANY or not long:
            return None
        self.diverged = True
        return Rise(above, limit, self._since, self._before)

    def recovered(self, log_loss: float) -> bool:
        """Tell whether a run that diverged is back at its best level, and forget that it did."""
        if (
            self.diverged
            and not self._rising
            and self._level() - self._best < max(_BACK, self._limit() / 2)
        ):
            self.diverged = False
            return True
        return False

    def _level(self) -> float:
        width = self._width()
        return median(list(self._recent)[-width:]) if len(self._recent) >= width else math.inf

    def _limit(self) -> float:
        if not math.isfinite(self._best):
            return math.inf
        return max(_SUSTAINED, _SUSTAINED_SD * self._noise(max(_LATEST, self._width())))

    def _width(self) -> int:
        """Return how many records make a level: the more there are, the more its lowest may err."""
        return min(max(self._count // 3, _FEWEST), _RECENT)

    def _noise(self, records: int) -> float:
        values = list(self._recent)[-records - 1 :]
        if len(values) < _FEWEST:
            return math.inf
        steps = [b - a for a, b in pairwise(values)]
        middle = median(steps)
        return _NORMAL_MAD * median(abs(s - middle) for s in steps) / math.sqrt(2)


class StallRule:
    """Alarms when a loss repeats itself to the last digit, or no record comes for long."""

    def __init__(self) -> None:
        self._value = math.nan
        self._count = 0
        self._varied = False
        self._times: deque[float] = deque(maxlen=_RECENT)

    def update(self, loss: float, time: float = math.nan) -> bool:
        """Take in a record with its wall-clock time [s]; return whether the loss stands still."""
        if time == time:
            self._times.append(time)
        if loss == self._value:
            self._count += 1
        else:
            self._varied = self._varied or self._count >= 1
            self._value, self._count = loss, 1
        return self._varied and self._count == _REPEATED

    def idle(self, now: float) -> float | None:
        """Return the seconds without a record, where they are ten usual intervals and a minute."""
        if len(self._times) < _FEWEST:
            return None
        times = list(self._times)
        usual = median(b - a for a, b in pairwise(times))
        silent = now - times[-1]
        return silent if silent > max(_IDLE * usual, _IDLE_SECONDS) else None
