"""Losses at the compute-optimal horizon of runs that train past it at a constant rate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import xarray as xr

from workbench.curves import default_loss
from workbench.errors import DataError
from workbench.laws import kernels_frontier as kernels
from workbench.laws.frontier import fit_frontier, record_compute
from workbench.laws.kernels import Floats
from workbench.laws.power_law import PFLOP
from workbench.schema import LossName, row_bounds, run_names

RECORDED = "horizon_compute_pflop"
"""Run coordinate with a recorded horizon [PFLOP], as the public ladders carry it."""

_PAST = 1.01


def horizons(runs: xr.Dataset, *, loss: LossName | None = None) -> tuple[Floats, str] | None:
    """Return the horizon [PFLOP] of every run and where it came from, or None.

    A recorded horizon counts where every run has one and trains past it. Runs that all end at one
    token count, and so have no end points of their own, get the horizon of their fitted frontier.
    """
    total = runs["compute_total"].to_numpy() / PFLOP
    if RECORDED in runs.variables:
        recorded = runs[RECORDED].to_numpy()
        return (recorded, "recorded horizons") if bool((total > _PAST * recorded).all()) else None
    tokens, sizes = runs["tokens_total"].to_numpy(), runs["model_size"].to_numpy()
    same_tokens = np.isfinite(tokens).all() and np.ptp(tokens) <= 1e-6 * tokens.max()
    constant = bool((runs["schedule"].to_numpy() == "constant").all())
    if not (constant and same_tokens and len(np.unique(sizes)) > 3):
        return None
    frontier = fit_frontier(runs, loss=loss)
    return frontier.predict(sizes), "horizons of the fitted frontier"


def losses_at(runs: xr.Dataset, compute: Floats, *, loss: LossName | None = None) -> Floats:
    """Return each run's loss at a compute [PFLOP], log-log between its records.

    Raises
    ------
    DataError
        If a run has no records on both sides of its compute.
    """
    name = default_loss(runs) if loss is None else loss
    at, values = record_compute(runs), runs[name].to_numpy().astype(np.float64)
    rows = [slice(int(a), int(b)) for a, b in pairwise(row_bounds(runs))]
    found = np.array(
        [
            kernels.curve_on(at[row], values[row], np.array([c]))[0]
            for row, c in zip(rows, compute, strict=True)
        ]
    )
    outside = ~np.isfinite(found)
    if outside.any():
        i = int(outside.argmax())
        msg = (
            f"Run {run_names(runs)[i]!r} has no records on both sides of its horizon, "
            f"{compute[i]:.4g} PFLOP. Filter it out with --where, or train it longer."
        )
        raise DataError(msg)
    return found
