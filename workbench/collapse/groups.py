"""Which runs are replicates of one another, and which share their controls."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import snap
from workbench.schema import RUN_FIELDS

SEEDS = ("seed", "data_seed")
_NOT_DESIGN = (
    *SEEDS,
    "run_id",
    "status",
    "source",
    "source_sha256",
    "irreducible_loss",
)
CONTROL_TOLERANCE = 0.1
"""τ or TPP values whose neighbours lie closer than this, relatively, count as one setting."""


def replicate_cells(runs: xr.Dataset | xr.DataArray) -> list[NDArray[np.int64]]:
    """Return positions of runs that agree in every designed coordinate but the seed.

    Returns
    -------
    list of int arrays
        One per cell, in order of first appearance; numbers are compared to six digits.
    """
    keys: dict[tuple[str, ...], list[int]] = {}
    names = [n for n in RUN_FIELDS if n in runs.coords and n not in _NOT_DESIGN]
    columns = [_labels(runs[name].to_numpy()) for name in names]
    for i, key in enumerate(zip(*columns, strict=True)):
        keys.setdefault(key, []).append(i)
    return [np.array(rows) for rows in keys.values()]


def _labels(values: NDArray[np.generic]) -> list[str]:
    unique, inverse = np.unique(values, return_inverse=True)
    number = np.issubdtype(values.dtype, np.number)
    texts = [f"{float(v):.6g}" if number else str(v) for v in unique]
    return [texts[k] for k in inverse]


def seed_cells(runs: xr.Dataset | xr.DataArray) -> list[NDArray[np.int64]]:
    """Return the replicate cells that measure seed noise: two or more runs, different seeds.

    Runs without a recorded seed count as different; a rerun with the same seed does not.
    """
    columns = [_labels(runs[name].to_numpy()) for name in SEEDS if name in runs.coords]
    seeds = list(zip(*columns, strict=True)) if columns else [()] * runs.sizes["run"]

    def measures_noise(rows: NDArray[np.int64]) -> bool:
        here = [seeds[i] for i in rows]
        unknown = all(value == "nan" for seed in here for value in seed)
        return len(rows) > 1 and (unknown or len(set(here)) > 1)

    return [rows for rows in replicate_cells(runs) if measures_noise(rows)]


def control_labels(runs: xr.Dataset | xr.DataArray) -> list[str]:
    """Return a label of each run's controls: schedule, τ and TPP, the last two snapped.

    Runs with one label are matched: the papers expect them to collapse.
    """
    tau = snap(runs["tau"].to_numpy(), tolerance=CONTROL_TOLERANCE)
    tpp = snap(runs["tpp"].to_numpy(), tolerance=CONTROL_TOLERANCE)
    schedule = [str(s) or "schedule not recorded" for s in runs["schedule"].to_numpy()]
    return [_label(*controls) for controls in zip(schedule, tau, tpp, strict=True)]


def _label(schedule: str, tau: float, tpp: float) -> str:
    parts = [schedule]
    if np.isfinite(tau):
        parts.append(f"τ {tau:.3g}")
    if np.isfinite(tpp):
        parts.append(f"TPP {tpp:.3g}")
    return ", ".join(parts)


def largest_matched(runs: xr.Dataset | xr.DataArray) -> tuple[str, NDArray[np.int64]]:
    """Return the label and positions of the matched group with most sizes, then most runs."""
    labels = np.array(control_labels(runs))
    sizes = runs["model_size"].to_numpy()

    def weight(label: str) -> tuple[int, int]:
        rows = labels == label
        return len(np.unique(sizes[rows])), int(rows.sum())

    best = max(dict.fromkeys(labels.tolist()), key=weight)
    return best, np.flatnonzero(labels == best)
