"""From ragged runs to curves on one grid of progress, the common axis of a family."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import kernels
from workbench.curves.blockwise import is_lazy, only_loss, resample_blocks
from workbench.curves.kernels_ragged import Estimator, resample_ragged
from workbench.errors import ArgumentError, DataError
from workbench.schema import (
    LOSSES,
    LossName,
    add_history,
    any_in_run,
    coordinate_names,
    field_attrs,
    row_bounds,
    run_names,
)

POINTS = 256
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
    values, bounds = runs[loss].to_numpy(), row_bounds(runs)
    lacking = np.diff(bounds) == 0
    # Most runs end with a finite loss: only the others are read from their start.
    unsure = np.flatnonzero(~lacking)
    unsure = unsure[~np.isfinite(values[bounds[unsure + 1] - 1])]
    for i in unsure:
        lacking[i] = not np.isfinite(values[bounds[i] : bounds[i + 1]]).any()
    names = runs["run_id"].to_numpy()
    return [str(name) for name in names[lacking]]


@dataclass(frozen=True)
class Clock:
    """What progress is counted in: ``x / total`` is the share of the planned run.

    Parameters
    ----------
    x : ndarray of shape (obs,)
        Steps or tokens of every record.
    total : ndarray of shape (run,)
        Their planned end.
    steps : bool
        `x` is the steps of all runs, which rise in the schema; nothing is known of tokens.
    """

    x: NDArray[np.generic]
    total: NDArray[np.float64]
    steps: bool = False


def _clock(runs: xr.Dataset) -> Clock:
    """Return tokens where a run has all of them and their planned end, else steps."""
    bounds, steps = row_bounds(runs), runs["step"].to_numpy()
    filled = np.diff(bounds) > 0
    total = runs["total_steps"].to_numpy().astype(np.float64)
    by_tokens = (runs["tokens_total"].to_numpy() > 0) & ("tokens" in runs.variables)
    if by_tokens.any():
        tokens = runs["tokens"].to_numpy()
        by_tokens &= ~any_in_run(np.isnan(tokens), bounds)
    unknown = ~(total > 0) & ~by_tokens & filled
    if unknown.any():
        name = run_names(runs)[int(unknown.argmax())]
        msg = (
            f"The planned length of run {name!r} is unknown: it has neither "
            "total_steps nor tokens_total. Import it again with --set total_steps=N (or "
            "--set total_steps=last if the last logged step is the planned end)."
        )
        raise DataError(msg)
    if not by_tokens.any():
        return Clock(steps, total, steps=True)
    total = np.where(by_tokens, runs["tokens_total"].to_numpy(), total)
    if by_tokens[filled].all():
        return Clock(tokens, total)
    return Clock(np.where(np.repeat(by_tokens, np.diff(bounds)), tokens, steps), total)


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
    clock = _clock(runs)
    progress = clock.x / np.repeat(clock.total, runs["row_size"].to_numpy())
    return xr.DataArray(progress, dims="obs", attrs={"units": "1", "long_name": "progress"})


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
        Ragged runs. Where their records are Dask arrays the curves are too: nothing is computed,
        and blocks of whole runs are read one at a time when they are.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`. Runs on Dask arrays that have both need it said.
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
        If `points` is below 8, or runs on Dask arrays have two losses and none is named.
    DataError
        If a run has no finite loss or an unknown planned length; on Dask arrays when the curves
        are computed.
    """
    if points < 8:
        msg = f"points must be at least 8, found {points}."
        raise ArgumentError(msg)
    lazy = is_lazy(runs)
    if loss is None:
        loss = only_loss(runs) if lazy else default_loss(runs)
    elif loss not in LOSSES or loss not in runs.variables:
        require_loss(runs, loss)
    method = ("mean" if loss == "train_loss" else "linear") if method == "auto" else method
    resample = partial(_resampled, loss=loss, method=method, points=points)
    out = resample_blocks(runs, loss, resample, points) if lazy else resample(runs)
    grid = kernels.progress_grid(points)
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


def _resampled(
    runs: xr.Dataset, *, loss: LossName, method: Estimator, points: int
) -> NDArray[np.float64]:
    require_loss(runs, loss)
    clock = _clock(runs)
    return resample_ragged(
        clock.x,
        runs[loss].to_numpy(),
        row_bounds(runs),
        clock.total,
        kernels.progress_grid(points),
        method=method,
        hold_from=COMPLETE,
        rising=clock.steps,
    )


def is_complete(curves: xr.DataArray) -> xr.DataArray:
    """Return which runs have a value at the end of the plan, DataArray (run) of bool."""
    return curves.isel(progress=-1, drop=True).notnull()
