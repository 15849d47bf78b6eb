"""The schedule a fitted law likes best, under constraints, beside the usual ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError
from workbench.laws.cooldowns import FRACTIONS, Frame, best_cooldown, cooldown_losses
from workbench.laws.curve_fit import CurveFit
from workbench.laws.curve_interval import describe_interval, difference_interval, predict_curve
from workbench.laws.estimate import Estimate
from workbench.laws.kernels_design import best_decay, best_path
from workbench.laws.learning_rates import warmed_up
from workbench.recipes.decay import DecayShape, check_decay

__all__ = ["FRACTIONS", "Form", "ScheduleDesign", "cooldown_losses", "design_schedule"]

Floats = NDArray[np.float64]
Form = Literal["free", DecayShape]
FORMS: tuple[str, ...] = ("free", *get_args(DecayShape))
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
    lower, upper : float
        Interval of the final loss.
    gains : mapping of str to Estimate
        How much lower it ends than each of `usual`, with an interval [nats/token].
    gain_over : str
        Name of the best of `usual`.
    level : float
        Level of the intervals.
    interval : str
        How they were made.
    constraints : mapping of str to object
        What the schedule was held to, by the names of `design_schedule`.
    warnings : tuple of str
        Where the law is asked beyond what it was fitted to, and what the gain does not show.
    """

    lr: Floats
    final_loss: float
    usual: Mapping[str, float]
    cooldown: float
    lower: float
    upper: float
    gains: Mapping[str, Estimate]
    gain_over: str
    level: float
    interval: str
    constraints: Mapping[str, object]
    warnings: tuple[str, ...] = ()

    @property
    def gain(self) -> Estimate:
        """The gain over the best of `usual`."""
        return self.gains[self.gain_over]

    def __str__(self) -> str:
        rows = [
            f"{name}: {loss:.5f}, gain {self.gains[name].estimate:.5f} "
            f"({self.gains[name].lower:.5f} to {self.gains[name].upper:.5f})"
            for name, loss in self.usual.items()
        ]
        head = (
            f"best schedule ends at {self.final_loss:.5f} nats/token ({self.lower:.5f} to "
            f"{self.upper:.5f}, {self.level:.0%}), as predicted"
        )
        gain = (
            f"predicted gain over the best of these, {self.gain_over}: {self.gain.estimate:.5f} "
            f"nats/token ({self.gain.lower:.5f} to {self.gain.upper:.5f}, {self.level:.0%})"
        )
        held = ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.constraints.items()
            if value is not None and value is not False
        )
        return "\n".join([head, *rows, gain, f"held to: {held}", *self.warnings])


