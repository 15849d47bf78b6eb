"""Consolidated curves: one ragged Zarr v3 group per generation, written once and never changed.

Zarr reads a chunk that is gone as fill values, and a codec may decompress a damaged one to other
numbers. So every chunk is written with a checksum, none is left out for being empty, and a digest
of everything but the records is kept beside them: what was lost or damaged is an error to whoever
reads it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from workbench.errors import DataError
from workbench.schema import coordinate_names, make_runs, record_names, row_bounds
from workbench.store.object_errors import is_object_store_error, unreadable

CHUNK = 262_144
SHARD = 16 * CHUNK
# Bytes of one significance side by side: half the time and two thirds of the size of zstd alone.
_CODECS = (BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), Crc32cCodec())
_HEAD_CODECS = (ZstdCodec(), Crc32cCodec())
_HEAD = "head_sha256"
_ORDER = ("run_id", "seed", "model_size", "tau", "tpp", "schedule")
_WANTED_SHARE = 0.2


def write_curves(target: Any, runs: xr.Dataset) -> None:
    """Write runs as one generation.

    Runs are sorted by (schedule, tpp, tau, model_size, seed), so that a selection is few slices.

    Parameters
    ----------
    target : path or Zarr store
        Where nothing is yet.
    runs : Dataset (run, obs)
        Ragged runs that keep the schema.

    Raises
    ------
    DataError
        If a name has a ``/``: Zarr would put it into a group that nobody reads.
    """
    nested = [str(name) for name in runs.variables if "/" in str(name)]
    if nested:
        msg = f"column {nested[0]!r} cannot be kept under that name. Rename it without a '/'."
        raise DataError(msg)
    order = np.lexsort([runs[name].to_numpy() for name in _ORDER if name in runs.variables])
    head = runs.drop_vars(record_names(runs)).isel(run=order)
    for name in coordinate_names(head):
        if not np.issubdtype(head[name].dtype, np.number):  # fixed-width text has no v3 spec
            head[name] = head[name].astype(object)
    encoding = {str(name): {"compressors": _HEAD_CODECS} for name in head.variables}
    encoding |= {name: _encoding(runs.sizes["obs"]) for name in record_names(runs)}
    kept: Any = {"zarr_format": 3, "consolidated": False, "write_empty_chunks": True}
    about = head.attrs | {_HEAD: _head(head, runs)}
    for number, records in enumerate(_blocks(runs, order)):
        if number:  # with all attributes: Xarray puts them in the place of those that are there
            records.assign_attrs(about).to_zarr(target, append_dim="obs", **kept)
        else:
            whole = head.assign(records).assign_attrs(about)
            whole.to_zarr(target, mode="w-", encoding=encoding, **kept)


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


def _encoding(length: int) -> dict[str, Any]:
    layout: dict[str, Any] = {"chunks": (min(CHUNK, max(1, length)),), "compressors": _CODECS}
    return layout | {"shards": (SHARD,)} if length > SHARD else layout


def _head(head: xr.Dataset, records: xr.Dataset) -> str:
    """Return a sha256 of everything about runs but their records: coordinates, names, types."""
    content = hashlib.sha256()
    for name in ("row_size", *sorted(coordinate_names(head))):
        values = head[name].to_numpy()
        content.update(f"{name}:{values.shape}\n".encode())
        if np.issubdtype(values.dtype, np.number):
            content.update(values.astype("<f8").tobytes())
        else:
            content.update("\0".join(map(str, values.tolist())).encode())
    for name in sorted(record_names(records)):
        column = records[name]
        content.update(f"{name}:{column.dtype}:{column.shape}\n".encode())
    return content.hexdigest()


def open_curves(target: Any, *, place: str, damaged: bool = False) -> xr.Dataset:
    """Open a generation: run coordinates in memory, records still where they are.

    Parameters
    ----------
    target : path or Zarr store
        Of the generation.
    place : str
        What messages call it.
    damaged : bool
        Open it though it is not whole; what was lost is read as fill values.

    Returns
    -------
    Dataset (run, obs)
        With `place` in ``attrs["path"]``.

    Raises
    ------
    DataError
        If that generation is missing or damaged.
    """
    with readable(place):
        # Undecoded: seconds since 1970 are numbers in the schema, not dates in nanoseconds.
        runs = xr.open_dataset(
            target, engine="zarr", chunks=None, consolidated=False, cache=False, decode_times=False
        )
        for name in ("row_size", *coordinate_names(runs)):
            runs[name].load()
            if not np.issubdtype(runs[name].dtype, np.number):
                texts = runs[name]
                runs[name] = ("run", _fixed_width(texts.to_numpy()), texts.attrs)
        # Without a digest it was written before there was one.
        whole = (
            damaged
            or _HEAD not in runs.attrs
            or (
                runs.attrs[_HEAD] == _head(runs, runs)
                and all(_has_all_chunks(target, name) for name in record_names(runs))
            )
        )
    if not whole:
        msg = (
            f"The consolidated curves {place} are damaged: a chunk is gone, or a run coordinate is "
            "not what was written. Restore them from a copy, or read an earlier generation with "
            "at=."
        )
        raise DataError(msg)
    total = int(runs["row_size"].to_numpy().sum())
    if total != runs.sizes["obs"]:
        msg = f"The consolidated curves {place} hold {runs.sizes['obs']} records, expected {total}."
        raise DataError(msg)
    return runs.assign_attrs(path=place)


def _fixed_width(texts: NDArray[Any]) -> NDArray[np.str_]:
    if texts.dtype.kind != "T":
        return texts.astype(str)
    width = int(np.strings.str_len(texts).max(initial=1))  # NumPy does not measure these itself
    return texts.astype(f"U{max(1, width)}")


def _has_all_chunks(target: Any, name: str) -> bool:
    """Tell whether every chunk of an array (obs) was stored; a shard counts as all it can hold."""
    array = zarr.open_array(target, path=name, mode="r", zarr_format=3)
    (chunk,) = array.chunks
    (stored,) = array.shards or array.chunks
    objects = math.ceil(array.size / stored)
    return array.nchunks_initialized == objects * (stored // chunk)


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
        From `open_curves`.
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
    with readable(runs.attrs["path"]):
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
