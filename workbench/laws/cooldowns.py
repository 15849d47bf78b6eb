"""Standard schedules as a fitted law judges them: how long the cooldown, which of them is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.laws.curve_fit import CurveFit
from workbench.laws.learning_rates import planned_rates
from workbench.recipes.decay import DecayShape

Floats = NDArray[np.float64]
FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Frame:
    """What every schedule of a comparison shares.

    Parameters
    ----------
    total_steps, warmup_steps : int
        Length of the run and of its linear warm-up.
    peak_lr, final_lr : float
        Highest learning rate, and the one that a decay aims at.
    """

    total_steps: int
    warmup_steps: int
    peak_lr: float
    final_lr: float = 0.0

    def cooldown(self, fraction: float, shape: DecayShape = "linear") -> Floats:
        """Return the rate per step of a constant trunk that comes down over `fraction` at its end.

        As in every recipe the end of the decay is reached one step after the last.
        """
        share = self.warmup_steps / self.total_steps
        return planned_rates(
            "wsd",
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            peak=self.peak_lr,
            decay_fraction=min(fraction, 1 - share),
            final_lr_fraction=self.final_lr / self.peak_lr,
            decay_shape=shape,
        )

    def standard(self) -> dict[str, Floats]:
        """Return the rate per step of the constant, cosine and linear schedules by name."""
        return {
            name: planned_rates(
                name,
                total_steps=self.total_steps,
                warmup_steps=self.warmup_steps,
                peak=self.peak_lr,
                final_lr_fraction=self.final_lr / self.peak_lr,
            )
            for name in ("constant", "cosine", "linear")
        }


def cooldown_losses(
    fit: CurveFit,
    *,
    total_steps: int,
    peak_lr: float,
    warmup_steps: int,
    final_lr: float = 0.0,
    fractions: Sequence[float] = FRACTIONS,
    shape: DecayShape = "linear",
) -> Floats:
    """Return the predicted final loss [nats/token] of cooldowns over the given fractions.

    Parameters
    ----------
    fit : CurveFit
        Fitted law.
    total_steps, warmup_steps : int
        Length of the run and of its linear warm-up.
    peak_lr, final_lr : float
        Highest and last learning rate.
    fractions : sequence of float
        Shares of the run spent cooling down.
    shape : str
        How the rate comes down.

    Returns
    -------
    ndarray of shape (fraction,)
    """
    frame = Frame(total_steps, warmup_steps, peak_lr, final_lr)
    return np.array([fit.predict(frame.cooldown(f, shape))[0] for f in fractions])


def best_cooldown(fit: CurveFit, frame: Frame, shape: DecayShape = "linear") -> float:
    """Return the share of `FRACTIONS` whose cooldown the law likes best."""
    losses = [fit.predict(frame.cooldown(fraction, shape))[0] for fraction in FRACTIONS]
    return FRACTIONS[int(np.argmin(losses))]
