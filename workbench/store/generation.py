"""Consolidated curves: one ragged Zarr v3 group per generation, written once and never changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from workbench.errors import DataError
from workbench.schema import (
    coordinate_names,
    make_runs,
    record_names,
    row_bounds,
)

CHUNK = 262_144
SHARD = 16 * CHUNK
# Bytes of one significance side by side: half the time and two thirds of the size of zstd alone.
_CODEC = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
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
    order = np.lexsort([runs[name].to_numpy() for name in _ORDER if name in runs.variables])
    head = runs.drop_vars(record_names(runs)).isel(run=order)
    for name in coordinate_names(head):
        if not np.issubdtype(head[name].dtype, np.number):  # fixed-width text has no v3 spec
            head[name] = head[name].astype(object)
    path = root / f"curves-{uuid.uuid4().hex}.partial"
    for records in _blocks(runs, order):
        if path.exists():
            records.to_zarr(path, append_dim="obs", zarr_format=3, consolidated=False)
        else:
            encoding = {name: _encoding(runs.sizes["obs"]) for name in record_names(runs)}
            whole = head.assign(records)
            whole.to_zarr(path, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)
    sync_tree(path)
    return path


def _blocks(runs: xr.Dataset, order: NDArray[np.int64]) -> Iterator[xr.Dataset]:
    """Yield the records in another order of the runs, a few shards at a time.

    A whole copy in the new order would take as much memory as the runs.
    """
    bounds = row_bounds(runs)
    starts, sizes = bounds[order], np.diff(bounds)[order]
    ends = np.cumsum(sizes)
    columns = {name: runs[name].variable for name in record_names(runs)}
    block = 2 * SHARD
    for begin in range(0, max(1, runs.sizes["obs"]), block):
        low = np.maximum(ends - sizes, begin)
        high = np.minimum(ends, begin + block)
        here = np.flatnonzero(high > low)
        first = (starts + low - (ends - sizes))[here]
        slices = [*map(slice, first.tolist(), (first + (high - low)[here]).tolist())]
        yield xr.Dataset(
            {
                name: ("obs", _pieces(column.data, slices), column.attrs)
                for name, column in columns.items()
            }
        )


def _pieces(values: NDArray[np.generic], slices: list[slice]) -> NDArray[np.generic]:
    return np.concatenate([values[:0], *(values[each] for each in slices)])


def _encoding(length: int) -> dict[str, object]:
    layout: dict[str, object] = {"chunks": (min(CHUNK, max(1, length)),), "compressors": _CODEC}
    return layout | {"shards": (SHARD,)} if length > SHARD else layout


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
    path = generation_path(root, number).absolute()
    with _readable(path):
        # Undecoded: seconds since 1970 are numbers in the schema, not dates in nanoseconds.
        runs = xr.open_dataset(
            path, engine="zarr", chunks=None, consolidated=False, cache=False, decode_times=False
        )
        for name in ("row_size", *coordinate_names(runs)):
            runs[name].load()
    total = int(runs["row_size"].to_numpy().sum())
    if total != runs.sizes["obs"]:
        msg = f"The consolidated curves {path} hold {runs.sizes['obs']} records, expected {total}."
        raise DataError(msg)
    return runs.assign_attrs(path=str(path))


@contextmanager
def _readable(path: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        msg = (
            f"The consolidated curves {path} are missing or damaged: {error}. Restore the store "
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
    records = {name: read_records(runs, positions, name) for name in record_names(runs)}
    coords = {name: runs[name].to_numpy()[positions] for name in coordinate_names(runs)}
    return make_runs(coords, records, row_size=runs["row_size"].to_numpy()[positions])


def read_records(runs: xr.Dataset, positions: NDArray[np.int64], name: str) -> NDArray[np.generic]:
    """Read one record variable of some runs of an opened generation; see `load_runs`.

    Returns
    -------
    ndarray of shape (obs,)
        Their records end to end.

    Raises
    ------
    DataError
        If the records cannot be read.
    """
    bounds = row_bounds(runs)
    filled = positions[bounds[positions + 1] > bounds[positions]]
    starts, stops = bounds[filled], bounds[filled + 1]
    if (stops - starts).sum() > _WANTED_SHARE * bounds[-1]:
        slices = [(int(bounds[0]), int(bounds[-1]))]
    else:
        slices = _coalesce(starts, stops)
    with _readable(runs.attrs["path"]):
        values = _cut(_gather(runs[name], slices), starts, stops, slices)
    if name == "step":
        _require_increasing_steps(values, np.diff(bounds)[filled], runs, filled)
    return values


def _require_increasing_steps(
    steps: NDArray[np.generic],
    sizes: NDArray[np.int64],
    runs: xr.Dataset,
    positions: NDArray[np.int64],
) -> None:
    # Zarr reads a chunk that is gone as fill values, without a word.
    falls = np.flatnonzero(steps[1:] <= steps[:-1]) + 1  # type: ignore[operator]
    ends = np.cumsum(sizes)
    inside = falls[~np.isin(falls, ends)]
    if len(inside):
        run = positions[int(np.searchsorted(ends, inside[0], side="right"))]
        msg = (
            f"The consolidated curves {runs.attrs['path']} are damaged: steps of run "
            f"{str(runs['run_id'].to_numpy()[run])!r} do not increase. "
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


def _cut(
    gathered: NDArray[np.generic],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    slices: list[tuple[int, int]],
) -> NDArray[np.generic]:
    """Take the wanted records out of the slices put end to end."""
    if (stops - starts).sum() == len(gathered):
        return gathered
    begins, ends = np.array(slices).T
    offsets = np.cumsum(ends - begins) - ends  # of a record's place to where it now lies
    shift = offsets[np.searchsorted(begins, starts, side="right") - 1]
    first, last = (starts + shift).tolist(), (stops + shift).tolist()
    return _pieces(gathered, [*map(slice, first, last)])


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
    bounds = row_bounds(runs).tolist()
    coords = {name: runs[name].to_numpy() for name in coordinate_names(runs)}
    facts = {name: coords[name].tolist() for name in sorted(set(coords) - set(_PROVENANCE))}
    records = {name: runs[name].to_numpy() for name in sorted(record_names(runs))}
    out = {}
    for i, run_id in enumerate(map(str, coords["run_id"])):
        content = hashlib.sha256()
        for name, known in facts.items():
            text = _text_of(known[i])
            if text not in ("nan", ""):
                # `run_` is put before a name that another run logs as a column (`join_runs`).
                content.update(f"{name.removeprefix('run_')}={text}\n".encode())
        for name, column in records.items():
            values = _canonical(column[bounds[i] : bounds[i + 1]])
            if values is not None:
                content.update(f"{name}:{len(values)}\n".encode())
                content.update(values.data)
        out[run_id] = content.hexdigest()
    return out


def _text_of(value: float | str) -> str:
    # A number is the same number where another run made the coordinate a text (`join_runs`).
    try:
        return float(value).hex()
    except ValueError:
        return value if isinstance(value, str) else str(value)


def _canonical(values: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """Return values whose bytes say what they are; None where nothing was recorded."""
    if np.issubdtype(values.dtype, np.integer):
        return np.ascontiguousarray(values, dtype="<i8")
    # NaNs come in many bit patterns and zeros in two; files do not keep them apart reliably.
    plain = values.astype("<f8") + 0.0
    unknown = np.isnan(plain)
    if unknown.all():
        return None
    plain[unknown] = np.nan
    return plain


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
            # Gone at once for a reader, who would take chunks that are missing for fill values.
            leaving = root / f"curves-{uuid.uuid4().hex}.partial"
            with suppress(OSError):
                path.rename(leaving)
            shutil.rmtree(leaving, ignore_errors=True)
