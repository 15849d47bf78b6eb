"""The beginning of a run, and nothing after it: cut at a share of the plan and described there."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import COMPLETE, cube_curves, default_loss, record_progress, require_loss
from workbench.errors import ArgumentError, DataError
from workbench.forecast.kernels_prefix import end_level, prefix_line
from workbench.schema import LossName, coordinate_names, make_runs, record_names, row_bounds
from workbench.schema import run_names as names_of

END_WIDTH = 0.05
"""Share of the run whose training loss is smoothed into a final loss."""
WINDOW = 0.5
"""The window of a prefix starts at this share of it: at 30 % of training, at 15 %."""
_TOLERANCE = 1e-9


def as_runs(data: xr.Dataset) -> xr.Dataset:
    """Return ragged runs (run, obs) from ragged runs, one run without its dimension, or a cube.

    Raises
    ------
    DataError
        If `data` is none of these.
    """
    if "obs" in data.dims and "run" in data.dims:
        return data
    if "obs" in data.dims and "run_id" in data.variables and data["run_id"].ndim == 0:
        scalars = [str(n) for n in data.variables if data[n].ndim == 0 and n != "row_size"]
        return make_runs(
            {name: [data[name].item()] for name in scalars},
            {name: data[name].to_numpy() for name in record_names(data)},
            row_size=[data.sizes["obs"]],
            attrs=data.attrs,
        )
    if "progress" in data.dims and "loss" in data.variables:
        return _from_cube(data)
    msg = (
        f"A forecast needs ragged runs (run, obs) or a cube with progress, found dims "
        f"{', '.join(map(str, data.dims))}. Give the runs of a store, or to_cube of them."
    )
    raise DataError(msg)


def _from_cube(cube: xr.Dataset) -> xr.Dataset:
    curves = cube_curves(cube)
    coords = {str(n): curves[n].to_numpy() for n in curves.coords if curves[n].dims == ("run",)}
    size, points = curves.shape
    # A plan of `points` steps puts every grid point at its own progress.
    coords |= {"total_steps": np.full(size, float(points)), "tokens_total": np.full(size, np.nan)}
    step = np.tile(np.arange(1, points + 1), size)
    records = {"step": step, str(curves.name): curves.to_numpy().ravel()}
    return make_runs(coords, records, row_size=np.full(size, points))


def truncate(runs: xr.Dataset, at: float) -> xr.Dataset:
    """Keep the records up to progress `at` of the planned run.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    at : float
        Share of the plan, in (0, 1].

    Returns
    -------
    Dataset (run, obs)
        No record lies beyond `at`; the plan (``total_steps``, ``tokens_total``) is unchanged.

    Raises
    ------
    ArgumentError
        If `at` is outside (0, 1].
    """
    if not 0 < at <= 1:
        msg = f"at must be a share of training in (0, 1], found {at!r}. 0.3 means 30 %."
        raise ArgumentError(msg)
    keep = record_progress(runs).to_numpy() <= at + _TOLERANCE
    bounds = row_bounds(runs)
    counts = np.concatenate([[0], np.cumsum(keep)])[bounds]
    cut = runs.isel(obs=np.flatnonzero(keep))
    return cut.assign(row_size=("run", np.diff(counts), runs["row_size"].attrs))


def hide_losses(runs: xr.Dataset, at: float) -> xr.Dataset:
    """Return the runs with every loss beyond progress `at` missing and their plan in place.

    The steps and the learning rate stay: a rate is what the run was told, not how it went.
    """
    late = xr.DataArray(record_progress(runs).to_numpy() > at + _TOLERANCE, dims="obs")
    losses = [name for name in ("eval_loss", "train_loss") if name in runs.variables]
    return runs.assign({name: runs[name].where(~late) for name in losses})


def warmup_end(runs: xr.Dataset) -> NDArray[np.float64]:
    """Return the share of each run spent warming up, 0 where it was not recorded; shape (run,)."""
    empty = np.full(runs.sizes["run"], np.nan)
    by_share = runs["warmup_fraction"].to_numpy() if "warmup_fraction" in runs else empty
    by_steps = empty
    if "warmup_steps" in runs:
        by_steps = runs["warmup_steps"].to_numpy() / runs["total_steps"].to_numpy()
    return np.nan_to_num(np.where(np.isnan(by_share), by_steps, by_share))


def describe_prefix(runs: xr.Dataset, *, at: float, loss: LossName) -> xr.Dataset:
    """Say where each run stands at progress `at` and how it falls there.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs; records beyond `at` are not looked at.
    at : float
        Share of the plan.
    loss : {"eval_loss", "train_loss"}
        Which loss.

    Returns
    -------
    Dataset (run)
        ``level``, the log loss at `at`; ``slope``, −d log L/d log x; ``level_sd``; ``n_records``
        used; ``reached``, the progress of the last finite record; and every run coordinate. All
        of them are read from a line in log-log coordinates through the records of the window
        from `at`/2 (or the end of the warm-up) to `at`; NaN for a run with fewer than three.
    """
    cut = truncate(runs, at)
    position, values = record_progress(cut).to_numpy(), cut[loss].to_numpy().astype(np.float64)
    start = np.maximum(WINDOW * at, warmup_end(cut))
    rows = np.full((cut.sizes["run"], 5), np.nan)
    for i, (first, last) in enumerate(pairwise(row_bounds(cut))):
        x, y = position[first:last], values[first:last]
        known = np.isfinite(y) & (y > 0)
        if known.any():
            line = prefix_line(x[known], y[known], at=at, start=float(start[i]))
            rows[i] = [*line, x[known][-1]]
    names = ("level", "slope", "level_sd", "n_records", "reached")
    coords = {name: cut[name].variable for name in coordinate_names(cut)}
    data = {name: ("run", column) for name, column in zip(names, rows.T, strict=True)}
    return xr.Dataset(data, coords=coords, attrs={"at": at, "loss": loss})


def final_levels(runs: xr.Dataset, *, loss: LossName) -> xr.DataArray:
    """Return the log final loss of every finished run, NaN for the others; DataArray (run).

    A run is finished when its last record lies within 3 % of the plan, or within one interval of
    its own logging, from the planned end. The held-out loss is read at that record; the training
    loss from a robust line through the last 5 % of the run.
    """
    position, values = record_progress(runs).to_numpy(), runs[loss].to_numpy().astype(np.float64)
    width = END_WIDTH if loss == "train_loss" else 0.0
    out = np.full(runs.sizes["run"], np.nan)
    for i, (first, last) in enumerate(pairwise(row_bounds(runs))):
        x, y = position[first:last], values[first:last]
        known = np.isfinite(y) & (y > 0)
        if not known.any():
            continue
        x, y = x[known], y[known]
        interval = float(np.median(np.diff(x))) if len(x) > 2 else 0.0
        if x[-1] >= min(COMPLETE, 1 - interval * (1 + 1e-6)):
            out[i] = end_level(x, y, width=width)
    attrs = {"long_name": "log of the final loss", "units": "1"}
    return xr.DataArray(out, dims="run", coords={"run_id": runs["run_id"]}, attrs=attrs)


def loss_of(run: xr.Dataset, reference: xr.Dataset | None, loss: LossName | None) -> LossName:
    """Return the loss that both the run and every reference, if any, have.

    Raises
    ------
    DataError
        If a run lacks it, or they have none in common.
    """
    if reference is None:
        return default_loss(run) if loss is None else require_loss(run, loss)
    if loss is not None:
        require_loss(reference, loss)
        return require_loss(run, loss)
    chosen = default_loss(reference)
    try:
        return require_loss(run, chosen)
    except DataError:
        other = default_loss(run)
        try:
            return require_loss(reference, other)
        except DataError:
            msg = (
                f"Run {names_of(run)[0]!r} has {other}, its references have {chosen}. Give "
                "references that log the same loss, or choose --loss."
            )
            raise DataError(msg) from None
