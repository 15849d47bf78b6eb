"""The slower half of a report: S with its interval, and why the worst run is off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse.causes import Diagnosis
from workbench.collapse.compared import LATEST_START
from workbench.collapse.diagnose import diagnose
from workbench.collapse.quality import CollapseQuality, collapse_quality
from workbench.curves import final_loss, is_complete, normalize_by, on_progress
from workbench.errors import DataError
from workbench.schema import LossName, row_bounds, take_runs

Smooth = Callable[[xr.DataArray], xr.DataArray]


def scored(
    kept: xr.DataArray, raw: xr.DataArray, smoother: Smooth, *, offset: float, start: float
) -> tuple[CollapseQuality | None, str]:
    """Return the quality of the compared runs, or None and what is missing.

    Parameters
    ----------
    kept : DataArray (run, progress)
        Compared curves [nats/token], smoothed.
    raw : DataArray (run, progress)
        All curves before smoothing.
    smoother : callable
        What smoothed them.
    offset, start : float
        As in the report.
    """
    same = np.isin(raw["run_id"].to_numpy(), kept["run_id"].to_numpy())
    unsmoothed = raw.isel(run=np.flatnonzero(same))
    try:
        found = collapse_quality(
            kept, offset=offset, start=start, raw=unsmoothed, smoother=smoother
        )
    except DataError as error:
        return None, str(error)
    return found, ""


def diagnosed(
    ell: xr.DataArray,
    neighbours: xr.Dataset | None,
    smoother: Smooth,
    run_id: str,
    *,
    start: float,
) -> Diagnosis:
    """Return why a run is off, with finished neighbours of the same family beside it.

    Parameters
    ----------
    ell : DataArray (run, progress)
        Normalised curves of the compared runs.
    neighbours : Dataset (run, obs) or None
        Further runs.
    smoother : callable
        What smoothed the curves.
    run_id : str
        The run.
    start : float
        Residuals are looked at from here on.
    """
    more = None if neighbours is None else _neighbours(ell, neighbours, smoother)
    if more is None:
        return diagnose(ell, run_id, start=start)
    names = [n for n in ell.coords if ell[n].dims == ("run",) and n in more.coords]
    parts = [
        part.reset_coords(drop=True).assign_coords({n: part[n] for n in names})
        for part in (ell, more)
    ]
    return diagnose(xr.concat(parts, dim="run", join="exact"), run_id, start=start)


def _neighbours(ell: xr.DataArray, neighbours: xr.Dataset, smoother: Smooth) -> xr.DataArray | None:
    """Return normalised curves of the family's other finished runs, None when there are none."""
    loss: LossName = "train_loss" if ell.attrs["loss"] == "train_loss" else "eval_loss"
    wanted = ~np.isin(neighbours["run_id"].to_numpy(), ell["run_id"].to_numpy())
    if "family" in ell.coords and "family" in neighbours.coords:
        wanted &= np.isin(neighbours["family"].to_numpy(), ell["family"].to_numpy())
    wanted &= _has(neighbours, loss)
    planned = neighbours["tokens_total"].notnull() | neighbours["total_steps"].notnull()
    wanted &= planned.to_numpy()
    if not wanted.any():
        return None
    curves = smoother(
        on_progress(take_runs(neighbours, wanted), loss=loss, points=ell.sizes["progress"])
    )
    first = curves["progress"].to_numpy()[curves.notnull().to_numpy().argmax(axis=1)]
    above = (final_loss(curves) > ell.attrs["offset"]).to_numpy()
    usable = is_complete(curves).to_numpy() & above & (first <= LATEST_START)
    if not usable.any():
        return None
    return normalize_by(curves.isel(run=np.flatnonzero(usable)), offset=ell.attrs["offset"])


def _has(runs: xr.Dataset, loss: str) -> NDArray[np.bool_]:
    """Return which runs have a finite value of a loss."""
    if loss not in runs.variables:
        return np.zeros(runs.sizes["run"], bool)
    counts = np.concatenate([[0], np.cumsum(np.isfinite(runs[loss].to_numpy()))])
    return np.asarray(np.diff(counts[row_bounds(runs)]) > 0)
