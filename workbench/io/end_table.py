"""A table of finished runs, one row a run: its design and its final loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.schema import canonical_run_name, conform, make_runs

_LOSS_COLUMNS = ("eval_loss", "loss", "final_loss", "val_loss", "validation_loss")
_MOST_BYTES = 1 << 28


def read_end_table(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Read a CSV of final losses as runs of one record each.

    Parameters
    ----------
    path : Path
        CSV with a header. Columns get the schema's names by its aliases (``n_params`` is
        ``model_size``, ``tokens`` is ``tokens_total``); others keep their own.
    columns : mapping of str to str, optional
        Name in the schema, or ``loss``, to name in the file, where the aliases do not do.
    settings : mapping of str to str, optional
        Coordinates of every run that the file does not say.

    Returns
    -------
    Dataset (run, obs)
        The final loss as ``eval_loss``.

    Raises
    ------
    ArgumentError
        If the file, or a column named in `columns`, is not there.
    DataError
        If the file is no CSV, is too large, or has no loss or no size.
    """
    if not path.is_file():
        msg = f"--table {path} is not a file. Give a CSV with one row a finished run."
        raise ArgumentError(msg)
    if path.stat().st_size > _MOST_BYTES:
        msg = f"{path} holds {path.stat().st_size} bytes, more than {_MOST_BYTES} for a table."
        raise DataError(msg)
    try:
        table = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as CSV: {error}."
        raise DataError(msg) from error
    table = _named(table, path, dict(columns or {}))
    known = np.isfinite(pd.to_numeric(table["loss"], errors="coerce").to_numpy(dtype=float))
    if not known.any():
        msg = f"{path} has no finite loss in {len(table)} rows."
        raise DataError(msg)
    table = table[known].reset_index(drop=True)
    for name, text in (settings or {}).items():
        table[canonical_run_name(name)] = _value(text)
    return _runs(table, path)


def _named(table: pd.DataFrame, path: Path, columns: dict[str, str]) -> pd.DataFrame:
    absent = [name for name in columns.values() if name not in table]
    if absent:
        msg = f"{path} has no column {absent[0]!r}; it has {', '.join(map(str, table.columns))}."
        raise ArgumentError(msg)
    taken = {file_name: name for name, file_name in columns.items()}
    if "loss" not in columns:
        found = [str(c) for c in table.columns if str(c) in _LOSS_COLUMNS]
        if not found:
            msg = f"{path} has no loss; it has {', '.join(map(str, table.columns))}. Name its "
            msg += "column with --column loss=COLUMN."
            raise DataError(msg)
        taken[found[0]] = "loss"
    out: dict[str, pd.Series] = {new: table[old] for old, new in taken.items()}
    for old in map(str, table.columns):
        new = "tokens_total" if old == "tokens" else canonical_run_name(old)
        if old not in taken and new not in out:
            out[new] = table[old]
    return pd.DataFrame(out)


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _runs(table: pd.DataFrame, path: Path) -> xr.Dataset:
    n = len(table)
    count = np.arange(n).astype(str)
    names = table["run_id"].astype(str) if "run_id" in table else None
    if names is None or names.duplicated().any():
        names = pd.Series([f"{path.stem}-{i}" for i in count])
    coords = {
        str(name): values.to_numpy() if values.dtype != object else values.fillna("").to_numpy(str)
        for name, values in table.items()
        if name not in ("loss", "run_id", "step")
    }
    steps = table["total_steps"].to_numpy(dtype=float) if "total_steps" in table else np.ones(n)
    records = {"step": np.maximum(np.nan_to_num(steps, nan=1.0), 1), "eval_loss": table["loss"]}
    if "tokens_total" in table:
        records["tokens"] = table["tokens_total"]
    runs = make_runs(
        {**coords, "run_id": names.to_numpy(str), "source": [str(path.name)] * n},
        {name: np.asarray(values, dtype=float) for name, values in records.items()},
        row_size=np.ones(n, dtype=int),
    )
    return conform(runs, source=str(path))
