"""Learning-rate schedules by name: 1 is the peak learning rate.

A schedule is a linear warm-up, a course at or below the peak, and a decay over the last
`decay_fraction` of the run down to `final_lr_fraction`. It is known both per step (what a trainer
multiplies its rate by) and as a function of progress, with its exact integral.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError
from workbench.recipes.course import Course, Floats
from workbench.recipes.decay import DecayShape, check_decay, decay_factor, decay_integral

Schedule = Literal[
    "constant",
    "linear",
    "cosine",
    "wsd",
    "inverse_sqrt",
    "multi_step",
    "1-sqrt",
    "quadratic",
    "square",
    "exponential",
    "harmonic",
    "multicosine",
]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
WSD_DECAY_FRACTION = 0.2
# Bi et al. 2024 (arXiv:2401.02954): 31.6 % of the peak after 80 % of the run, 10 % after 90 %.
MILESTONES = ((0.8, 0.316), (0.9, 0.1))
_UNDECAYED = ("constant", "inverse_sqrt", "multi_step")


@dataclass(frozen=True)
class NamedSchedule(Course):
    """A schedule by its name and fractions.

    Parameters
    ----------
    name : str
        ``constant``; ``linear`` (to zero: D2Z), ``cosine`` and the other decay shapes over
        everything after the warm-up; ``wsd`` (warm-up, stable, decay); ``inverse_sqrt``
        √(warm-up/progress); ``multi_step`` constant between `milestones`.
    warmup_fraction : float
        Share of the run over which the factor rises linearly.
    decay_fraction : float, optional
        Share of the run over which it falls; see `decay_fraction_of`.
    final_lr_fraction : float
        Factor at the end of the decay; ignored by schedules that do not decay.
    decay_shape : str, optional
        How ``wsd`` comes down, linear by default; other schedules are named after their shape.
    milestones : tuple of (progress, factor)
        Of ``multi_step``: from each progress on, the factor is the one given.

    Raises
    ------
    ArgumentError
        If the name or shape is unknown, a fraction is out of range or the parts overlap.

    Examples
    --------
    >>> d2z = NamedSchedule("linear", warmup_fraction=0.1)
    >>> d2z.at([0.05, 0.1, 0.55])
    array([0.5, 1. , 0.5])
    >>> round(float(d2z.flow_time(1.0)), 6)
    0.5
    """

    name: Schedule = "linear"
    warmup_fraction: float = 0.1
    decay_fraction: float | None = None
    final_lr_fraction: float = 0.0
    decay_shape: DecayShape | None = None
    milestones: tuple[tuple[float, float], ...] = MILESTONES

    def __post_init__(self) -> None:
        share = decay_fraction_of(
            self.name, warmup_fraction=self.warmup_fraction, decay_fraction=self.decay_fraction
        )
        object.__setattr__(self, "decay_fraction", share)
        if not 0 <= self.final_lr_fraction <= 1:
            msg = f"final_lr_fraction must be in [0, 1], found {self.final_lr_fraction!r}."
            raise ArgumentError(msg)
        if self.decay_shape is not None and self.name != "wsd":
            msg = (
                f"decay_shape is {self.decay_shape!r} but only 'wsd' takes one, and the schedule "
                f"is {self.name!r}. Leave it out, or choose schedule 'wsd'."
            )
            raise ArgumentError(msg)
        if share:
            check_decay(self.shape, self.final_lr_fraction)
        if self.name == "multi_step":
            _check_milestones(self.milestones, self.warmup_fraction)

    @property
    def decay_share(self) -> float:
        """Share of the run over which the rate comes down; `decay_fraction` once worked out."""
        return self.decay_fraction or 0.0

    @property
    def end_factor(self) -> float:
        """Factor the run ends at: the last learning rate as a share of the peak."""
        if self.name in ("inverse_sqrt", "multi_step"):
            return float(self.at(1.0))
        return self.final_lr_fraction if self.decay_share else 1.0

    @property
    def shape(self) -> DecayShape:
        """How the rate comes down, where it does."""
        if self.name == "wsd":
            return self.decay_shape or "linear"
        return "linear" if self.name in _UNDECAYED else self.name  # type: ignore[return-value]

    @property
    def knots(self) -> tuple[float, ...]:
        """Progress at which the formula changes."""
        inner = [m for m, _ in self.milestones] if self.name == "multi_step" else []
        start = 1 - self.decay_share
        return tuple(sorted({0.0, self.warmup_fraction, *inner, start, 1.0}))

    def at(self, progress: ArrayLike) -> Floats:
        """Return the factor at `progress`, share of the run; any shape."""
        x = self._checked(progress)
        warm, share = self.warmup_fraction, self.decay_share
        rise = np.minimum(x / warm, 1.0) if warm else np.ones_like(x)
        if self.name == "inverse_sqrt":
            return np.asarray(rise * _inverse_sqrt(x, warm))
        if self.name == "multi_step":
            return np.asarray(rise * self._levels(x))
        if not share:
            return rise
        elapsed = np.clip((x - (1 - share)) / share, 0.0, 1.0)
        return np.asarray(rise * decay_factor(self.shape, elapsed, final=self.final_lr_fraction))

    def flow_time(self, progress: ArrayLike) -> Floats:
        """Return ∫₀ˣ of the factor, exactly; 1 is a whole run at the peak rate."""
        x = self._checked(progress)
        warm, share = self.warmup_fraction, self.decay_share
        rise = np.minimum(x, warm) ** 2 / (2 * warm) if warm else np.zeros_like(x)
        if self.name == "inverse_sqrt":
            _inverse_sqrt(x, warm)
            return np.asarray(rise + 2 * np.sqrt(warm) * (np.sqrt(np.maximum(x, warm)) - warm**0.5))
        if self.name == "multi_step":
            edges = np.array([warm, *(m for m, _ in self.milestones), 1.0])
            levels = np.array([1.0, *(level for _, level in self.milestones)])
            spent = np.clip(x[..., None] - edges[:-1], 0.0, np.diff(edges))
            return np.asarray(rise + spent @ levels)
        plateau = np.clip(x - warm, 0.0, 1 - share - warm)
        if not share:
            return np.asarray(rise + plateau)
        elapsed = np.clip((x - (1 - share)) / share, 0.0, 1.0)
        fall = share * decay_integral(self.shape, elapsed, final=self.final_lr_fraction)
        return np.asarray(rise + plateau + fall)

    def factors(self, total_steps: int) -> Floats:
        """Return the factor of every step, ndarray of float64 of shape (total_steps,).

        The warm-up is rounded to whole steps, at least one, and rises to 1 on its last. The
        decay aims at its end one step after the last, so that no step is wasted at rate zero.
        """
        if total_steps < 1:
            msg = f"total_steps must be at least 1, found {total_steps!r}."
            raise ArgumentError(msg)
        step = np.arange(total_steps, dtype=np.float64)
        warmup_steps = max(1, round(self.warmup_fraction * total_steps))
        rise = np.minimum((step + 1) / warmup_steps, 1.0)
        share = self.decay_share
        if self.name == "inverse_sqrt":
            return np.asarray(rise * np.sqrt(np.minimum(warmup_steps / (step + 1), 1.0)))
        if self.name == "multi_step":
            return np.asarray(rise * self._levels(step / total_steps))
        if not share:
            return rise
        # Counted from the end, but never from inside the rounded warm-up.
        start = max(total_steps * (1 - share), warmup_steps)
        elapsed = np.clip((step - start) / max(1.0, total_steps - start), 0.0, 1.0)
        return np.asarray(rise * decay_factor(self.shape, elapsed, final=self.final_lr_fraction))

    def _levels(self, progress: Floats) -> Floats:
        edges = np.array([m for m, _ in self.milestones])
        levels = np.array([1.0, *(level for _, level in self.milestones)])
        return np.asarray(levels[np.searchsorted(edges - 1e-12, progress, side="right")])


def decay_fraction_of(
    schedule: Schedule, *, warmup_fraction: float, decay_fraction: float | None = None
) -> float:
    """Return the share of the run over which the learning rate decays.

    Parameters
    ----------
    schedule : str
        Name of the schedule, one of `SCHEDULES`.
    warmup_fraction : float
        Share of the run spent warming up.
    decay_fraction : float, optional
        The share asked for; by default the last 20 % for ``wsd``, nothing for ``constant``,
        ``inverse_sqrt`` and ``multi_step``, and everything after the warm-up for the others.

    Returns
    -------
    float

    Raises
    ------
    ArgumentError
        If the schedule is unknown or warm-up and decay overlap or leave [0, 1].
    """
    if schedule not in SCHEDULES:
        msg = f"schedule must be one of {', '.join(SCHEDULES)}, found {schedule!r}."
        raise ArgumentError(msg)
    if not 0 <= warmup_fraction < 1:
        msg = f"warmup_fraction must be in [0, 1), found {warmup_fraction!r}. 0.1 is usual."
        raise ArgumentError(msg)
    if decay_fraction is None:
        after_warmup = 1 - warmup_fraction
        if schedule in _UNDECAYED:
            return 0.0
        return min(WSD_DECAY_FRACTION, after_warmup) if schedule == "wsd" else after_warmup
    if schedule in _UNDECAYED and decay_fraction != 0:
        article = "an" if schedule == "inverse_sqrt" else "a"
        msg = (
            f"decay_fraction is {decay_fraction!r} but {article} {schedule} schedule does not "
            "decay at its end. Leave it out, or choose schedule 'wsd'."
        )
        raise ArgumentError(msg)
    if schedule not in _UNDECAYED and not 0 < decay_fraction <= 1 - warmup_fraction + 1e-12:
        msg = (
            f"decay_fraction must be above 0 and at most 1 − warmup_fraction = "
            f"{1 - warmup_fraction:g}, found {decay_fraction!r}."
        )
        raise ArgumentError(msg)
    return decay_fraction


def schedule_factors(
    schedule: Schedule,
    *,
    total_steps: int,
    warmup_fraction: float = 0.1,
    decay_fraction: float | None = None,
    final_lr_fraction: float = 0.0,
    decay_shape: DecayShape | None = None,
) -> NDArray[np.float64]:
    """Return the learning rate of every step as a share of the peak.

    Parameters
    ----------
    schedule : str
        Name, one of `SCHEDULES`.
    total_steps : int
        Planned optimiser steps T.
    warmup_fraction, decay_fraction, final_lr_fraction, decay_shape
        See `NamedSchedule`.

    Returns
    -------
    ndarray of float64, shape (total_steps,)

    Raises
    ------
    ArgumentError
        If a fraction is out of range or `total_steps` is below 1.

    Examples
    --------
    >>> schedule_factors("linear", total_steps=5, warmup_fraction=0.2)
    array([1.  , 1.  , 0.75, 0.5 , 0.25])
    """
    return NamedSchedule(
        schedule, warmup_fraction, decay_fraction, final_lr_fraction, decay_shape
    ).factors(total_steps)


def _inverse_sqrt(progress: Floats, warm: float) -> Floats:
    if not warm:
        msg = (
            "An inverse_sqrt schedule without warm-up has no peak: its rate grows without bound "
            "towards progress 0. Give warmup_fraction above 0."
        )
        raise ArgumentError(msg)
    return np.sqrt(warm / np.maximum(progress, warm))


def _check_milestones(milestones: tuple[tuple[float, float], ...], warm: float) -> None:
    where = [progress for progress, _ in milestones]
    ordered = all(a < b for a, b in zip([warm, *where], [*where, 1.0], strict=True))
    if not ordered or not all(0 <= level <= 1 for _, level in milestones):
        msg = (
            f"milestones must rise in progress between warmup_fraction {warm:g} and 1, each with a "
            f"factor in [0, 1], found {milestones!r}. For instance ((0.8, 0.316), (0.9, 0.1))."
        )
        raise ArgumentError(msg)
