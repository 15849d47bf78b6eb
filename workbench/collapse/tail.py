"""How the spread closes towards the end: what a decay does and seeds of one data order do not.

Δ < σ alone does not show a collapse driven by the decay of the learning rate: seeds that share
their data order meet it under a constant rate too. There Δ stays open until it is forced to 0 at
the last point; under decay it closes before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.collapse import kernels_quality as kernels
from workbench.laws import Estimate

Floats = NDArray[np.float64]
TAIL = (0.9, 0.99)
MIDDLE = (0.5, 0.7)
SLOPE = (0.5, 0.98)


@dataclass(frozen=True)
class Tail:
    """The statistic x → 1.

    Parameters
    ----------
    deviation : Estimate
        Mean Δ over progress 0.9 to 0.99.
    closing : Estimate
        That, divided by the mean Δ over 0.5 to 0.7: near 1 where the spread stays open.
    exponent : Estimate
        p in Δ ∝ (1 − x)^p over 0.5 to 0.98.
    ratio : float or None
        Mean Δ/σ over 0.9 to 0.99.
    """

    deviation: Estimate
    closing: Estimate
    exponent: Estimate
    ratio: float | None

    def to_dict(self) -> dict[str, object]:
        """Return the statistic as plain numbers, with its windows."""
        return {
            "window": list(TAIL),
            "deviation": self.deviation.to_dict(),
            "closing": self.closing.to_dict(),
            "exponent": self.exponent.to_dict(),
            "ratio": self.ratio,
        }


def tail_statistic(
    progress: Floats, delta: Floats, drawn: Floats, ratio: Floats | None, *, level: float
) -> Tail:
    """Measure how Δ closes.

    Parameters
    ----------
    progress, delta : ndarray of shape (x,)
        Δ(x).
    drawn : ndarray of shape (draw, x)
        Δ of redrawn families.
    ratio : ndarray of shape (x,) or None
        Δ/σ.
    level : float
        Level of the intervals.
    """
    late, middle = _mean(progress, delta, TAIL), _mean(progress, delta, MIDDLE)
    late_drawn, middle_drawn = _mean(progress, drawn, TAIL), _mean(progress, drawn, MIDDLE)
    exponent, exponents = _exponent(progress, delta), _exponent(progress, drawn)
    tail = (1 - level) / 2
    shift = np.quantile(exponents, [tail, 1 - tail]) - np.median(exponents)

    def estimate(value: Floats, values: Floats) -> Estimate:
        return Estimate(float(value), *kernels.centred_interval(float(value), values, level))

    return Tail(
        deviation=estimate(late, late_drawn),
        closing=estimate(late / middle, late_drawn / middle_drawn),
        exponent=Estimate(float(exponent), *(float(exponent + by) for by in shift)),
        ratio=None if ratio is None else float(_mean(progress, ratio, TAIL)),
    )


def _inside(progress: Floats, window: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((progress >= window[0] - 1e-9) & (progress < window[1] - 1e-9))


def _mean(progress: Floats, values: Floats, window: tuple[float, float]) -> Floats:
    return np.asarray(values[..., _inside(progress, window)].mean(axis=-1))


def _exponent(progress: Floats, values: Floats) -> Floats:
    inside = _inside(progress, SLOPE)
    x = np.log(1 - progress[inside])
    x = x - x.mean()
    return np.asarray(np.log(np.maximum(values[..., inside], 1e-300)) @ x / (x @ x))
