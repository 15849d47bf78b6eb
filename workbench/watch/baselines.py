"""What other tools do, run beside the monitor: they look at the run's own past only."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

_Z_WINDOW, _Z_LIMIT = 30, 3.0
_KILL_WINDOW, _KILL_FACTOR, _KILL_PATIENCE, _KILL_CAP = 100, 2.0, 4, 10.0
_RISE_SHARE, _RISE_FEWEST, _RISE = 0.02, 10, 0.005


@dataclass
class RollingZ:
    """A loss three standard deviations off the mean of the 30 before, as trackers alarm."""

    alarm: int | None = None
    count: int = 0
    _window: deque[float] = field(default_factory=lambda: deque(maxlen=_Z_WINDOW))

    def update(self, step: int, x: float, loss: float) -> None:
        """Take in a record."""
        if len(self._window) == _Z_WINDOW:
            mean = sum(self._window) / _Z_WINDOW
            variance = sum((v - mean) ** 2 for v in self._window) / _Z_WINDOW
            if abs(loss - mean) > _Z_LIMIT * math.sqrt(variance):
                self.count += 1
                self.alarm = step if self.alarm is None else self.alarm
        self._window.append(loss)


@dataclass
class LossSpikeKiller:
    """More than four losses in a row above twice the mean of the last 100, or that above a cap.

    The rule and defaults of llm-foundry's KillLossSpike callback.
    """

    alarm: int | None = None
    _window: deque[float] = field(default_factory=lambda: deque(maxlen=_KILL_WINDOW))
    _total: float = 0.0
    _outliers: int = 0

    def update(self, step: int, x: float, loss: float) -> None:
        """Take in a record."""
        if len(self._window) == _KILL_WINDOW:
            mean = self._total / _KILL_WINDOW
            self._outliers = self._outliers + 1 if loss > _KILL_FACTOR * mean else 0
            capped = min(self._window) > _KILL_CAP
            if self.alarm is None and (self._outliers > _KILL_PATIENCE or capped):
                self.alarm = step
            self._total -= self._window[0]
        self._window.append(loss)
        self._total += loss


@dataclass
class RawRise:
    """The smoothed loss lies above its lowest: what one sees on the raw curve.

    Smoothed is the mean over the last 2 % of training, ten records at least; above means by more
    than 0.5 % and three standard errors.
    """

    rise: float = _RISE
    alarm: int | None = None
    largest: float = 0.0
    """Largest excess so far, as a share of the lowest."""
    _window: deque[tuple[float, float]] = field(default_factory=deque)
    _total: float = 0.0
    _square: float = 0.0
    _lowest: float = math.inf

    def update(self, step: int, x: float, loss: float) -> None:
        """Take in a record at progress `x`."""
        self._window.append((x, loss))
        self._total += loss
        self._square += loss * loss
        while len(self._window) > _RISE_FEWEST and self._window[0][0] < x - _RISE_SHARE:
            gone = self._window.popleft()[1]
            self._total -= gone
            self._square -= gone * gone
        count = len(self._window)
        if count < _RISE_FEWEST:
            return
        mean = self._total / count
        error = math.sqrt(max(self._square / count - mean**2, 0.0) / count)
        if mean - self._lowest > 3 * error:
            self.largest = max(self.largest, mean / self._lowest - 1)
            if self.alarm is None and mean > (1 + self.rise) * self._lowest:
                self.alarm = step
        self._lowest = min(self._lowest, mean)


class Baselines:
    """The three rules beside a monitor."""

    def __init__(self) -> None:
        self.rolling_z, self.spike_killer, self.raw_rise = RollingZ(), LossSpikeKiller(), RawRise()

    def update(self, step: int, x: float, loss: float) -> None:
        """Take in a finite record."""
        for rule in (self.rolling_z, self.spike_killer, self.raw_rise):
            rule.update(step, x, loss)

    def alarms(self) -> dict[str, int | None]:
        """Return the first alarm of each, a step."""
        return {
            "rolling_z": self.rolling_z.alarm,
            "spike_killer": self.spike_killer.alarm,
            "raw_rise": self.raw_rise.alarm,
        }
