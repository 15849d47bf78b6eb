"""The compute-optimal horizon of runs that train past it at a constant rate."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import xarray as xr

from workbench.curves import default_loss, record_progress
from workbench.errors import ArgumentError, DataError
from workbench.laws import kernels_frontier as kernels
from workbench.laws.frontier import fit_frontier, record_compute
from workbench.laws.kernels import Floats
from workbench.laws.power_law import PFLOP
from workbench.schema import LossName, add_history, row_bounds, run_names

Horizon = Literal["auto", "end", "optimal"]
RECORDED = "horizon_compute_pflop"
"""Run coordinate with a recorded horizon [PFLOP], as the public ladders carry it."""

FEWEST_SIZES = 4
_PAST = 1.01
_EQUAL = 1e-6
_GROWS = ("tokens_total", "total_steps", "compute_total", "tpp")


def horizons(runs: xr.Dataset, *, loss: LossName | None = None) -> tuple[Floats, str] | None:
    """Return the horizon [PFLOP] of every run and where it came from, or None.

    A recorded horizon counts where every run has one and trains past it. Constant-rate runs that
    all end at one token count, or at one compute, and so have no end points of their own, get the
    horizon of their fitted frontier.
    """
    total = runs["compute_total"].to_numpy() / PFLOP
    if RECORDED in runs.variables:
        recorded = runs[RECORDED].to_numpy()
        return (recorded, "recorded horizons") if bool((total > _PAST * recorded).all()) else None
    one_end = _equal(runs["tokens_total"].to_numpy()) or _equal(total)
    sizes = len(np.unique(runs["model_size"].to_numpy()))
    if not (one_end and _constant(runs) and sizes >= FEWEST_SIZES):
        return None
    return _on_frontier(runs, loss)


def _on_frontier(runs: xr.Dataset, loss: LossName | None) -> tuple[Floats, str]:
    frontier = fit_frontier(runs, loss=loss)
    if not np.isfinite(frontier.crossing_exponent.estimate):
        msg = (
            f"Fewer than three pairs of the {len(frontier.sizes)} neighbouring sizes cross, so the "
            "frontier shows where curves end and not where a size is the best. Train longer."
        )
        raise DataError(msg)
    return frontier.predict(runs["model_size"].to_numpy()), "horizons of the fitted frontier"


def _constant(runs: xr.Dataset) -> bool:
    return bool((runs["schedule"].to_numpy() == "constant").all())


def _equal(values: Floats) -> bool:
    return bool(np.isfinite(values).all() and np.ptp(values) <= _EQUAL * values.max())


def at_horizon(
    runs: xr.Dataset, *, horizon: Horizon = "auto", loss: LossName | None = None
) -> tuple[xr.Dataset, str]:
    """Cut runs where they are to be compared, and say in words where that is.

    Long runs at a constant rate have no end points of their own: stopped anywhere, they would have
    been whole runs. Qiu et al. 2025 compare such ladders at the compute-optimal horizon of each
    size, t* = (p/p0)^γ tokens.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    horizon : {"auto", "end", "optimal"}
        ``"end"`` keeps the runs as they are. ``"optimal"`` cuts each at its recorded horizon
        where every run trains past one, else at that of the fitted frontier. ``"auto"`` is
        ``"optimal"`` for runs past recorded horizons, and for constant-rate runs of four or more
        sizes that all end at one token count or one compute; else, or where no frontier can be
        fitted to those, ``"end"``.
    loss : {"eval_loss", "train_loss"}, optional
        Loss the frontier is fitted to.

    Returns
    -------
    runs : Dataset (run, obs)
        With the planned tokens, steps, compute, τ and TPP of the horizon, and the records up to
        the first at or past it, so that curves have a value there.
    words : str
        Where the runs were cut, or why those without an end of their own were not, in sentences;
        empty when there was nothing to decide.

    Raises
    ------
    ArgumentError
        If `horizon` is not one of its values.
    DataError
        If ``"optimal"`` is asked for and there is no horizon, or no frontier can be fitted.
    """
    if horizon not in get_args(Horizon):
        msg = f"horizon must be one of {', '.join(get_args(Horizon))}, found {horizon!r}."
        raise ArgumentError(msg)
    if horizon == "end":
        return runs, ""
    try:
        found = horizons(runs, loss=loss)
        if found is None and horizon == "optimal":
            found = _asked_for(runs, loss)
    except DataError as error:
        if horizon == "auto":
            return (
                runs,
                f"Runs compared at their own ends, which a constant rate leaves open: {error}",
            )
        msg = f"No compute-optimal horizon to compare these runs at: {error} Or use --horizon end."
        raise DataError(msg) from error
    if found is None:
        return runs, ""
    compute, source = found
    share = compute / (runs["compute_total"].to_numpy() / PFLOP)
    words = (
        f"Runs cut at their {source}, {compute.min():.4g} to {compute.max():.4g} PFLOP, "
        f"{100 * share.min():.2g} to {100 * share.max():.2g} % of their training: at a constant "
        "rate a run has no end point of its own, and 100 % is the compute at which its size is "
        "the best."
    )
    return _cut(runs, share).assign_attrs(add_history(runs, words).attrs), words


def _asked_for(runs: xr.Dataset, loss: LossName | None) -> tuple[Floats, str]:
    if not _constant(runs):
        msg = (
            "A decayed run has one end point, its own; the compute-optimal horizon is for "
            "runs at a constant rate, or past a recorded horizon_compute_pflop."
        )
        raise DataError(msg)
    return _on_frontier(runs, loss)


def _cut(runs: xr.Dataset, share: Floats) -> xr.Dataset:
    """Return the runs as if planned to a share of their plan."""
    position, bounds = record_progress(runs).to_numpy(), row_bounds(runs)
    kept = [
        min(int(np.searchsorted(position[a:b], end)) + 1, int(b - a))
        for (a, b), end in zip(pairwise(bounds), share, strict=True)
    ]
    rows = np.concatenate([np.arange(a, a + n) for a, n in zip(bounds, kept, strict=False)])
    part = xr.Variable("run", share)
    scaled = {name: runs[name].variable * part for name in _GROWS} | {
        "tau": runs["tau"].variable / part
    }
    for name, variable in scaled.items():
        variable.attrs = dict(runs[name].attrs)
    cut = runs.isel(obs=rows).assign(row_size=runs["row_size"].copy(data=np.array(kept)))
    return cut.assign_coords(scaled)


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
