"""End points of runs: the points scaling laws are fitted to."""

from __future__ import annotations

import numpy as np
import xarray as xr

from workbench.curves import final_loss, is_complete, on_progress
from workbench.errors import DataError
from workbench.schema import LossName, run_names

_COLUMNS = (
    "model_size",
    "tokens_total",
    "tpp",
    "compute_total",
    "batch_size",
    "peak_lr",
    "weight_decay",
)


def end_points(runs: xr.Dataset, *, loss: LossName | None = None) -> xr.Dataset:
    """Return the final loss and the design of every run that has reached its end.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default the held-out one where every run has it.

    Returns
    -------
    Dataset (run)
        ``loss`` [nats/token], ``model_size``, ``tokens_total``, ``tpp``, ``compute_total``,
        ``batch_size``, ``peak_lr``, ``weight_decay``; NaN where not known; ``run_id`` as
        coordinate. ``attrs["unfinished"]`` counts the runs left out.

    Raises
    ------
    DataError
        If no run has reached its end.
    """
    curves = on_progress(runs, loss=loss)
    done = is_complete(curves).to_numpy()
    if not done.any():
        msg = f"None of {len(done)} runs has reached its end, first {run_names(runs)[0]!r}."
        raise DataError(msg)
    ends = curves.isel(run=np.flatnonzero(done))
    columns = {name: ("run", ends[name].to_numpy()) for name in _COLUMNS}
    columns["loss"] = ("run", final_loss(ends).to_numpy())
    table = xr.Dataset(columns, coords={"run_id": ("run", ends["run_id"].to_numpy())})
    return table.assign_attrs(loss=str(curves.name), unfinished=int((~done).sum()))


def known_column(ends: xr.Dataset, name: str) -> np.ndarray:
    """Return a column of end points; `DataError` naming the first run that lacks it."""
    values = ends[name].to_numpy()
    missing = np.isnan(values)
    if missing.any():
        msg = (
            f"The law needs {name} of every run; run {str(ends['run_id'].to_numpy()[missing][0])!r}"
            f" and {int(missing.sum()) - 1} more lack it. Set it at import, or filter them out."
        )
        raise DataError(msg)
    return values
