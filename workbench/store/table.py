"""The table of runs: one row each, with where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from workbench.schema import (
    LOSSES,
    Filter,
    coordinate_names,
    derive,
    make_runs,
    matching,
    record_names,
    row_bounds,
    run_names,
)
from workbench.store.batches import Records
from workbench.store.snapshot import RunRow, Snapshot, column, live_records

LEADING = ("run_id", "family", "status", "lost")
SUMMARY = ("last_step", "n_records", *(f"final_{loss}" for loss in reversed(LOSSES)))


def run_table(snapshot: Snapshot, settled: xr.Dataset | None) -> pd.DataFrame:
    """Return one row per run of a snapshot; see ``Store.table``."""
    records = live_records(snapshot, settled)
    rows = [row.coordinates for row in snapshot.rows]
    names = dict.fromkeys(name for row in rows for name in row) or ("run_id", "family", "status")
    coords = {name: column([row.get(name) for row in rows]) for name in names}
    none = make_runs(coords, {"step": np.empty(0)}, row_size=np.zeros(len(rows)))
    derived = derive(none)
    progress = [_progress(row, records) for row in snapshot.rows]
    columns = {name: derived[name].to_numpy() for name in coordinate_names(derived)}
    columns |= {name: column([each[name] for each in progress]) for name in SUMMARY}
    columns["n_records"] = columns["n_records"].astype(np.int64)
    columns["lost"] = np.array([snapshot.lost(row) for row in snapshot.rows], dtype=bool)
    ordered = (*LEADING, *SUMMARY, *(name for name in columns if name not in LEADING + SUMMARY))
    return pd.DataFrame({name: columns[name] for name in ordered})


def _progress(row: RunRow, records: dict[str, Records]) -> dict[str, Any]:
    if row.run_id in records:
        return summary(records[row.run_id])
    return {name: getattr(row, name) for name in SUMMARY}


def summary(records: Records) -> dict[str, Any]:
    """Return ``last_step``, ``n_records`` and the last finite value of each loss (or None)."""
    finals = {f"final_{loss}": last_finite(records.get(loss)) for loss in LOSSES}
    step = records["step"]
    return {"last_step": int(step[-1]) if len(step) else None, "n_records": len(step), **finals}


def last_finite(values: np.ndarray | None) -> float | None:
    """Return the last finite value, None without one."""
    if values is None:
        return None
    if len(values) and np.isfinite(values[-1]):
        return float(values[-1])
    finite = np.flatnonzero(np.isfinite(values))
    return float(values[finite[-1]]) if len(finite) else None


def summaries(runs: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return the `summary` of every run of a ragged dataset, by run identifier."""
    bounds = row_bounds(runs)
    columns = {
        name: runs[name].to_numpy() for name in record_names(runs) if name in ("step", *LOSSES)
    }
    return {
        run_id: summary({n: v[bounds[i] : bounds[i + 1]] for n, v in columns.items()})
        for i, run_id in enumerate(run_names(runs))
    }


def matching_rows(table: pd.DataFrame, where: Sequence[Filter | str]) -> NDArray[np.bool_]:
    """Return which rows of a table of runs meet every condition, shape (run,).

    Parameters
    ----------
    table : DataFrame
        From ``Store.table``, perhaps with further columns.
    where : sequence of Filter or str
        ``NAME OP VALUE`` conditions on its columns.

    Raises
    ------
    ArgumentError
        If a condition is malformed or names no column.
    """
    columns = {str(name): ("run", _plain_column(table[name])) for name in table.columns}
    return matching(xr.Dataset(columns, coords={"run": np.arange(len(table))}), where)


def _plain_column(values: pd.Series[Any]) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(dtype=float)
    return values.fillna("").astype(str).to_numpy(dtype=str)
