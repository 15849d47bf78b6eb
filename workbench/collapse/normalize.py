"""Normalise curves: both published ways and what lies between."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import xarray as xr

from workbench.collapse.groups import replicate_cells
from workbench.collapse.offset import Offset, resolve_offset
from workbench.curves import (
    POINTS,
    Smoother,
    final_loss,
    normalize_by,
    on_progress,
    smooth,
)
from workbench.errors import ArgumentError, DataError
from workbench.schema import add_history

Denominator = Literal["own", "setting-mean"]
Paper = Literal["qiu-2025", "bergsma-2025"]
_WINDOW_STEPS = 100
_LARGEST_WIDTH = 0.5


def normalize(
    loss: xr.DataArray, *, offset: Offset = "zero", denominator: Denominator = "own"
) -> xr.DataArray:
    """Return ℓ = (L − offset)/(L_final − offset).

    Parameters
    ----------
    loss : DataArray (run, progress)
        Loss curves [nats/token] with their run coordinates, from ``on_progress`` or
        ``cube_curves``. Smooth them first where single records are noisy: L_final is the curve's
        last value, so its error scales the whole curve.
    offset : "zero", "fit" or float
        Nothing (divide by the final loss, Bergsma et al. 2025), the irreducible loss fitted to
        the final losses (Qiu et al. 2025, Eq. 1), or a number [nats/token] between or beyond.
    denominator : {"own", "setting-mean"}
        The run's own final loss, or the mean over the seeds of its setting. The latter gives away
        the control variate that makes supercollapse: Δ within a setting is then σ
        (Qiu et al. 2025, section 3.3).

    Returns
    -------
    DataArray (run, progress)
        Normalised loss, 1 at the end (on average over seeds with ``"setting-mean"``); ``attrs``
        hold ``offset``, its interval and its method.

    Raises
    ------
    ArgumentError
        If an option is not one of its values.
    DataError
        If the fit is impossible or a run ends at or below the offset.
    """
    if denominator not in get_args(Denominator):
        msg = f"denominator must be own or setting-mean, found {denominator!r}."
        raise ArgumentError(msg)
    chosen = resolve_offset(loss, offset)
    ell = normalize_by(loss, offset=chosen.value)
    note = f"normalised with offset {chosen.value:.6g} ({chosen.method})"
    if denominator == "setting-mean":
        scaled = ell.transpose("run", ...) * _own_over_mean(loss, chosen.value)
        ell = scaled.rename(ell.name).assign_attrs(ell.attrs)
        note += ", divided by the mean final loss over seeds"
    return ell.assign_attrs(
        denominator=denominator,
        offset_lower=chosen.lower,
        offset_upper=chosen.upper,
        offset_method=chosen.method,
        history=add_history(ell.to_dataset(), note).attrs["history"],
    )


def _own_over_mean(loss: xr.DataArray, offset: float) -> xr.DataArray:
    final = final_loss(loss)
    mean = final.to_numpy().copy()
    for members in replicate_cells(loss):
        mean[members] = mean[members].mean()
    return (final - offset) / (mean - offset)


def normalize_as(
    runs: xr.Dataset,
    paper: Paper,
    *,
    points: int = POINTS,
    smoother: Smoother = "local-line",
    window_steps: int = _WINDOW_STEPS,
) -> xr.DataArray:
    """Normalise runs as a paper does.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    paper : {"qiu-2025", "bergsma-2025"}
        ``"qiu-2025"`` (arXiv:2507.02119): held-out loss, not smoothed, minus the fitted L0, over
        the run's own final value of that. ``"bergsma-2025"`` (arXiv:2509.25087): training loss
        smoothed over `window_steps` steps, over the end of the smoothed curve, no offset.
    points : int
        Points of progress.
    smoother : str
        For ``"bergsma-2025"``. The paper does not say how its moving average meets the end of the
        run; ``"trailing-average"`` is the common reading, which lifts L_final by half the window
        times the slope.
    window_steps : int
        Window in optimiser steps, the same for every run: a smaller share of a longer run, and
        never less than one cell of the grid, over which records are averaged anyway.

    Returns
    -------
    DataArray (run, progress)
        Normalised loss, 1 at the end.

    Raises
    ------
    ArgumentError
        If `paper` is unknown or `window_steps` is below 1.
    DataError
        If a run lacks what the way needs.
    """
    if paper not in get_args(Paper):
        msg = f"paper must be one of {', '.join(get_args(Paper))}, found {paper!r}."
        raise ArgumentError(msg)
    if paper == "qiu-2025":
        return normalize(on_progress(runs, loss="eval_loss", points=points), offset="fit")
    if window_steps < 1:
        msg = f"window_steps must be at least 1, found {window_steps}."
        raise ArgumentError(msg)
    curves = on_progress(runs, loss="train_loss", points=points)
    steps = curves["total_steps"].to_numpy()
    if not np.isfinite(steps).all():
        name = curves["run_id"].to_numpy()[~np.isfinite(steps)][0]
        msg = f"Run {name!s} lacks total_steps, which turns steps into shares of the run. Set it."
        raise DataError(msg)
    width = np.minimum(window_steps / steps, _LARGEST_WIDTH)
    smoothed = curves.copy()
    for value in np.unique(width):
        rows = np.flatnonzero(width == value)
        smoothed[rows] = smooth(curves[rows], width=float(value), smoother=smoother).to_numpy()
    said = f"{smoother.replace('-', ' ')}, {window_steps} steps"
    return normalize(smoothed.assign_attrs(smoothing=said), offset="zero")
