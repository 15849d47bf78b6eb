"""Runs as the pages need them: one curve per run on the progress grid, labels to filter by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse.groups import CONTROL_TOLERANCE
from workbench.curves import on_progress, snap
from workbench.schema import LOSSES, LossName, row_bounds, run_names, take_runs
from workbench.views import format as fmt

FILTERS = ("family", "model_size", "tau", "tpp", "schedule", "seed")
MOST_CHOICES = 24
_BINS = 10

Choices = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class RunTable:
    """Runs that can be drawn, with what the controls choose from.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs with a finite loss and a known plan.
    curves : DataArray (run, progress)
        Their loss on the progress grid [nats/token].
    labels : mapping of str to array of str, shape (run,)
        Label of each run for every filter in `FILTERS`.
    choices : mapping of str to tuple of str
        The labels of each filter in order of value.
    left_out : tuple of (run_id, reason)
        Runs that cannot be drawn.
    """

    runs: xr.Dataset
    curves: xr.DataArray
    labels: Mapping[str, NDArray[np.str_]]
    choices: Choices
    left_out: tuple[tuple[str, str], ...]

    @property
    def n_runs(self) -> int:
        """Return how many runs can be drawn."""
        return int(self.curves.sizes["run"])

    def keeps(self, only: Mapping[str, tuple[str, ...]]) -> NDArray[np.bool_]:
        """Return which runs have an allowed label in every filter, shape (run,)."""
        keep = np.ones(self.n_runs, dtype=bool)
        for name, allowed in only.items():
            keep &= np.isin(self.labels[name], allowed)
        return keep


def losses_of(runs: xr.Dataset) -> tuple[LossName, ...]:
    """Return the losses at least one run has, the held-out one first."""
    return tuple(
        loss
        for loss in LOSSES
        if loss in runs.variables and bool(np.isfinite(runs[loss].to_numpy()).any())
    )


def run_table(
    runs: xr.Dataset, *, loss: LossName, points: int, before: RunTable | None = None
) -> RunTable:
    """Resample the runs that can be drawn and label them.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs in the schema.
    loss : {"eval_loss", "train_loss"}
        Which loss.
    points : int
        Points of progress.
    before : RunTable, optional
        The table of an earlier revision: a run with as many records as then keeps its curve, so
        that a growing store costs only its growing runs.

    Returns
    -------
    RunTable

    Raises
    ------
    DataError
        If the records contradict the schema.
    """
    usable, left_out = _usable(runs, loss)
    kept = runs if usable.all() else take_runs(runs, usable)
    curves = _resampled(kept, loss, points, before)
    labels, choices = {}, {}
    for name in FILTERS:
        labels[name], choices[name] = _labels(name, kept[name].to_numpy())
    return RunTable(kept, curves, labels, choices, left_out)


def _usable(
    runs: xr.Dataset, loss: LossName
) -> tuple[NDArray[np.bool_], tuple[tuple[str, str], ...]]:
    bounds = row_bounds(runs)
    n_obs = runs.sizes["obs"]
    values = runs[loss].to_numpy() if loss in runs.variables else np.full(n_obs, np.nan)
    counts = np.diff(np.concatenate([[0], np.cumsum(np.isfinite(values))])[bounds])
    planned = np.isfinite(runs["total_steps"].to_numpy())
    if "tokens" in runs.variables:
        gaps = np.concatenate([[0], np.cumsum(~np.isfinite(runs["tokens"].to_numpy()))])[bounds]
        planned |= np.isfinite(runs["tokens_total"].to_numpy()) & (np.diff(gaps) == 0)
    reasons = []
    for i, name in enumerate(run_names(runs)):
        if not counts[i]:
            reasons.append((name, f"no {loss} yet"))
        elif not planned[i]:
            reasons.append((name, "planned length unknown"))
    return (counts > 0) & planned, tuple(reasons)


def _resampled(
    runs: xr.Dataset, loss: LossName, points: int, before: RunTable | None
) -> xr.DataArray:
    if not runs.sizes["run"]:
        empty = np.empty((0, points))
        return xr.DataArray(empty, dims=("run", "progress"), coords=runs["run_id"].coords)
    names, sizes = run_names(runs), runs["row_size"].to_numpy()
    known: dict[tuple[str, int], NDArray[np.float64]] = {}
    if before is not None and before.curves.name == loss and before.n_runs:
        old = zip(run_names(before.runs), before.runs["row_size"].to_numpy(), strict=True)
        known = dict(zip(((n, int(s)) for n, s in old), before.curves.to_numpy(), strict=True))
    fresh = np.array([(n, int(s)) not in known for n, s in zip(names, sizes, strict=True)])
    if fresh.all():
        return on_progress(runs, loss=loss, points=points)
    values = np.empty((len(names), points))
    for i in np.flatnonzero(~fresh):
        values[i] = known[names[i], int(sizes[i])]
    if fresh.any():
        values[fresh] = on_progress(take_runs(runs, fresh), loss=loss, points=points).to_numpy()
    assert before is not None
    coords = {str(n): c.variable for n, c in runs.coords.items() if c.dims == ("run",)}
    progress = before.curves["progress"].variable
    return xr.DataArray(
        values,
        dims=("run", "progress"),
        coords={**coords, "progress": progress},
        name=loss,
        attrs=before.curves.attrs,
    )


def _labels(name: str, values: NDArray[np.generic]) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    if not np.issubdtype(values.dtype, np.number):
        text = np.array([str(v) or fmt.NOT_RECORDED for v in values], dtype=str)
        order = sorted(set(text.tolist()), key=lambda t: (t == fmt.NOT_RECORDED, t))
        return text, tuple(order)
    given = values.astype(np.float64)
    if name in ("tau", "tpp"):
        given = snap(given, tolerance=CONTROL_TOLERANCE)
    levels = np.unique(given[np.isfinite(given)])
    if len(levels) > MOST_CHOICES and levels[0] > 0:
        return _binned(name, given, levels)
    texts = fmt.distinct_labels(name, levels)
    code = np.searchsorted(levels, given)
    known = np.isfinite(given)
    labels = [texts[k] if ok else fmt.NOT_RECORDED for k, ok in zip(code, known, strict=True)]
    missing = () if known.all() else (fmt.NOT_RECORDED,)
    return np.array(labels, dtype=str), (*texts, *missing)


def _binned(
    name: str, given: NDArray[np.float64], levels: NDArray[np.float64]
) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """Many values become ranges of equal width in the logarithm."""
    edges = np.geomspace(levels[0], levels[-1], _BINS + 1)
    code = np.clip(np.searchsorted(edges, given, side="right") - 1, 0, _BINS - 1)
    write = [fmt.value_text(name, edge) for edge in edges]
    texts = [f"{a} to {b}" for a, b in pairwise(write)]
    known = np.isfinite(given)
    labels = [texts[k] if ok else fmt.NOT_RECORDED for k, ok in zip(code, known, strict=True)]
    present = [text for text in dict.fromkeys(texts) if text in labels]
    missing = () if known.all() else (fmt.NOT_RECORDED,)
    return np.array(labels, dtype=str), (*present, *missing)
