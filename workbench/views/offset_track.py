"""The offset slider's track: logarithmic in the distance to the lowest final loss.

On a linear track from 0 the interval of a fitted L0 is a pixel wide; here it has room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.collapse import OffsetEstimate

SNAP = 0.006
_FITTED_AT = 0.85
_NARROWEST, _WIDEST = 0.4, 4.0


@dataclass(frozen=True)
class OffsetTrack:
    """Positions in [0, 1] to offsets [nats/token] and back.

    Parameters
    ----------
    lowest : float
        Lowest final loss on the track [nats/token]; offsets stay below it.
    stretch : float
        Decades of distance to `lowest` that the track covers.
    estimate : OffsetEstimate or None
        The fitted L0, which catches the handle within `SNAP`.
    """

    lowest: float
    stretch: float
    estimate: OffsetEstimate | None

    @property
    def fitted(self) -> float | None:
        """Return where the fitted L0 lies, None without a fit."""
        return None if self.estimate is None else self.position_of(self.estimate.value)

    @property
    def identified(self) -> bool:
        """Whether the data pin the fitted L0 down."""
        fit = None if self.estimate is None else self.estimate.fit
        return fit is not None and fit.identified

    def position_of(self, offset: float) -> float:
        """Return the position of an offset; one beyond the track lies at its end."""
        if offset <= 0:
            return 0.0
        share = 1 - offset / self.lowest
        return min(1.0, -math.log10(share) / self.stretch) if share > 0 else 1.0

    def offset_at(self, position: float) -> float:
        """Return the offset [nats/token] at a position; the same rule runs in the browser."""
        if position <= 0:
            return 0.0
        fitted = self.fitted
        if self.estimate is not None and fitted is not None and abs(position - fitted) <= SNAP:
            return self.estimate.value
        return float(self.lowest * (1 - 10 ** (-self.stretch * position)))

    def marks(self) -> list[tuple[float, str]]:
        """Return (position, text) of 0, round offsets with room between them, and L0."""
        end = [(self.fitted, "L₀")] if self.fitted is not None else []
        marks = [(0.0, "0")]
        magnitude = 10 ** math.floor(math.log10(self.lowest))
        for step in (magnitude, magnitude / 10, magnitude / 100):
            for k in range(1, 10):
                value = math.floor(self.lowest / step) * step - (k - 1) * step
                place = self.position_of(value)
                near = min(abs(place - other) for other, _ in [*marks, *end])
                if 0 < value < self.lowest and near > _ROOM and place < 1 - _ROOM / 2:
                    marks.append((place, f"{value:.6g}"))
        return sorted([*marks, *end])


_ROOM = 0.13


def offset_track(lowest: float, estimate: OffsetEstimate | None) -> OffsetTrack:
    """Lay out a track that shows a little more than the fitted L0."""
    if estimate is None or not 0 < estimate.value < lowest:
        return OffsetTrack(lowest, 1.5, estimate)
    stretch = -math.log10(1 - estimate.value / lowest) / _FITTED_AT
    return OffsetTrack(lowest, min(max(stretch, _NARROWEST), _WIDEST), estimate)
