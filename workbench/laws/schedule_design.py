"""The schedule a fitted law likes best, under constraints, beside the usual ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError
from workbench.laws.curve_fit import CurveFit
from workbench.laws.kernels_design import best_decay
from workbench.recipes import schedule_factors

Floats = NDArray[np.float64]
FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BLOCKS = 192


@dataclass(frozen=True)
class ScheduleDesign:
    """Best schedule of a law.

    Parameters
    ----------
    lr : ndarray of shape (steps,)
        Learning rate of every step.
    final_loss : float
        What the law predicts at its end [nats/token].
    usual : mapping of str to float
        The same prediction for the usual schedules of the same length, peak and lowest rate.
    cooldown : float
        Linear cooldown fraction the law likes best, to the grid of `FRACTIONS`.
    warnings : tuple of str
        Where the law is asked beyond what it was fitted to.
    """

    lr: Floats
    final_loss: float
    usual: Mapping[str, float]
    cooldown: float
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [f"{name}: {loss:.5f}" for name, loss in self.usual.items()]
        head = f"best schedule ends at {self.final_loss:.5f} nats/token, as predicted"
        return "\n".join([head, *rows, *self.warnings])


def cooldown_losses(
    fit: CurveFit,
    *,
    total_steps: int,
    peak_lr: float,
    warmup_steps: int,
    final_lr: float = 0.0,
    fractions: Sequence[float] = FRACTIONS,
) -> Floats:
    """Return the predicted final loss [nats/token] of linear cooldowns over the given fractions.

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

    Returns
    -------
    ndarray of shape (fraction,)
    """
    return np.array(
        [
            fit.predict(
                cooldown(
                    total_steps=total_steps,
                    warmup_steps=warmup_steps,
                    peak_lr=peak_lr,
                    fraction=fraction,
                    final_lr=final_lr,
                )
            )[0]
            for fraction in fractions
        ]
    )


def cooldown(
    *,
    total_steps: int,
    warmup_steps: int,
    peak_lr: float,
    fraction: float,
    final_lr: float = 0.0,
) -> Floats:
    """Return the learning rate per step of a constant trunk with a linear cooldown at its end."""
    share = warmup_steps / total_steps
    factors = schedule_factors(
        "wsd",
        total_steps=total_steps,
        warmup_fraction=share,
        decay_fraction=min(fraction, 1 - share),
        final_lr_fraction=final_lr / peak_lr,
    )
    return peak_lr * factors


def design_schedule(
    fit: CurveFit,
    *,
    total_steps: int,
    peak_lr: float | None = None,
    warmup_steps: int = 0,
    final_lr: float = 0.0,
) -> ScheduleDesign:
    """Find the schedule with the lowest predicted final loss (as Luo et al. 2025).

    Parameters
    ----------
    fit : CurveFit
        Fitted Multi-Power Law.
    total_steps : int
        Planned steps.
    peak_lr : float, optional
        Highest learning rate; by default that of the fitted runs.
    warmup_steps : int
        Linear warm-up, kept as it is.
    final_lr : float
        The rate may not fall below this.

    Returns
    -------
    ScheduleDesign
        After the warm-up the rate never rises and stays within [final_lr, peak_lr].

    Raises
    ------
    ArgumentError
        If the law is not a multi-power fit or the constraints leave nothing to choose.
    """
    peak = fit.reference_lr if peak_lr is None else peak_lr
    if fit.law != "multi-power":
        msg = f"A schedule is designed from a multi-power fit, found the {fit.law} law."
        raise ArgumentError(msg)
    if not (0 <= final_lr < peak and 0 <= warmup_steps < total_steps - _BLOCKS):
        msg = (
            f"The schedule needs 0 ≤ final_lr < peak_lr and {_BLOCKS} steps after the warm-up, "
            f"found final_lr {final_lr:g}, peak_lr {peak:g}, {total_steps} steps, warm-up "
            f"{warmup_steps}."
        )
        raise ArgumentError(msg)
    width = (total_steps - warmup_steps) / _BLOCKS
    centre = (np.arange(_BLOCKS) + 0.5) / _BLOCKS
    room = peak - final_lr
    starts = [peak - room * np.clip((centre - 1 + f) / f, 0, 1) for f in (0.2, 0.5, 1.0)]
    past = peak * warmup_steps / 2
    _, blocks = best_decay(starts, width, past, peak, final_lr, fit.vector())
    lr = _per_step(blocks, total_steps, warmup_steps, peak, final_lr)
    usual = _usual(fit, total_steps, peak, warmup_steps, final_lr)
    losses = cooldown_losses(
        fit,
        total_steps=total_steps,
        peak_lr=peak,
        warmup_steps=warmup_steps,
        final_lr=final_lr,
    )
    at = int(np.argmin(losses))
    usual[f"linear cooldown over {FRACTIONS[at]:g}"] = float(losses[at])
    final = float(fit.predict(lr)[0])
    if losses[at] < final:  # a cooldown to exactly zero ends below what blocks can express
        final = float(losses[at])
        lr = cooldown(
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            peak_lr=peak,
            fraction=FRACTIONS[at],
            final_lr=final_lr,
        )
    return ScheduleDesign(
        lr=lr,
        final_loss=final,
        usual=usual,
        cooldown=FRACTIONS[at],
        warnings=_warnings(fit, lr, peak),
    )


def _per_step(blocks: Floats, total: int, warmup: int, peak: float, lowest: float) -> Floats:
    """Spread block rates over steps: straight lines through block centres, the last prolonged."""
    step = np.arange(total, dtype=np.float64)
    width = (total - warmup) / len(blocks)
    centre = warmup + (np.arange(len(blocks)) + 0.5) * width
    end = max(lowest, 1.5 * blocks[-1] - 0.5 * blocks[-2])
    lr = np.interp(step, [warmup, *centre, total], [peak, *blocks, end])
    return np.where(step < warmup, peak * step / max(warmup, 1), lr)


def _usual(
    fit: CurveFit, total_steps: int, peak_lr: float, warmup_steps: int, final_lr: float
) -> dict[str, float]:
    return {
        name: float(
            fit.predict(
                peak_lr
                * schedule_factors(
                    name,
                    total_steps=total_steps,
                    warmup_fraction=warmup_steps / total_steps,
                    final_lr_fraction=final_lr / peak_lr,
                )
            )[0]
        )
        for name in ("constant", "cosine", "linear")
    }


def _warnings(fit: CurveFit, lr: Floats, peak: float) -> tuple[str, ...]:
    notes = []
    if lr.sum() > 1.5 * fit.lr_sum:
        notes.append(
            f"The schedule's learning-rate sum is {lr.sum() / fit.lr_sum:.1f} times the longest "
            "fitted run's: the law extrapolates."
        )
    if not 0.8 < peak / fit.reference_lr < 1.25:
        notes.append(
            f"Peak rate {peak:g} against {fit.reference_lr:g} in the fitted runs: the law says "
            "nothing about instability at higher rates."
        )
    return tuple(notes)
