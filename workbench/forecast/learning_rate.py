"""The learning rate a run has, or has planned, at every progress, as a share of its peak."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import record_progress
from workbench.errors import DataError
from workbench.recipes import schedule_from_coordinates
from workbench.schema import coordinate_names, row_bounds, run_names

Floats = NDArray[np.float64]
_COVERED = (0.1, 0.9)


def learning_rate_factors(runs: xr.Dataset, *, points: int) -> xr.DataArray:
    """Return the learning rate over its peak on the grid k/points, k = 1..points.

    The recorded learning rate is taken where it covers the run from 10 % to 90 % of the plan;
    else, and for a run that is cut off, the schedule that its coordinates describe.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    points : int
        Grid size.

    Returns
    -------
    DataArray (run, progress)

    Raises
    ------
    DataError
        If a run neither recorded its learning rate nor names a known schedule.
    """
    grid = np.arange(1, points + 1) / points
    recorded = "learning_rate" in runs.variables
    position = record_progress(runs).to_numpy()
    out = np.empty((runs.sizes["run"], points))
    for i, (first, last) in enumerate(pairwise(row_bounds(runs))):
        found = None
        if recorded:
            rates = runs["learning_rate"].to_numpy()[first:last].astype(np.float64)
            found = _from_records(position[first:last], rates, grid)
        out[i] = _from_name(runs, i, points) if found is None else found
    attrs = {"long_name": "learning rate as a share of its peak", "units": "1"}
    coords = {"run_id": runs["run_id"], "progress": grid}
    return xr.DataArray(out, dims=("run", "progress"), coords=coords, attrs=attrs)


def _from_records(position: Floats, rates: Floats, grid: Floats) -> Floats | None:
    known = np.isfinite(rates)
    if int(known.sum()) < 8:
        return None
    x, rate = position[known], rates[known]
    if x[0] > _COVERED[0] or x[-1] < _COVERED[1] or rate.max() <= 0:
        return None
    return np.asarray(np.interp(grid, x, rate / rate.max()))


def _from_name(runs: xr.Dataset, i: int, points: int) -> Floats:
    coords = {name: runs[name].to_numpy()[i] for name in coordinate_names(runs)}
    try:
        return schedule_from_coordinates(coords).factors(points)
    except DataError as error:
        msg = (
            f"The learning rate of run {run_names(runs)[i]!r} is not recorded over the whole run, "
            f"and nothing stands in for it: {error}"
        )
        raise DataError(msg) from error
