"""Build, cut and join ragged runs: every record of every run end to end, with a count per run.

The layout is the contiguous ragged array of the CF conventions (section 9.3.3): dims ``run`` and
``obs``; ``row_size(run)`` says how many consecutive records belong to each run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.errors import DataError
from workbench.schema.fields import RUN_FIELDS, SCHEMA, VERSION, field_attrs

BOOKKEEPING = ("row_size",)


def row_bounds(runs: xr.Dataset) -> NDArray[np.int64]:
    """Return record offsets: run ``i`` owns records ``bounds[i]:bounds[i + 1]``.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.

    Returns
    -------
    ndarray of int64, shape (run + 1,)
    """
    sizes = runs["row_size"].to_numpy().astype(np.int64)
    return np.concatenate([[0], np.cumsum(sizes)])


def run_blocks(bounds: NDArray[np.int64], records: int) -> NDArray[np.int64]:
    """Cut runs into blocks of whole runs with about as many records each.

    Parameters
    ----------
    bounds : ndarray of int, shape (run + 1,)
        From `row_bounds`.
    records : int
        Records of a block; it may exceed that by less than one run.

    Returns
    -------
    ndarray of int64, shape (block + 1,)
        The first run of every block, and the number of runs.
    """
    number = np.maximum(bounds[1:] - 1, 0) // max(1, records)
    return np.unique(np.r_[0, np.flatnonzero(np.diff(number)) + 1, len(number)]).astype(np.int64)


def any_in_run(flags: NDArray[np.bool_], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which runs have a record that is flagged.

    Parameters
    ----------
    flags : ndarray of bool, shape (obs,)
        One flag a record.
    bounds : ndarray of int, shape (run + 1,)
        From `row_bounds`.

    Returns
    -------
    ndarray of bool, shape (run,)
        False for a run without records.
    """
    filled = np.flatnonzero(np.diff(bounds))
    found = np.zeros(len(bounds) - 1, dtype=bool)
    if len(filled):
        found[filled] = np.logical_or.reduceat(flags, bounds[filled])
    return found


def run_names(runs: xr.Dataset) -> list[str]:
    """Return the run identifiers as a list of str, in the order of the dataset."""
    return [str(name) for name in runs["run_id"].to_numpy()]


def record_names(runs: xr.Dataset) -> list[str]:
    """Return the names of the per-record variables, ``step`` first."""
    names = [str(n) for n, variable in runs.variables.items() if variable.dims == ("obs",)]
    return sorted(names, key=lambda name: (name != "step", name))


