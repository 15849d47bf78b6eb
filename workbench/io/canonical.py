"""Ragged runs as the workbench itself writes them: NetCDF files, Zarr groups, other stores."""

from __future__ import annotations

import json
from pathlib import Path

import xarray as xr

from workbench.errors import DataError
from workbench.io.foreign import foreign_library
from workbench.io.netcdf import open_netcdf
from workbench.io.result import Parsed, Source
from workbench.schema import check_version, conform
from workbench.store import open_store
from workbench.store.places import REGISTRY

# Chunks of nothing but missing values are not written, and steps pack well.
_VALUES, _VALUES_A_BYTE = 1 << 25, 500
_MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")


def sniff_netcdf(source: Source) -> bool:
    """Tell whether the file starts as NetCDF 3 or 4 do."""
    if not source.path.is_file():
        return False
    with source.path.open("rb") as file:
        return file.read(4) in _MAGIC


def read_netcdf(source: Source) -> Parsed:
    """Read a NetCDF file of ragged runs."""
    return _in_schema(source, open_netcdf(source.path))


def sniff_zarr(source: Source) -> bool:
    """Tell whether the folder is a Zarr group, of format 3 or 2."""
    return any((source.path / name).is_file() for name in ("zarr.json", ".zgroup"))


def read_zarr(source: Source) -> Parsed:
    """Read a Zarr group of ragged runs."""
    consolidated = (source.path / ".zmetadata").is_file()
    with foreign_library(source.path):
        _open_one_by_one(source.path)
    with (
        foreign_library(source.path),
        xr.open_dataset(
            source.path,
            engine="zarr",
            chunks=None,
            consolidated=consolidated,
            decode_times=False,
        ) as opened,
    ):
        runs = opened.load()
    return _in_schema(source, runs)


def _open_one_by_one(group: Path) -> None:
    """Meet damaged metadata here: of several arrays opened together Zarr reports only one.

    What it finds in the others is printed, with tracebacks, when they are garbage. It also makes
    room for as many values as an array claims to have before it looks for their chunks.
    """
    import zarr
    from zarr.errors import NodeTypeValidationError

    values = 0
    for path in sorted(group.iterdir()):
        if any((path / name).is_file() for name in ("zarr.json", ".zarray")):
            try:
                values += zarr.open_array(path, mode="r").size
            except NodeTypeValidationError:
                if json.loads((path / "zarr.json").read_bytes()).get("node_type") != "group":
                    raise
        elif (path / "c").exists():  # chunks; Zarr would only warn, and read the other arrays
            msg = f"{path} has lost its zarr.json. Restore it, or export the runs again."
            raise DataError(msg)
    size = sum(path.stat().st_size for path in group.rglob("*") if path.is_file())
    if values > _VALUES + _VALUES_A_BYTE * size:
        msg = f"{group} claims {values} values in {size} bytes. It is damaged; export it again."
        raise DataError(msg)


def sniff_store(source: Source) -> bool:
    """Tell whether the folder is a store."""
    return (source.path / REGISTRY).is_file()


def read_store(source: Source) -> Parsed:
    """Read every run of another store that has a loss."""
    with foreign_library(source.path):
        return Parsed(open_store(source.path).runs())


def _in_schema(source: Source, runs: xr.Dataset) -> Parsed:
    check_version(dict(runs.attrs), source=str(source))
    if not {"run", "obs"} <= set(runs.dims) or "row_size" not in runs.variables:
        conform(runs, source=str(source))  # says what is missing
    return Parsed(_plain_text(runs))


def _plain_text(runs: xr.Dataset) -> xr.Dataset:
    """Turn Zarr's variable-width text, which not every numpy function takes, into str objects."""
    wide = {
        name: runs[name].astype(object) for name in runs.variables if runs[name].dtype.kind == "T"
    }
    return runs.assign_coords(wide)
