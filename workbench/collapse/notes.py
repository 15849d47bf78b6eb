"""What the verdict must add about seeds and offset."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse.groups import seed_cells
from workbench.collapse.offset import OffsetEstimate
from workbench.collapse.statistics import crossing, deviation, noise_floor
from workbench.collapse.verdict import HALF
from workbench.curves import final_loss, normalize_by

_INTERVAL_TRIALS = 9


def seed_notes(curves: xr.DataArray) -> tuple[str, ...]:
    """Say when seed noise rests on runs whose seed nobody recorded."""
    seeds = curves["seed"].to_numpy()
    if not any(np.isnan(seeds[rows]).any() for rows in seed_cells(curves)):
        return ()
    return ("Seeds are not recorded: runs alike in all that is recorded count as repeats.",)


def offset_notes(curves: xr.DataArray, offset: OffsetEstimate) -> tuple[str, ...]:
    """Say when L0 is not identified, or when the verdict changes within its interval."""
    if offset.fit is None:
        return ()
    if not offset.fit.identified:
        return offset.fit.warnings
    highest = min(offset.upper, float(final_loss(curves).min()) * (1 - 1e-9))
    trial = np.linspace(offset.lower, highest, _INTERVAL_TRIALS)
    cells = seed_cells(curves)
    holds = np.array([_holds(curves, float(value), cells) for value in trial])
    if holds.all() or not holds.any():
        return ()
    low, high = trial[holds].min(), trial[holds].max()
    return (
        f"Depends on L0: holds for {low:.3f} to {high:.3f} of its interval "
        f"{offset.lower:.3f} to {offset.upper:.3f} nats/token.",
    )


def _holds(curves: xr.DataArray, offset: float, cells: list[NDArray[np.int64]]) -> bool:
    sigma = noise_floor(curves, offset=offset, cells=cells)
    if sigma is None:
        return False
    beyond = crossing(deviation(normalize_by(curves, offset=offset)), sigma)
    return beyond is not None and beyond <= HALF


def offset_label(offset: OffsetEstimate) -> str:
    """Return how the verdict names the offset, such as "With no offset"."""
    if offset.fit is not None:
        return "With the fitted L0"
    return "With no offset" if offset.value == 0 else f"With offset {offset.value:.3f}"
