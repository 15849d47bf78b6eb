"""Resample runs whose records are Dask arrays: a block of whole runs at a time, when asked.

What the eager path checks for all runs at once, a finite loss and a known plan, is checked here in
each block when it is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import ArgumentError
from workbench.schema import LOSSES, LossName, make_runs, row_bounds, run_blocks

Resample = Callable[[xr.Dataset], NDArray[np.float64]]
_PLAN = ("run_id", "total_steps", "tokens_total")


def is_lazy(runs: xr.Dataset) -> bool:
    """Tell whether the records of `runs` are Dask arrays."""
    return runs["step"].chunks is not None


def only_loss(runs: xr.Dataset) -> LossName:
    """Return the loss of lazy runs that have just one; which runs lack one is not known yet.

    Raises
    ------
    ArgumentError
        If there are two.
    """
    present = [loss for loss in LOSSES if loss in runs.variables]
    if len(present) == 1:
        return present[0]
    msg = (
        f"These runs have {' and '.join(present) or 'no loss'}, and which of them every run has is "
        "not known before their records are read. Say which with loss=."
    )
    raise ArgumentError(msg)


def resample_blocks(runs: xr.Dataset, loss: LossName, resample: Resample, points: int) -> Any:
    """Return a Dask array (run, progress) with a chunk for every block of runs.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs on Dask arrays.
    loss : {"eval_loss", "train_loss"}
        Which loss.
    resample : callable of Dataset (run, obs) -> ndarray of shape (run, points)
        What is done with a block in memory.
    points : int
        Points of progress.

    Returns
    -------
    dask.array.Array of shape (run, points)
        Blocks follow the chunks of the records, moved to where runs end.
    """
    import dask.array as da

    bounds = row_bounds(runs)
    given = runs[loss].chunks
    largest = max(given[0]) if given else runs.sizes["obs"]
    edges = _edges(bounds, given[0] if given else (), largest)
    in_runs, in_records = np.diff(edges), np.diff(bounds[edges])
    columns = [name for name in ("step", "tokens", loss) if name in runs.variables]
    records = [da.asarray(runs[name].data).rechunk((tuple(in_records),)) for name in columns]
    heads = [
        da.from_array(runs[name].to_numpy(), chunks=(tuple(in_runs),))
        for name in ("row_size", *_PLAN)
    ]

    def block(*parts: NDArray[Any]) -> NDArray[np.float64]:
        cut = dict(zip((*columns, "row_size", *_PLAN), parts, strict=True))
        coords = {name: cut[name] for name in _PLAN}
        data = {name: cut[name] for name in columns}
        return resample(make_runs(coords, data, row_size=cut["row_size"]))

    pairs = [item for array in (*records, *heads) for item in (array, "i")]
    return da.blockwise(
        block,
        "ip",
        *pairs,
        new_axes={"p": points},
        adjust_chunks={"i": tuple(in_runs)},
        align_arrays=False,
        dtype=np.float64,
        meta=np.empty((0, 0)),
        concatenate=True,
    )


def _edges(bounds: NDArray[np.int64], chunks: tuple[int, ...], largest: int) -> NDArray[np.int64]:
    """Return the first run of every block, and the number of runs."""
    ends = np.concatenate([[0], np.cumsum(chunks)]).astype(np.int64)
    if np.isin(ends, bounds).all() and (np.diff(bounds) > 0).all():
        return np.unique(np.searchsorted(bounds, ends))
    return run_blocks(bounds, largest)
