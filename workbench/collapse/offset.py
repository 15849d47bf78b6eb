"""The offset that is subtracted before normalising: none, a number, or the fitted L0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from workbench.collapse.groups import largest_matched
from workbench.curves import final_loss, is_complete
from workbench.errors import ArgumentError, DataError
from workbench.laws import PFLOP, PowerLawFit, fit_power_law

Offset = float | Literal["zero", "fit"]
_FEWEST_SIZES = 3


@dataclass(frozen=True)
class OffsetEstimate:
    """An offset [nats/token], its interval and how it was obtained.

    Parameters
    ----------
    value, lower, upper : float
        Offset and interval, nats/token; a given offset has no width.
    method : str
        How it came about, in words.
    fit : PowerLawFit or None
        The fit behind it.
    """

    value: float
    lower: float
    upper: float
    method: str
    fit: PowerLawFit | None = None

    def to_dict(self) -> dict[str, float | str]:
        """Return value, interval and method by name."""
        return {
            "value": self.value,
            "lower": self.lower,
            "upper": self.upper,
            "method": self.method,
        }


def fit_offset(curves: xr.DataArray) -> OffsetEstimate:
    """Fit L0 to the seed-averaged final losses of the largest matched group.

    Parameters
    ----------
    curves : DataArray (run, progress)
        Loss curves from ``on_progress`` with their run coordinates.

    Returns
    -------
    OffsetEstimate

    Raises
    ------
    DataError
        If fewer than three sizes have finished, or their compute is unknown.
    """
    done = curves.isel(run=np.flatnonzero(is_complete(curves)))
    if not done.sizes["run"]:
        msg = "No run has reached its end, so there is no final loss to fit. Use --offset zero."
        raise DataError(msg)
    label, rows = largest_matched(done)
    group = done.isel(run=rows)
    _require_sizes(done, group, label)
    compute, loss = _end_points(group)
    fit = fit_power_law(compute / PFLOP, loss)
    method = f"power law through {fit.n_points} seed-averaged final losses"
    if len(rows) < done.sizes["run"]:
        method += f" of {label}"
    return OffsetEstimate(fit.L0.estimate, fit.L0.lower, fit.L0.upper, method, fit)


def _require_sizes(done: xr.DataArray, group: xr.DataArray, label: str) -> None:
    found, compared = (len(np.unique(c["model_size"])) for c in (done, group))
    if compared >= _FEWEST_SIZES:
        return
    msg = (
        f"An offset is fitted to the final losses of {_FEWEST_SIZES} or more sizes of one setting; "
        f"the largest, {label}, has {compared} of {found}. Add model sizes, or use --offset zero "
        "or a number."
    )
    if found >= _FEWEST_SIZES and bool((done["schedule"] == "constant").all()):
        msg += (
            " Long runs at a constant rate are compared at the compute-optimal horizon of each "
            "size: at_horizon before on_progress, or --horizon optimal."
        )
    raise DataError(msg)


def _end_points(group: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    size, compute = group["model_size"].to_numpy(), group["compute_total"].to_numpy()
    if np.isnan(compute).any():
        name = str(group["run_id"].to_numpy()[np.isnan(compute)][0])
        msg = (
            f"--offset fit needs the compute of every run; run {name!r} lacks model_size or "
            "tokens_total. Set them at import, or use --offset zero."
        )
        raise DataError(msg)
    final = final_loss(group).to_numpy()
    cells = [size == value for value in np.unique(size)]
    mean = np.array([[values[rows].mean() for values in (compute, final)] for rows in cells])
    return mean[:, 0], mean[:, 1]


def resolve_offset(curves: xr.DataArray, offset: Offset) -> OffsetEstimate:
    """Turn ``"zero"``, ``"fit"`` or a number into an `OffsetEstimate`.

    Raises
    ------
    ArgumentError
        If `offset` is none of them, negative or not finite.
    """
    if offset == "fit":
        return fit_offset(curves)
    if offset == "zero":
        return OffsetEstimate(0.0, 0.0, 0.0, "zero: divide by the final loss")
    try:
        value = float(offset)
    except (TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value) or value < 0:
        msg = f"offset must be 'zero', 'fit' or a number ≥ 0 [nats/token], found {offset!r}."
        raise ArgumentError(msg)
    return OffsetEstimate(value, value, value, "given")
