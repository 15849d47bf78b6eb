"""The schedule of a recorded run, from its coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.errors import DataError
from workbench.recipes.schedules import SCHEDULES, NamedSchedule

_UNDECAYED = ("constant", "inverse_sqrt", "multi_step")
_SHAPE_NAMES = {"sqrt": "1-sqrt", "exp": "exponential"}


def schedule_from_coordinates(coords: Mapping[str, Any]) -> NamedSchedule:
    """Return the schedule that a run's coordinates describe.

    Parameters
    ----------
    coords : mapping
        Run coordinates by name, for instance ``dict(run.coords)`` of one run: ``schedule``, and
        where recorded ``warmup_fraction`` (or ``warmup_steps`` with ``total_steps``),
        ``decay_fraction``, ``final_lr_fraction`` and ``decay_shape``. What is missing or NaN takes
        its usual value: no warm-up, decay as the schedule has it, down to zero.

    Raises
    ------
    DataError
        If the schedule has no name, one that is not known, or parts that do not fit together.
    """
    name = str(_plain(coords.get("schedule")) or "")
    if name not in SCHEDULES or name == "multi_step":
        msg = (
            f"schedule {name!r} does not say how the learning rate went. Known are "
            f"{', '.join(s for s in SCHEDULES if s != 'multi_step')}; record learning_rate, or "
            "give the rates as a TabulatedSchedule."
        )
        raise DataError(msg)
    warmup = _number(coords, "warmup_fraction")
    steps, total = _number(coords, "warmup_steps"), _number(coords, "total_steps")
    if warmup is None:
        warmup = steps / total if steps is not None and total else 0.0
    decay = None if name in _UNDECAYED else _number(coords, "decay_fraction")
    if decay is not None:  # some trainers count the share from the end of the warm-up
        decay = min(decay, 1 - warmup)
    final = _number(coords, "final_lr_fraction") or 0.0
    shape = str(_plain(coords.get("decay_shape")) or "") if name == "wsd" else ""
    shape = _SHAPE_NAMES.get(shape, shape)
    try:
        return NamedSchedule(
            name,
            warmup_fraction=warmup,
            decay_fraction=decay or None,
            final_lr_fraction=final,
            decay_shape=shape or None,  # type: ignore[arg-type]
        )
    except ValueError as error:
        msg = f"The recorded schedule of the run does not hold together: {error}"
        raise DataError(msg) from error


def _plain(value: Any) -> Any:
    return np.asarray(value).item() if value is not None and np.ndim(value) == 0 else value


def _number(coords: Mapping[str, Any], name: str) -> float | None:
    value = _plain(coords.get(name))
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
