"""Consolidated curves: one ragged Zarr v3 group per generation, written once and never changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.schema import (
    coordinate_names,
    make_runs,
    record_names,
    row_bounds,
    run_names,
    take_runs,
)
from workbench.store.object_errors import is_object_store_error, unreadable

CHUNK = 262_144
SHARD = 16 * CHUNK
_ORDER = ("run_id", "seed", "model_size", "tau", "tpp", "schedule")
_PROVENANCE = ("source", "source_sha256")
_WANTED_SHARE = 0.2


def generation_path(root: Path, number: int) -> Path:
    """Return where generation `number` lies."""
    return root / f"curves-{number}.zarr"


def write_generation(root: Path, runs: xr.Dataset) -> Path:
    """Write runs beside the generations, under a name no reader looks at, synced to disk.

    Runs are sorted by (schedule, tpp, tau, model_size, seed), so that a selection is few slices.

    Parameters
    ----------
    root : Path
        The store.
    runs : Dataset (run, obs)
        Ragged runs that keep the schema.

    Returns
    -------
    Path
        To be renamed to ``generation_path`` when it is published.
    """
    path = root / f"curves-{uuid.uuid4().hex}.partial"
    ordered = arranged(runs)
    encoding = chunking(ordered)
    ordered.to_zarr(path, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)
    sync_tree(path)
    return path


def arranged(runs: xr.Dataset) -> xr.Dataset:
    """Return runs in the order of a generation, with types that Zarr v3 specifies."""
    order = np.lexsort([runs[name].to_numpy() for name in _ORDER if name in runs.variables])
    ordered = take_runs(runs, order)
    for name in coordinate_names(ordered):
        if not np.issubdtype(ordered[name].dtype, np.number):  # fixed-width text has no v3 spec
            ordered[name] = ordered[name].astype(object)
    return ordered


def chunking(ordered: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return how the records of arranged runs are cut, as an encoding by name."""
    return {name: dict(_chunks(ordered.sizes["obs"])) for name in record_names(ordered)}


def _chunks(length: int) -> dict[str, tuple[int, ...]]:
    if length <= CHUNK:
        return {"chunks": (max(1, length),)}
    return {"chunks": (CHUNK,), "shards": (SHARD,)} if length > SHARD else {"chunks": (CHUNK,)}


def open_generation(root: Path, number: int) -> xr.Dataset:
    """Open a generation: run coordinates in memory, records still on disk.

    Returns
    -------
    Dataset (run, obs)

    Raises
    ------
    DataError
        If that generation is missing or damaged.
    """
    path = generation_path(root, number)
    return open_curves(path, place=str(path))


def open_curves(store: Any, *, place: str) -> xr.Dataset:
    """Open the Zarr group of a generation as `open_generation` does; messages call it `place`."""
    with readable(place):
        runs = xr.open_dataset(store, engine="zarr", chunks=None, consolidated=False, cache=False)
        for name in ("row_size", *coordinate_names(runs)):
            runs[name].load()
    total = int(runs["row_size"].to_numpy().sum())
    if total != runs.sizes["obs"]:
        msg = f"The consolidated curves {place} hold {runs.sizes['obs']} records, expected {total}."
        raise DataError(msg)
    return runs.assign_attrs(path=place)