def design_schedule(
    fit: CurveFit,
    *,
    total_steps: int,
    peak_lr: float | None = None,
    warmup_steps: int = 0,
    final_lr: float = 0.0,
    end_lr: float | None = None,
    form: Form = "free",
    may_rise: bool = False,
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
    end_lr : float, optional
        The rate of the last step; by default anything from `final_lr` up. A form other than free
        reaches it one step after the last, as every recipe does.
    form : {"free", "linear", "cosine", "1-sqrt", ...}
        Any course, or a constant trunk that comes down in this shape: then only the share of the
        run it takes is chosen.
    may_rise : bool
        Whether the rate may rise again after the warm-up; a free form only.

    Returns
    -------
    ScheduleDesign
        After the warm-up the rate stays within [final_lr, peak_lr].

    Raises
    ------
    ArgumentError
        If the law is not a multi-power fit or the constraints leave nothing to choose.
    """
    peak = fit.reference_lr if peak_lr is None else peak_lr
    _check(fit, total_steps, peak, warmup_steps, final_lr, end_lr, form, may_rise)
    lowest = final_lr if end_lr is None else end_lr
    frame = Frame(total_steps, warmup_steps, peak, lowest)
    courses = frame.standard()
    fraction = best_cooldown(fit, frame)
    courses[f"linear cooldown over {fraction:g}"] = frame.cooldown(fraction)
    usual = {name: float(fit.predict(lr)[0]) for name, lr in courses.items()}
    best = min(usual, key=lambda name: usual[name])
    if form == "free":
        lr = _free(fit, frame, final_lr, end_lr, may_rise)
        # A cooldown to exactly zero ends below what blocks can express.
        if end_lr is None and usual[best] < float(fit.predict(lr)[0]):
            lr = courses[best]
    else:
        lr = frame.cooldown(best_cooldown(fit, frame, form), form)
    end = predict_curve(fit, lr)
    gains = {
        name: Estimate(*difference_interval(fit, lr, course)) for name, course in courses.items()
    }
    return ScheduleDesign(
        lr=lr,
        final_loss=float(end.loss[0]),
        usual=usual,
        cooldown=fraction,
        lower=float(end.lower[0]),
        upper=float(end.upper[0]),
        gains=gains,
        gain_over=best,
        level=fit.level,
        interval=describe_interval(fit),
        constraints={
            "total_steps": total_steps,
            "peak_lr": peak,
            "warmup_steps": warmup_steps,
            "final_lr": final_lr,
            "end_lr": end_lr,
            "form": form,
            "may_rise": may_rise,
        },
        warnings=_warnings(fit, lr, peak, gains[best]),
    )


def _check(
    fit: CurveFit,
    total_steps: int,
    peak: float,
    warmup_steps: int,
    final_lr: float,
    end_lr: float | None,
    form: str,
    may_rise: bool,
) -> None:
    if fit.law != "multi-power":
        msg = f"A schedule is designed from a multi-power fit, found the {fit.law} law."
        raise ArgumentError(msg)
    if form not in FORMS:
        msg = f"form must be one of {', '.join(FORMS)}, found {form!r}."
        raise ArgumentError(msg)
    if not (0 <= final_lr < peak and 0 <= warmup_steps < total_steps - _BLOCKS):
        msg = (
            f"The schedule needs 0 ≤ final_lr < peak_lr and {_BLOCKS} steps after the warm-up, "
            f"found final_lr {final_lr:g}, peak_lr {peak:g}, {total_steps} steps, warm-up "
            f"{warmup_steps}."
        )
        raise ArgumentError(msg)
    if end_lr is not None and not final_lr <= end_lr < peak:
        msg = (
            f"end_lr must lie between final_lr {final_lr:g} and peak_lr {peak:g}, found "
            f"{end_lr:g}. Leave it out for the best end."
        )
        raise ArgumentError(msg)
    if form != "free":
        if may_rise:
            msg = f"may_rise goes with form 'free'; {form} has its own course. Leave one out."
            raise ArgumentError(msg)
        check_decay(cast(DecayShape, form), (final_lr if end_lr is None else end_lr) / peak)


def _free(
    fit: CurveFit, frame: Frame, final_lr: float, end_lr: float | None, may_rise: bool
) -> Floats:
    peak, lowest = frame.peak_lr, frame.final_lr
    width = (frame.total_steps - frame.warmup_steps) / _BLOCKS
    centre = (np.arange(_BLOCKS) + 0.5) / _BLOCKS
    falls = [peak - (peak - lowest) * np.clip((centre - 1 + f) / f, 0, 1) for f in (0.2, 0.5, 1.0)]
    known = width, peak * frame.warmup_steps / 2, peak
    if may_rise:
        _, blocks = best_path(falls, *known, final_lr, fit.vector(), end=end_lr)
        return _per_step(blocks, frame, final_lr, end_lr)
    _, blocks = best_decay(falls, *known, lowest, fit.vector(), ends_lowest=end_lr is not None)
    return _per_step(blocks, frame, lowest, end_lr)


def _per_step(blocks: Floats, frame: Frame, lowest: float, end_lr: float | None) -> Floats:
    """Spread block rates over steps: straight lines through block centres, the last prolonged."""
    total, warmup, peak = frame.total_steps, frame.warmup_steps, frame.peak_lr
    width = (total - warmup) / len(blocks)
    centre = warmup + (np.arange(len(blocks)) + 0.5) * width
    last, end = float(total), max(lowest, 1.5 * blocks[-1] - 0.5 * blocks[-2])
    if end_lr is not None:
        last, end = float(total - 1), end_lr
    elif blocks[-1] > blocks[-2]:
        end = min(end, peak)
    lr = np.interp(np.arange(total), [warmup, *centre, last], [peak, *blocks, end])
    return warmed_up(lr, warmup, peak=peak)


def _warnings(fit: CurveFit, lr: Floats, peak: float, gain: Estimate) -> tuple[str, ...]:
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
    if gain.lower <= 0:
        notes.append(
            "The predicted gain is no larger than the error of the law: it is not shown that this "
            "schedule is better. The choice was made on the same law, which favours it."
        )
    return tuple(notes)
