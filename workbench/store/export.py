"""Write runs to files that other tools read: NetCDF, Zarr, Parquet, CSV. Never sampled.

Every format is written a block of whole runs at a time, so that an export needs the memory of a
block, however large the store.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.schema import coordinate_names, record_names
from workbench.store.chosen import Chosen

SUFFIXES = (".nc", ".zarr", ".parquet", ".csv", "")
LAYOUT = "workbench"  # under it a Parquet file notes which columns are run coordinates
BLOCK = 1_048_576
_WIDE = 8 * BLOCK
_CHUNK = 262_144


@dataclass(frozen=True)
class Exported:
    """What an export wrote: how many runs, and how many records of them."""

    runs: int
    records: int


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Give a path to write to that becomes `path` when the block ends without an error.

    Raises
    ------
    ArgumentError
        If the suffix is unknown, the target exists or its folder does not.
    """
    _require_writable(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield partial
        partial.rename(path)
    finally:
        _remove(partial)


def export_runs(chosen: Chosen, path: Path) -> Exported:
    """Write ragged runs to `path`, in the format its suffix names.

    Parameters
    ----------
    chosen : Chosen
        The runs.
    path : Path
        ``.nc``, ``.zarr`` (the ragged dataset), ``.parquet`` (a row per record, run coordinates
        repeated), or a folder with ``runs.csv`` and ``curves.csv``. What is there is replaced.

    Returns
    -------
    Exported

    Raises
    ------
    DataError
        If there are no runs.
    """
    if not len(chosen.row_size):
        msg = "There are no runs with a loss to export. List what is there with: workbench runs"
        raise DataError(msg)
    _remove(path)
    match path.suffix:
        case ".nc":
            _write_netcdf(chosen, path)
        case ".zarr":
            _write_zarr(chosen, path)
        case ".parquet":
            _write_parquet(chosen, path)
        case _:
            _write_csv(chosen, path)
    return Exported(len(chosen.row_size), int(chosen.row_size.sum()))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _require_writable(path: Path) -> None:
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


def _heads(chosen: Chosen) -> xr.Dataset:
    """Return what there is once a run: the coordinates and the counts."""
    head = chosen.head.drop_vars(record_names(chosen.head))
    counts = head["row_size"].copy(data=chosen.row_size)
    return head.assign(row_size=counts)


def _write_netcdf(chosen: Chosen, path: Path) -> None:
    import netCDF4

    _heads(chosen).to_netcdf(path, engine="netcdf4")
    with netCDF4.Dataset(path, "a") as file:
        length = int(chosen.row_size.sum())
        file.createDimension("obs", length)
        for name in record_names(chosen.head):
            like = chosen.head[name]
            packed: dict[str, Any] = {"zlib": True, "complevel": 1, "shuffle": True}
            if like.dtype.kind == "f":
                packed["fill_value"] = np.nan
            chunks = (max(1, min(_CHUNK, length)),)
            kind = like.dtype.str[1:]
            variable = file.createVariable(name, kind, ("obs",), chunksizes=chunks, **packed)
            variable.setncatts(like.attrs)
            variable.set_auto_mask(False)
        start = 0
        for block in chosen.blocks(_WIDE):
            stop = start + block.sizes["obs"]
            for name in record_names(block):
                file[name][start:stop] = block[name].to_numpy()
            start = stop


def _write_zarr(chosen: Chosen, path: Path) -> None:
    head = _heads(chosen)
    texts = [n for n in coordinate_names(head) if head[n].dtype.kind == "U"]
    head = head.assign_coords({n: head[n].astype(object) for n in texts})
    layout = {"chunks": (max(1, min(_CHUNK, int(chosen.row_size.sum()))),)}
    for block in chosen.blocks(_WIDE):
        records = xr.Dataset({name: block[name].variable for name in record_names(block)})
        if path.exists():
            records.to_zarr(path, append_dim="obs", zarr_format=3, consolidated=False)
        else:
            encoding = dict.fromkeys(record_names(block), layout)
            whole = head.assign(records.variables)
            whole.to_zarr(path, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)


def _write_parquet(chosen: Chosen, path: Path) -> None:
    """Write a row per record; the file notes which columns are run coordinates."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    head = chosen.head
    names, columns = coordinate_names(head), record_names(head)
    layout = {"schema": head.attrs["schema"], "coordinates": names, "records": columns}
    numeric = [n for n in [*names, *columns] if np.issubdtype(head[n].dtype, np.number)]
    types = {n: pa.string() for n in names}
    types |= {n: pa.from_numpy_dtype(head[n].dtype) for n in numeric}
    schema = pa.schema(
        [(n, types[n]) for n in [*names, *columns]], metadata={LAYOUT: json.dumps(layout)}
    )
    with pq.ParquetWriter(path, schema) as file:
        for block in chosen.blocks(BLOCK):
            row = pa.array(np.repeat(np.arange(block.sizes["run"]), block["row_size"].to_numpy()))
            once = {n: block[n].to_numpy() for n in names}
            once |= {n: once[n].astype(str).astype(object) for n in names if n not in numeric}
            taken = [pa.array(values, types[n]).take(row) for n, values in once.items()]
            taken += [pa.array(block[n].to_numpy(), types[n]) for n in columns]
            table = pa.Table.from_arrays(taken, schema=schema)
            file.write_table(table, row_group_size=_CHUNK)


def _write_csv(chosen: Chosen, path: Path) -> None:
    path.mkdir()
    names = coordinate_names(chosen.head)
    heads = pd.DataFrame({name: chosen.head[name].to_numpy() for name in names})
    heads.to_csv(path / "runs.csv", index=False)
    with (path / "curves.csv").open("w", encoding="utf-8", newline="") as file:
        for number, block in enumerate(chosen.blocks(BLOCK)):
            row = np.repeat(block["run_id"].to_numpy(), block["row_size"].to_numpy())
            columns = {"run_id": row}
            for name in record_names(block):
                values = block[name].to_numpy()
                # A float32 in its own few digits would be read back as another number.
                columns[name] = values.astype(np.float64) if values.dtype.kind == "f" else values
            table = pd.DataFrame(columns)
            table.to_csv(file, index=False, header=number == 0, lineterminator="\n")