@contextmanager
def readable(place: str) -> Iterator[None]:
    """Turn what goes wrong while reading a generation into a `DataError` that names `place`."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # damaged metadata may fail in any way
        if is_object_store_error(error):
            raise DataError(unreadable(place, error)) from error
        msg = (
            f"The consolidated curves {place} are missing or damaged: {error}. Restore the store "
            "from a copy, or import its runs into a new one."
        )
        raise DataError(msg) from error


def load_runs(runs: xr.Dataset, positions: NDArray[np.int64]) -> xr.Dataset:
    """Read the records of some runs of an opened generation.

    Neighbouring runs are read as one slice; everything is read once when more than a fifth is
    wanted, because a chunk is decoded as a whole anyway.

    Parameters
    ----------
    runs : Dataset (run, obs)
        From `open_generation`.
    positions : ndarray of int, shape (chosen,)
        Increasing.

    Returns
    -------
    Dataset (chosen, obs)
        In memory.

    Raises
    ------
    DataError
        If the records cannot be read.
    """
    bounds = row_bounds(runs)
    starts, stops = bounds[positions], bounds[positions + 1]
    if (stops - starts).sum() > _WANTED_SHARE * bounds[-1]:
        slices = [(int(bounds[0]), int(bounds[-1]))]
    else:
        slices = _coalesce(starts, stops)
    inside = _inside(starts, stops, slices)
    with readable(runs.attrs["path"]):
        records = {name: _gather(runs[name], slices)[inside] for name in record_names(runs)}
    coords = {name: runs[name].to_numpy()[positions] for name in coordinate_names(runs)}
    loaded = make_runs(coords, records, row_size=runs["row_size"].to_numpy()[positions])
    _require_increasing_steps(loaded, runs.attrs["path"])
    return loaded


def _require_increasing_steps(runs: xr.Dataset, path: str) -> None:
    # Zarr reads a chunk that is gone as fill values, without a word.
    falls = np.flatnonzero(np.diff(runs["step"].to_numpy()) <= 0) + 1
    bounds = row_bounds(runs)
    inside = falls[~np.isin(falls, bounds)]
    if len(inside):
        name = run_names(runs)[int(np.searchsorted(bounds, inside[0], side="right")) - 1]
        msg = (
            f"The consolidated curves {path} are damaged: steps of run {name!r} do not increase. "
            "Restore the store from a copy, or import its runs into a new one."
        )
        raise DataError(msg)


def _coalesce(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[tuple[int, int]]:
    slices: list[tuple[int, int]] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if slices and start - slices[-1][1] < CHUNK // 4:
            slices[-1] = (slices[-1][0], stop)
        else:
            slices.append((start, stop))
    return slices


def _gather(variable: xr.DataArray, slices: list[tuple[int, int]]) -> NDArray[np.generic]:
    pieces = [variable.isel(obs=slice(start, stop)).to_numpy() for start, stop in slices]
    return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, variable.dtype), *pieces])


def _inside(
    starts: NDArray[np.int64], stops: NDArray[np.int64], slices: list[tuple[int, int]]
) -> slice | NDArray[np.int64]:
    """Return where the wanted records lie in the slices put end to end."""
    if (stops - starts).sum() == sum(stop - start for start, stop in slices):
        return slice(None)
    base = np.concatenate([np.arange(start, stop) for start, stop in slices])
    pairs = zip(starts, stops, strict=True)
    keep = np.concatenate([np.empty(0, np.int64), *(np.arange(a, b) for a, b in pairs)])
    return np.searchsorted(base, keep)


def digests(runs: xr.Dataset) -> dict[str, str]:
    """Return a sha256 of what each run holds, the same whatever other runs lie beside it.

    Where a curve came from is left out, so that a copied file is the same run; so is what was not
    recorded (NaN, ""), because joining runs adds such columns.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.

    Returns
    -------
    dict of str to str
    """
    bounds = row_bounds(runs)
    coords = {name: runs[name].to_numpy() for name in coordinate_names(runs)}
    records = {name: runs[name].to_numpy() for name in record_names(runs)}
    out = {}
    for i, run_id in enumerate(map(str, coords["run_id"])):
        content = hashlib.sha256()
        for name in sorted(set(coords) - set(_PROVENANCE)):
            value = coords[name][i]
            text = _text_of(value)
            if text not in ("nan", ""):
                # `run_` is put before a name that another run logs as a column (`join_runs`).
                content.update(f"{name.removeprefix('run_')}={text}\n".encode())
        for name in sorted(records):
            values = records[name][bounds[i] : bounds[i + 1]]
            if not (np.issubdtype(values.dtype, np.floating) and np.isnan(values).all()):
                content.update(f"{name}:{len(values)}\n".encode() + _canonical(values))
        out[run_id] = content.hexdigest()
    return out


def _text_of(value: np.generic) -> str:
    # A number is the same number where another run made the coordinate a text (`join_runs`).
    try:
        return float(value).hex()
    except ValueError:
        return str(value)


def _canonical(values: NDArray[np.generic]) -> bytes:
    if np.issubdtype(values.dtype, np.integer):
        return values.astype("<i8").tobytes()
    # NaNs come in many bit patterns and zeros in two; files do not keep them apart reliably.
    return (np.where(np.isnan(values), np.nan, values).astype("<f8") + 0.0).tobytes()


def sync_tree(path: Path) -> None:
    """Make a folder and everything in it durable."""
    for folder, _, files in os.walk(path):
        for name in files:
            sync_path(Path(folder) / name)
        sync_path(Path(folder))


def sync_path(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_to(root: Path, number: int) -> None:
    """Replace ``CURRENT`` in one step by the name of generation `number`."""
    fresh = root / f"CURRENT.{uuid.uuid4().hex}.partial"
    fresh.write_text(f"{generation_path(root, number).name}\n", encoding="utf-8")
    sync_path(fresh)
    fresh.replace(root / "CURRENT")
    sync_path(root)


def remove_generations(root: Path, *, before: int) -> None:
    """Remove the generations older than `before`; what cannot be removed stays for next time."""
    for path in root.glob("curves-*.zarr"):
        number = path.stem.removeprefix("curves-")
        if number.isdecimal() and int(number) < before:
            shutil.rmtree(path, ignore_errors=True)
