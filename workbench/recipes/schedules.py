"""Learning-rate schedules as arrays of factors: 1 is the peak learning rate.

All of them are one shape: a linear warm-up, a plateau at the peak, and a decay over the last
`decay_fraction` of the run down to `final_lr_fraction`.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError

Schedule = Literal["constant", "linear", "cosine", "wsd"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
WSD_DECAY_FRACTION = 0.2


def decay_fraction_of(
    schedule: Schedule, *, warmup_fraction: float, decay_fraction: float | None = None
) -> float:
    """Return the share of the run over which the learning rate decays.

    Parameters
    ----------
    schedule : {"constant", "linear", "cosine", "wsd"}
        Name of the schedule.
    warmup_fraction : float
        Share of the run spent warming up.
    decay_fraction : float, optional
        The share asked for; by default everything after the warm-up for ``linear`` and
        ``cosine``, the last 20 % for ``wsd`` and nothing for ``constant``.

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
        usual = {"constant": 0.0, "wsd": min(WSD_DECAY_FRACTION, after_warmup)}
        return usual.get(schedule, after_warmup)
    if schedule == "constant" and decay_fraction != 0:
        msg = (
            f"decay_fraction is {decay_fraction!r} but a constant schedule does not decay. "
            "Leave it out, or choose schedule 'wsd'."
        )
        raise ArgumentError(msg)
    if schedule != "constant" and not 0 < decay_fraction <= 1 - warmup_fraction + 1e-12:
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
) -> NDArray[np.float64]:
    """Return the learning rate of every step as a share of the peak.

    Parameters
    ----------
    schedule : {"constant", "linear", "cosine", "wsd"}
        ``wsd`` (warm-up, stable, decay) cools down linearly.
    total_steps : int
        Planned optimiser steps T.
    warmup_fraction : float
        Share of the run over which the factor rises linearly; at least one step.
    decay_fraction : float, optional
        See `decay_fraction_of`.
    final_lr_fraction : float
        Factor the decay aims at; it would be reached one step after the last. Ignored by
        ``constant``.

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
    if total_steps < 1:
        msg = f"total_steps must be at least 1, found {total_steps!r}."
        raise ArgumentError(msg)
    if not 0 <= final_lr_fraction <= 1:
        msg = f"final_lr_fraction must be in [0, 1], found {final_lr_fraction!r}."
        raise ArgumentError(msg)
    share = decay_fraction_of(
        schedule, warmup_fraction=warmup_fraction, decay_fraction=decay_fraction
    )
    step = np.arange(total_steps, dtype=np.float64)
    warmup_steps = max(1, round(warmup_fraction * total_steps))
    warmup = np.minimum((step + 1) / warmup_steps, 1.0)
    if share == 0:
        return warmup
    # Counted from the end, but never from inside the rounded warm-up.
    start = max(total_steps * (1 - share), warmup_steps)
    elapsed = np.clip((step - start) / max(1.0, total_steps - start), 0.0, 1.0)
    fall = (1 - np.cos(np.pi * elapsed)) / 2 if schedule == "cosine" else elapsed
    factors: NDArray[np.float64] = warmup * (1 - (1 - final_lr_fraction) * fall)
    return factors
