"""The offset a page starts with: L0 fitted to the finished runs, where that is worth showing."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from workbench.collapse import WINDOW_START, fit_offset
from workbench.collapse.kernels import excess_spread
from workbench.curves import final_loss, is_complete, normalize_by
from workbench.errors import ArgumentError, DataError
from workbench.views.offset_track import OffsetTrack, offset_track

_CLEARLY = 0.5
"""Share of the relative spread without offset that the fitted offset must reach to come first."""


def fitted_track(curves: xr.DataArray) -> tuple[OffsetTrack, str]:
    """Return the offset slider's track, and why L0 could not be fitted ("" where it was).

    Parameters
    ----------
    curves : DataArray (run, progress)
        Smoothed loss [nats/token]; may hold no run, or none that has finished.
    """
    done = np.flatnonzero(is_complete(curves)) if curves.sizes["run"] else np.empty(0, int)
    if not len(done):
        finite = curves.to_numpy()[np.isfinite(curves.to_numpy())]
        track = offset_track(float(finite.min()) if len(finite) else 1.0, None)
        return track, "No run has finished, so there is no end point to fit L₀ to."
    estimate, problem = None, ""
    try:
        estimate = fit_offset(curves)
    except (DataError, ArgumentError) as error:
        problem = str(error)
    return offset_track(float(final_loss(curves.isel(run=done)).min()), estimate), problem


def first_offset(track: OffsetTrack, curves: xr.DataArray) -> Literal["fit", "zero"]:
    """Return "fit" where L0 is pinned down and clearly brings the finished curves together."""
    estimate = track.estimate
    if estimate is None or not track.identified:
        return "zero"
    done = curves.isel(run=np.flatnonzero(is_complete(curves)))
    late = done["progress"].to_numpy() >= WINDOW_START

    def apart(offset: float) -> float:
        return excess_spread(normalize_by(done, offset=offset).to_numpy()[:, late])

    try:
        return "fit" if apart(estimate.value) < _CLEARLY * apart(0.0) else "zero"
    except DataError:  # a run ends below the fitted L0
        return "zero"
