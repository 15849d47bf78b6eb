"""Normalise curves on the progress grid; choose what the x-axis counts."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import xarray as xr

from workbench.curves import kernels
from workbench.errors import ArgumentError, DataError

XAxis = Literal["progress", "tokens", "compute", "step"]
X_AXES: tuple[XAxis, ...] = get_args(XAxis)
_X_SCALES = {
    "tokens": ("tokens_total", "tokens seen", "tokens"),
    "compute": ("compute_total", "training compute", "FLOP"),
    "step": ("total_steps", "optimiser step", "steps"),
}


def final_loss(loss: xr.DataArray) -> xr.DataArray:
    """Return each curve's value at the end of the plan, DataArray (...) [nats/token]."""
    return loss.isel(progress=-1, drop=True)


def normalize_by(loss: xr.DataArray, *, offset: float = 0.0) -> xr.DataArray:
    """Return ℓ = (L − offset)/(L_final − offset) for a given offset.

    Parameters
    ----------
    loss : DataArray (..., progress)
        Curves, nats/token.
    offset : float
        Subtracted loss, nats/token. 0 divides by the final loss (Bergsma et al. 2025); the fitted
        irreducible loss gives Qiu et al. 2025, Eq. 1.

    Returns
    -------
    DataArray (..., progress)
        Normalised loss, dimensionless, exactly 1 at the end.

    Raises
    ------
    DataError
        If `offset` is not below every final loss, which would turn a curve upside down.
    """
    final = final_loss(loss)
    below = np.asarray(final <= offset)
    if below.any():
        named = loss["run_id"].to_numpy()[below][0] if "run_id" in loss.coords else "a curve"
        msg = (
            f"offset {offset:g} is not below the final loss of {int(below.sum())} runs, first "
            f"{named!s} ({float(final.min()):.4f} nats/token). Choose a smaller offset."
        )
        raise DataError(msg)
    ell: xr.DataArray = xr.apply_ufunc(
        kernels.normalize,
        loss,
        final,
        input_core_dims=[["progress"], []],
        output_core_dims=[["progress"]],
        kwargs={"offset": offset},
        dask="parallelized",
        output_dtypes=[float],
        keep_attrs=True,
    )
    return ell.rename("normalized_loss").assign_attrs(
        long_name="normalised loss ℓ", units="1", offset=offset
    )


def x_scale(runs: xr.Dataset | xr.DataArray, x: XAxis) -> xr.DataArray:
    """Return what one unit of progress is worth on another x-axis.

    Parameters
    ----------
    runs : Dataset or DataArray with run coordinates
        The runs.
    x : {"progress", "tokens", "compute", "step"}
        Axis; position on it is progress times the returned factor.

    Returns
    -------
    DataArray (run)
        Factor, with ``long_name`` and ``units`` of the axis.

    Raises
    ------
    ArgumentError
        If `x` is unknown.
    DataError
        If a run lacks the coordinate the axis needs.
    """
    if x not in X_AXES:
        msg = f"x must be one of {', '.join(X_AXES)}, found {x!r}."
        raise ArgumentError(msg)
    if x == "progress":
        ones = xr.ones_like(runs["run_id"], dtype=float)
        return ones.assign_attrs(long_name="progress, share of the planned run", units="1")
    coordinate, long_name, units = _X_SCALES[x]
    factor = runs[coordinate]
    if bool(factor.isnull().any()):
        lacking = runs["run_id"].to_numpy()[factor.isnull().to_numpy()][0]
        msg = f"x={x} needs {coordinate}, which run {lacking!s} lacks. Set it at import with --set."
        raise DataError(msg)
    return factor.reset_coords(drop=True).assign_attrs(long_name=long_name, units=units)
