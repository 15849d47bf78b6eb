"""Resample all runs of a ragged array at once: compiled where that pays, else a loop over runs.

Both paths give the same bits. The compiled one needs Numba (extra ``fast``); a process pays about a
second to load it, and the first one on a machine a few more to compile, so data that the loop gets
through sooner never touch it.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.curves import kernels
from workbench.errors import DataError

Engine = Literal["auto", "loop", "compiled"]
Estimator = Literal["linear", "mean"]

_LOADING = 1.0
"""Seconds that importing Numba and the compiled kernels takes, once per process."""
_LOOP = {"linear": (12e-6, 3e-9), "mean": (20e-6, 8e-9)}
"""Seconds of the loop per run and per record."""
_FEW = 8
_COMPILED = "workbench.curves.kernels_numba"


def resample_ragged(
    x: NDArray[Any],
    values: NDArray[Any],
    bounds: NDArray[np.int64],
    total: NDArray[np.float64],
    grid: kernels.Floats,
    *,
    method: Estimator,
    hold_from: float = 1.0,
    rising: bool = False,
    engine: Engine = "auto",
) -> kernels.Floats:
    """Bring every run of a ragged array to one grid.

    Parameters
    ----------
    x : ndarray of shape (obs,)
        Steps or tokens, all runs end to end; a record lies at ``x / total`` of its run.
    values : ndarray of shape (obs,)
        Curves; records that are not finite are skipped.
    bounds : ndarray of int, shape (run + 1,)
        Record offsets: run ``i`` owns ``bounds[i]:bounds[i + 1]``.
    total : ndarray of shape (run,)
        Planned end of each run in units of `x`.
    grid : ndarray of shape (x,)
        Increasing; k/points for ``"mean"``.
    method : {"linear", "mean"}
        `kernels.resample_linear` or `kernels.resample_mean`.
    hold_from : float
        A curve that reaches this position is held at its last value.
    rising : bool
        `x` is known not to fall within a run, as the steps of the schema are; else every record is
        looked at to see, which costs more than the search that follows.
    engine : {"auto", "loop", "compiled"}
        ``"auto"`` loads the compiled kernel only where the loop would take longer than loading.

    Returns
    -------
    ndarray of shape (run, x)

    Raises
    ------
    DataError
        If ``"compiled"`` is asked for and Numba is not installed.
    """
    out = np.empty((len(bounds) - 1, len(grid)))
    compiled = engine == "compiled" or (
        engine == "auto" and _pays(len(out), int(bounds[-1] - bounds[0]), method)
    )
    if compiled:
        found = _load_compiled()
        bounds = np.ascontiguousarray(bounds, dtype=np.int64)
        x, values, total, grid = (_plain(array) for array in (x, values, total, grid))
        if (total > 0).all() and (rising or found.rises(x, bounds)):
            search = found.mean if method == "mean" else found.linear
            search(x, values, bounds, total, grid, float(hold_from), out)
            return out
    kernel = kernels.resample_mean if method == "mean" else kernels.resample_linear
    for i, (start, stop) in enumerate(pairwise(bounds.tolist())):
        position = x[start:stop] / total[i]
        out[i] = kernel(position, values[start:stop], grid, hold_from=hold_from)
    return out


def _pays(runs: int, records: int, method: Estimator) -> bool:
    per_run, per_record = _LOOP[method]
    if _COMPILED in sys.modules:
        return runs > _FEW
    return runs * per_run + records * per_record > _LOADING and find_spec("numba") is not None


def _load_compiled() -> ModuleType:
    try:
        from workbench.curves import kernels_numba
    except ImportError as error:
        msg = (
            "The compiled resampling needs Numba. Install it with: "
            "pip install 'collapse-workbench[fast]', or leave engine at 'auto'."
        )
        raise DataError(msg) from error
    return kernels_numba


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    # One machine code per dtype: contiguous, aligned, writable arrays of native byte order.
    native = values.dtype.newbyteorder("=")
    if native.kind not in "if" or native.itemsize not in (4, 8):
        native = np.dtype(np.float64)
    return np.require(values, dtype=native, requirements=["C", "A", "W"])