def coordinate_names(runs: xr.Dataset) -> list[str]:
    """Return the names of the per-run variables, known ones in schema order, then the others."""
    own = [str(n) for n, variable in runs.variables.items() if variable.dims == ("run",)]
    names = [name for name in own if name not in BOOKKEEPING]
    order = {name: i for i, name in enumerate(RUN_FIELDS)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def make_runs(
    coords: Mapping[str, ArrayLike],
    records: Mapping[str, ArrayLike],
    *,
    row_size: ArrayLike,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Assemble ragged runs from plain arrays, with the schema's dtypes, units and names.

    Parameters
    ----------
    coords : mapping of str to array-like of shape (run,)
        Run coordinates; ``run_id`` is required. Numbers become float64, the rest text.
    records : mapping of str to array-like of shape (obs,)
        Record variables; ``step`` is required. Numbers become float64, except that float32 stays
        what it is. Arrays that have their dtype are taken over, not copied.
    row_size : array-like of int, shape (run,)
        Number of records of each run.
    attrs : mapping, optional
        Dataset attributes added to the schema's own.

    Returns
    -------
    Dataset (run, obs)

    Raises
    ------
    DataError
        If ``run_id`` or ``step`` is missing.
    """
    for name, table in (("run_id", coords), ("step", records)):
        if name not in table:
            msg = f"runs need {name!r}, found {sorted(table)}. Add it before building the dataset."
            raise DataError(msg)
    data: dict[str, xr.Variable] = {
        "row_size": xr.Variable(
            "run",
            np.asarray(row_size, dtype=np.int64),
            {"sample_dimension": "obs", "long_name": "records of the run"},
        )
    }
    for name, values in records.items():
        array = np.asarray(values)
        data[name] = xr.Variable("obs", _record(name, array), field_attrs(name))
    run_coords = {
        name: xr.Variable("run", _typed(name, values), field_attrs(name))
        for name, values in coords.items()
    }
    run_coords["run_id"].attrs["cf_role"] = "timeseries_id"
    base = {"schema": f"{SCHEMA}/{VERSION}", "Conventions": "CF-1.11", "featureType": "timeSeries"}
    return xr.Dataset(data, coords=run_coords, attrs={**base, **(attrs or {})})


def _record(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if name != "step" and array.dtype == np.float32:
        return array
    wanted = np.dtype(np.int64 if name == "step" else np.float64)
    # NumPy has two types of int64 that compare equal; Zarr knows the one of this letter.
    return array if array.dtype.char == wanted.char else array.astype(wanted)


def _typed(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    field = RUN_FIELDS.get(name)
    if field is not None and field.kind == "number":
        return array.astype(np.float64)
    if field is None and (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        return array.astype(np.float64)
    if array.dtype.kind == "U":
        return array.ravel()
    return np.array(["" if v is None else str(v) for v in array.ravel()], dtype=object).astype(str)


def take_runs(runs: xr.Dataset, index: ArrayLike) -> xr.Dataset:
    """Keep some runs, with all of their records.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    index : array-like of bool, shape (run,), or of int
        Mask or positions; positions may reorder.

    Returns
    -------
    Dataset (run, obs)
    """
    chosen = np.asarray(index)
    positions = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
    bounds = row_bounds(runs)
    slices = _slices(bounds[positions], bounds[positions + 1])
    taken = {
        name: variable.isel(run=positions) if "run" in variable.dims else _cut(variable, slices)
        for name, variable in runs.variables.items()
    }
    return xr.Dataset(taken, attrs=runs.attrs).set_coords(list(runs.coords))


def _slices(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[slice]:
    """Return the fewest slices that hold these stretches of records, in their order."""
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    breaks = np.flatnonzero(starts[1:] != stops[:-1]) + 1
    first, last = np.r_[0, breaks], np.r_[breaks, len(starts)] - 1
    if not len(starts):
        return [slice(0, 0)]
    return [slice(a, b) for a, b in zip(starts[first].tolist(), stops[last].tolist(), strict=True)]


def _cut(variable: xr.Variable, slices: Sequence[slice]) -> xr.Variable:
    # A slice at a time copies at the speed of memory; an index of every record is as large as them.
    if "obs" not in variable.dims:
        return variable
    data = variable.data
    if not isinstance(data, np.ndarray):  # Dask
        parts = [xr.DataArray(variable.isel(obs=each)) for each in slices]
        return xr.concat(parts, "obs").variable
    joined = np.concatenate([data[each] for each in slices])
    return xr.Variable(variable.dims, joined, variable.attrs, variable.encoding)


def iter_runs(runs: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield ``(run_id, dataset of that run)`` in order; the run dimension is dropped."""
    bounds = row_bounds(runs)
    for i, name in enumerate(run_names(runs)):
        yield name, runs.isel(run=i, obs=slice(int(bounds[i]), int(bounds[i + 1])))


def concat_runs(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join ragged datasets; what one of them did not record is NaN or "" in its part.

    Parameters
    ----------
    parts : sequence of Dataset (run, obs)
        Ragged runs with disjoint run identifiers.

    Returns
    -------
    Dataset (run, obs)

    Raises
    ------
    DataError
        If there is nothing to join or a run identifier occurs twice.
    """
    if not parts:
        msg = "There are no runs to join. Give at least one dataset of runs."
        raise DataError(msg)
    if len(parts) == 1:
        return parts[0]
    coords = {
        name: np.concatenate([_column(part, name, "run", parts) for part in parts])
        for name in dict.fromkeys(n for part in parts for n in coordinate_names(part))
    }
    records = {
        name: np.concatenate([_column(part, name, "obs", parts) for part in parts])
        for name in dict.fromkeys(n for part in parts for n in record_names(part))
    }
    names, counts = np.unique(coords["run_id"], return_counts=True)
    if (counts > 1).any():
        twice = ", ".join(repr(str(n)) for n in names[counts > 1][:3])
        msg = f"run_id must be unique, found {twice} twice. Rename one of them before joining."
        raise DataError(msg)
    attrs = dict(parts[0].attrs)
    row_size = np.concatenate([part["row_size"].to_numpy() for part in parts])
    return make_runs(coords, records, row_size=row_size, attrs=attrs)


def _column(
    part: xr.Dataset, name: str, dim: str, parts: Sequence[xr.Dataset]
) -> NDArray[np.generic]:
    if name in part.variables:
        return part[name].to_numpy()
    like = next(other[name] for other in parts if name in other.variables)
    missing: object = np.nan if np.issubdtype(like.dtype, np.number) else ""
    return np.full(part.sizes[dim], missing, dtype=None if missing == "" else np.float64)


def add_history(ds: xr.Dataset, what: str) -> xr.Dataset:
    """Return `ds` with one dated line appended to ``attrs["history"]``."""
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} workbench: {what}"
    before = str(ds.attrs.get("history", ""))
    return ds.assign_attrs(history=f"{before}\n{line}".strip())
