"""Write runs to files that other tools read: NetCDF, Zarr, Parquet, CSV. Never sampled."""

from __future__ import annotations

import json
import shutil
import uuid
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.schema import coordinate_names, record_names, row_bounds

SUFFIXES = (".nc", ".zarr", ".parquet", ".csv", "")
LAYOUT = "workbench"  # under it a Parquet file notes which columns are run coordinates
_ROWS = 1 << 18


def export_runs(runs: xr.Dataset, path: Path) -> None:
    """Write ragged runs to `path`, in the format its suffix names.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs in memory.
    path : Path
        ``.nc``, ``.zarr`` (the ragged dataset), ``.parquet`` (a row per record, run coordinates
        repeated), or a folder with ``runs.csv`` and ``curves.csv``. Appears complete or not at all.

    Raises
    ------
    ArgumentError
        If the suffix is unknown, the target exists or its folder does not.
    DataError
        If there are no runs.
    """
    _require_writable(runs, path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{path.suffix}")
    try:
        _write(runs, partial)
        partial.rename(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _require_writable(runs: xr.Dataset, path: Path) -> None:
    if path.suffix not in SUFFIXES:
        msg = (
            f"export target {str(path)!r} ends in {path.suffix!r}. Use .nc, .zarr, .parquet, "
            "or a folder for CSV."
        )
        raise ArgumentError(msg)
    if path.exists() or not path.absolute().parent.is_dir():
        what = "is there already" if path.exists() else "lies in a folder that does not exist"
        msg = f"export target {str(path)!r} {what}. Name a new file in an existing folder."
        raise ArgumentError(msg)
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        msg = "Writing .parquet needs pyarrow. Install it with: pip install pyarrow"
        raise ArgumentError(msg)
    if not runs.sizes["run"]:
        msg = "There are no runs with a loss to export. List what is there with: workbench runs"
        raise DataError(msg)


def _write(runs: xr.Dataset, path: Path) -> None:
    match path.suffix:
        case ".nc":
            packed = {name: {"zlib": True, "complevel": 1} for name in record_names(runs)}
            runs.to_netcdf(path, engine="netcdf4", encoding=packed)
        case ".zarr":
            texts = [n for n in coordinate_names(runs) if runs[n].dtype.kind == "U"]
            plain = runs.assign_coords({n: runs[n].astype(object) for n in texts})
            plain.to_zarr(path, mode="w-", zarr_format=3, consolidated=False)
        case ".parquet":
            _write_parquet(runs, path)
        case _:
            records, heads = _tables(runs)
            path.mkdir()
            heads.to_csv(path / "runs.csv")
            records.to_csv(path / "curves.csv", index=False)


def _write_parquet(runs: xr.Dataset, path: Path) -> None:
    """Write a row per record, some runs at a time; the file notes which columns are which."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    heads = {}
    for name in coordinate_names(runs):
        values = runs[name].to_numpy()
        numeric = np.issubdtype(values.dtype, np.number)
        heads[name] = pa.array(values if numeric else [str(v) for v in values.tolist()])
    records = {name: runs[name].to_numpy() for name in record_names(runs)}
    layout = {
        "schema": runs.attrs["schema"],
        "coordinates": list(heads),
        "records": list(records),
    }
    columns = {n: a.type for n, a in heads.items()}
    columns |= {n: pa.from_numpy_dtype(v.dtype) for n, v in records.items()}
    schema = pa.schema(list(columns.items()), metadata={LAYOUT: json.dumps(layout)})
    bounds = row_bounds(runs)
    with pq.ParquetWriter(path, schema) as file:
        first = 0
        while first < runs.sizes["run"]:
            last = int(np.searchsorted(bounds, bounds[first] + _ROWS, side="right")) - 1
            last = min(max(last, first + 1), runs.sizes["run"])
            rows = np.repeat(np.arange(first, last), np.diff(bounds[first : last + 1]))
            taken = [array.take(pa.array(rows)) for array in heads.values()]
            taken += [pa.array(v[bounds[first] : bounds[last]]) for v in records.values()]
            file.write_table(pa.Table.from_arrays(taken, schema=schema))
            first = last


def _tables(runs: xr.Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = runs["run_id"].to_numpy()
    columns = {"run_id": np.repeat(names, runs["row_size"].to_numpy())}
    columns |= {name: runs[name].to_numpy() for name in record_names(runs)}
    heads = {name: runs[name].to_numpy() for name in coordinate_names(runs)}
    return pd.DataFrame(columns), pd.DataFrame(heads).set_index("run_id")
