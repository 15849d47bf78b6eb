"""Which runs can be compared, and who among them stands off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from workbench.collapse.statistics import crossing, deviation, residual
from workbench.collapse.verdict import HALF
from workbench.curves import cube_curves, final_loss, is_complete, on_progress
from workbench.errors import ArgumentError, DataError
from workbench.schema import LossName
from workbench.text import short_count

LATEST_START = 0.25
_ODD_RATIO = 3.0


def curves_of(data: xr.Dataset, loss: LossName | None, points: int) -> xr.DataArray:
    """Return loss curves on progress from ragged runs or from a cube."""
    if "progress" in data.dims:
        if loss not in (None, data["loss"].attrs["loss"]):
            msg = f"This cube holds {data['loss'].attrs['loss']}, not {loss}. Build it with loss=."
            raise ArgumentError(msg)
        return cube_curves(data)
    return on_progress(data, loss=loss, points=points)


def comparable(
    curves: xr.DataArray, offset: float
) -> tuple[xr.DataArray, tuple[Mapping[str, str], ...]]:
    """Split off runs that have no final loss, begin late, or end at or below the offset."""
    first = curves["progress"].to_numpy()[curves.notnull().to_numpy().argmax(axis=1)]
    complete = is_complete(curves).to_numpy()
    final = final_loss(curves).to_numpy()
    reasons = {}
    for i, name in enumerate(map(str, curves["run_id"].to_numpy())):
        if not complete[i]:
            reasons[name] = "has not reached the end of its plan"
        elif first[i] > LATEST_START:
            reasons[name] = f"begins at {100 * first[i]:.0f} % of training (branched off a trunk)"
        elif final[i] <= offset:
            reasons[name] = f"ends at {final[i]:.4f}, not above the offset"
    left_out = tuple({"run_id": name, "reason": why} for name, why in reasons.items())
    keep = ~np.isin(curves["run_id"].to_numpy(), list(reasons))
    if keep.sum() < 2:
        why = (
            f" First left out: {left_out[0]['run_id']} {left_out[0]['reason']}." if left_out else ""
        )
        msg = (
            f"A collapse compares at least 2 finished runs, found {int(keep.sum())} of "
            f"{len(keep)}.{why} Widen --where or wait for runs to finish."
        )
        raise DataError(msg)
    return curves.isel(run=np.flatnonzero(keep)), left_out


def odd_one_out(
    ell: xr.DataArray, sigma: xr.DataArray | None, start: float
) -> tuple[Mapping[str, Any], tuple[str, float, float | None] | None]:
    """Return the run furthest from the mean curve, and, if it is far off, what goes without it."""
    late = residual(ell).where(ell["progress"] >= start).to_numpy()
    sizes = np.nan_to_num(np.abs(late))
    largest = sizes.max(axis=1)
    i = int(largest.argmax())
    run_id = str(ell["run_id"].to_numpy()[i])
    worst = {
        "run_id": run_id,
        "residual": float(late[i, sizes[i].argmax()]),
        "at": float(ell["progress"].to_numpy()[sizes[i].argmax()]),
    }
    if ell.sizes["run"] < 4 or largest[i] < _ODD_RATIO * np.median(largest):
        return worst, None
    others = ell.drop_isel(run=i)
    without = None if sigma is None else crossing(deviation(others), sigma)
    return worst, (run_id, float(largest[i]), without)


def size_rows(ell: xr.DataArray, sigma: xr.DataArray | None) -> tuple[Mapping[str, Any], ...]:
    """For every size: from which progress on its mean curve lies within σ of the family's."""
    values, sizes = ell.to_numpy(), ell["model_size"].to_numpy()
    mean = values.mean(axis=0)
    rows = []
    for size in np.unique(sizes):
        member = sizes == size if np.isfinite(size) else np.isnan(sizes)
        away = np.abs(values[member].mean(axis=0) / mean - 1)
        curve = xr.DataArray(away, dims="progress", coords={"progress": ell["progress"].variable})
        joins = None if sigma is None else crossing(curve, sigma)
        rows.append(
            {"model_size": float(size), "n_runs": int(member.sum()), "within_noise_from": joins}
        )
    return tuple(rows)


def sizes_outside(sizes: tuple[Mapping[str, Any], ...]) -> tuple[str, ...]:
    """Name the sizes whose mean curve is outside the noise beyond half-way."""
    late = [r for r in sizes if r["within_noise_from"] is None or r["within_noise_from"] > HALF]
    return tuple(short_count(row["model_size"]) for row in late)
