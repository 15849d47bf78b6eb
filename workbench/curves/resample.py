"""From ragged runs to curves on one grid of progress, the common axis of a family."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import kernels
from workbench.errors import ArgumentError, DataError
from workbench.schema import (
    LOSSES,
    LossName,
    add_history,
    coordinate_names,
    field_attrs,
    row_bounds,
    run_names,
)

POINTS = 200
"""Every half percent of a run: the shares of training that papers quote are grid points."""
COMPLETE = 0.97
"""A run whose last record lies at or beyond this share of its plan counts as finished."""

Method = Literal["auto", "linear", "mean"]


def default_loss(runs: xr.Dataset) -> LossName:
    """Return ``"eval_loss"`` where every run has it, else ``"train_loss"``.

    Raises
    ------
    DataError
        If neither loss is finite in every run.
    """
    for loss in LOSSES:
        if loss in runs.variables and not _without(runs, loss):
            return loss
    for loss in reversed(LOSSES):
        if loss in runs.variables:
            return require_loss(runs, loss)
    msg = "These runs have no loss. Import train_loss or eval_loss."
    raise DataError(msg)


def require_loss(runs: xr.Dataset, loss: LossName) -> LossName:
    """Return `loss` when every run has a finite value of it.

    Raises
    ------
    ArgumentError
        If `loss` is not a loss of the schema.
    DataError
        If a run has no finite value of it.
    """
    if loss not in LOSSES:
        msg = f"loss must be one of {', '.join(LOSSES)}, found {loss!r}."
        raise ArgumentError(msg)
    missing = run_names(runs) if loss not in runs.variables else _without(runs, loss)
    if missing:
        other = next(name for name in LOSSES if name != loss)
        msg = (
            f"{len(missing)} of {runs.sizes['run']} runs have no finite {loss}, first "
            f"{missing[0]!r}. Choose --loss {other}, or filter them out with --where."
        )
        raise DataError(msg)
    return loss


def _without(runs: xr.Dataset, loss: str) -> list[str]:
    finite, bounds = np.isfinite(runs[loss].to_numpy()), row_bounds(runs)
    counts = np.diff(np.concatenate([[0], np.cumsum(finite)])[bounds])
    return [name for name, count in zip(run_names(runs), counts, strict=True) if not count]


def record_progress(runs: xr.Dataset) -> xr.DataArray:
    """Return the progress of every record: the share of the **planned** run, tokens/D or step/T.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.

    Returns
    -------
    DataArray (obs)

    Raises
    ------
    DataError
        If a run has neither ``tokens_total`` with tokens nor ``total_steps``: the last logged
        step is never taken for the plan.
    """
    size = runs["row_size"].to_numpy()
    n_obs = runs.sizes["obs"]
    tokens = runs["tokens"].to_numpy() if "tokens" in runs.variables else np.full(n_obs, np.nan)
    by_tokens = tokens / np.repeat(runs["tokens_total"].to_numpy(), size)
    by_steps = runs["step"].to_numpy() / np.repeat(runs["total_steps"].to_numpy(), size)
    whole = np.repeat(_all_known(by_tokens, row_bounds(runs)), size)
    progress = np.where(whole, by_tokens, by_steps)
    unknown = np.flatnonzero(np.isnan(progress))
    if len(unknown):
        run = int(np.searchsorted(row_bounds(runs), unknown[0], side="right")) - 1
        msg = (
            f"The planned length of run {run_names(runs)[run]!r} is unknown: it has neither "
            "total_steps nor tokens_total. Import it again with --set total_steps=N (or "
            "--set total_steps=last if the last logged step is the planned end)."
        )
        raise DataError(msg)
    return xr.DataArray(progress, dims="obs", attrs={"units": "1", "long_name": "progress"})


def _all_known(values: NDArray[np.float64], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    unknown = np.concatenate([[0], np.cumsum(np.isnan(values))])[bounds]
    return np.asarray(np.diff(unknown) == 0)


def on_progress(
    runs: xr.Dataset,
    *,
    loss: LossName | None = None,
    points: int = POINTS,
    method: Method = "auto",
) -> xr.DataArray:
    """Resample every run to the same grid of progress.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`.
    points : int
        Grid size; progress is k/points for k = 1..points.
    method : {"auto", "linear", "mean"}
        Linear interpolation, or the mean over the grid cell (reads every record). ``"auto"`` is
        linear for the held-out loss and the mean for the training loss.

    Returns
    -------
    DataArray (run, progress)
        Loss [nats/token], with every run coordinate; NaN before a run's first record and after
        the last one of an unfinished run.

    Raises
    ------
    ArgumentError
        If `points` is below 8.
    DataError
        If a run has no finite loss or an unknown planned length.
    """
    if points < 8:
        msg = f"points must be at least 8, found {points}."
        raise ArgumentError(msg)
    loss = default_loss(runs) if loss is None else require_loss(runs, loss)
    if method == "auto":
        method = "mean" if loss == "train_loss" else "linear"
    kernel = kernels.resample_mean if method == "mean" else kernels.resample_linear
    grid = kernels.progress_grid(points)
    position = record_progress(runs).to_numpy()
    values, bounds = runs[loss].to_numpy(), row_bounds(runs)
    out = np.empty((runs.sizes["run"], points))
    for i, (start, stop) in enumerate(pairwise(bounds)):
        rows = slice(int(start), int(stop))
        out[i] = kernel(position[rows], values[rows], grid, hold_from=COMPLETE)
    coords = {name: runs[name].variable for name in coordinate_names(runs)}
    progress = xr.Variable(
        "progress", grid, {"units": "1", "long_name": "progress, share of the planned run"}
    )
    attrs = {**field_attrs(loss), "resample_method": method, "points": points}
    curves = xr.DataArray(
        out, dims=("run", "progress"), coords={**coords, "progress": progress}, name=loss
    ).assign_attrs(attrs, history=str(runs.attrs.get("history", "")))
    note = f"resampled {loss} to {points} points of progress, {method}"
    return curves.assign_attrs(history=add_history(curves.to_dataset(), note).attrs["history"])


def is_complete(curves: xr.DataArray) -> xr.DataArray:
    """Return which runs have a value at the end of the plan, DataArray (run) of bool."""
    return curves.isel(progress=-1, drop=True).notnull()
