"""The cube: a family of resampled curves with its hyper-parameters as labelled dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.curves.resample import POINTS, on_progress
from workbench.errors import ArgumentError, DataError
from workbench.schema import (
    RUN_FIELDS,
    LossName,
    coordinate_names,
    field_attrs,
    require_coordinate,
    run_names,
)

DIMS = ("model_size", "tau", "tpp", "schedule", "seed")
SNAPPED = ("tau", "tpp")
_NEVER_SEPARATES = ("run_id", "source", "source_sha256", "status")
_MAX_VALUES = 200_000_000


def snap(values: ArrayLike, *, tolerance: float) -> NDArray[np.float64]:
    """Give values that belong to one designed value the same label.

    Sorted values whose neighbours differ by at most `tolerance`, relatively, form one group; its
    label is the group's median.

    Parameters
    ----------
    values : array-like of shape (run,)
        Positive values; NaN stays NaN.
    tolerance : float
        Largest relative step within a group.

    Returns
    -------
    ndarray of shape (run,)
    """
    given = np.asarray(values, dtype=np.float64)
    out = given.copy()
    order = np.argsort(given)
    finite = order[np.isfinite(given[order])]
    if len(finite):
        ordered = given[finite]
        breaks = np.flatnonzero(np.diff(ordered) > tolerance * np.abs(ordered[1:])) + 1
        for group in np.split(finite, breaks):
            out[group] = np.median(given[group])
    return out


def to_cube(
    runs: xr.Dataset,
    *,
    points: int = POINTS,
    loss: LossName | None = None,
    dims: Sequence[str] = (),
    replicates: Literal["seed"] | None = None,
    tolerance: float = 0.02,
) -> xr.Dataset:
    """Arrange runs in a cube over size, τ, TPP, schedule, seed and progress.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs; on Dask arrays the loss of the cube is one too, see `on_progress`.
    points : int
        Points of progress.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default ``default_loss(runs)``.
    dims : sequence of str
        Further run coordinates to make dimensions, such as ``peak_lr``.
    replicates : {"seed"}, optional
        Number runs that share a cell 0, 1, … along ``seed`` instead of failing.
    tolerance : float
        Relative tolerance within which τ and TPP are snapped to one label; the exact values stay
        in ``tau_exact`` and ``tpp_exact``.

    Returns
    -------
    Dataset (model_size, tau, tpp, schedule, seed, *dims, progress)
        ``loss`` [nats/token], ``n_obs``, ``run_id`` and ``status`` per cell; empty cells are NaN,
        0 and "".

    Raises
    ------
    ArgumentError
        If a name in `dims` is not a run coordinate.
    DataError
        If two runs share a cell (named, with the coordinate that would separate them), or the
        cube would be mostly empty and too large.
    """
    for name in dims:
        require_coordinate(runs, name)
    if replicates not in (None, "seed"):
        msg = f"replicates must be 'seed' or None, found {replicates!r}."
        raise ArgumentError(msg)
    names = (*DIMS, *(d for d in dims if d not in DIMS))
    labels = {name: _labels(runs, name, tolerance) for name in names}
    if replicates == "seed":
        labels["seed"] = _number_replicates([labels[n] for n in names if n != "seed"])
    codes, levels = _codes(labels)
    shape = tuple(len(levels[name]) for name in names)
    if np.prod(shape, dtype=float) * points > _MAX_VALUES:
        msg = (
            f"The cube would hold {' x '.join(map(str, shape))} cells for {runs.sizes['run']} "
            "runs. Select fewer settings with --where, or raise tolerance."
        )
        raise DataError(msg)
    _refuse_shared_cells(runs, codes, names)
    curves = on_progress(runs, loss=loss, points=points)
    return _fill(runs, curves, codes, levels, names)


def _labels(runs: xr.Dataset, name: str, tolerance: float) -> NDArray[np.generic]:
    values = runs[name].to_numpy()
    return snap(values, tolerance=tolerance) if name in SNAPPED else values


def _number_replicates(others: Sequence[NDArray[np.generic]]) -> NDArray[np.float64]:
    seen: dict[tuple[str, ...], int] = {}
    out = np.empty(len(others[0]))
    for i, key in enumerate(zip(*[values.astype(str) for values in others], strict=True)):
        out[i] = seen.get(key, 0)
        seen[key] = int(out[i]) + 1
    return out


def _codes(
    labels: dict[str, NDArray[np.generic]],
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.generic]]]:
    codes, levels = [], {}
    for name, values in labels.items():
        levels[name], code = np.unique(values, return_inverse=True)
        codes.append(code)
    return np.stack(codes, axis=1), levels


def _refuse_shared_cells(
    runs: xr.Dataset, codes: NDArray[np.int64], names: tuple[str, ...]
) -> None:
    _, first, inverse = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    shared = np.flatnonzero(first[inverse] != np.arange(len(codes)))
    if not len(shared):
        return
    one, two = int(first[inverse][shared[0]]), int(shared[0])
    ids = run_names(runs)
    candidates = [n for n in coordinate_names(runs) if n not in (*names, *_NEVER_SEPARATES)]
    differing = [n for n in candidates if _differ(runs[n].to_numpy(), one, two)]
    cell = ", ".join(f"{name}={runs[name].to_numpy()[one]}" for name in names)
    if differing:
        fix = (
            f"They differ in {', '.join(differing[:3])}: pass dims=[{differing[0]!r}], or keep "
            f"one with --where {differing[0]}=VALUE."
        )
    else:
        fix = "Nothing recorded separates them: pass replicates='seed' to number them."
    msg = f"Two runs share the cell {cell}: {ids[one]!r} and {ids[two]!r}. {fix}"
    raise DataError(msg)


def _differ(values: NDArray[np.generic], one: int, two: int) -> bool:
    a, b = values[one], values[two]
    return bool(a != b) and not (str(a) == "nan" and str(b) == "nan")


def _fill(
    runs: xr.Dataset,
    curves: xr.DataArray,
    codes: NDArray[np.int64],
    levels: dict[str, NDArray[np.generic]],
    names: tuple[str, ...],
) -> xr.Dataset:
    shape = tuple(len(levels[name]) for name in names)
    where = tuple(codes.T)

    def scatter(values: NDArray[np.generic], empty: object) -> NDArray[np.generic]:
        out = np.full(shape + values.shape[1:], empty, dtype=values.dtype)
        out[where] = values
        return out

    cells: dict[str, tuple[object, ...]] = {
        "n_obs": (names, scatter(runs["row_size"].to_numpy(), 0), {"long_name": "records"}),
        "run_id": (names, scatter(runs["run_id"].to_numpy(), "")),
        "status": (names, scatter(runs["status"].to_numpy(), "")),
        "tau_exact": (names, scatter(runs["tau"].to_numpy(), np.nan), field_attrs("tau")),
        "tpp_exact": (names, scatter(runs["tpp"].to_numpy(), np.nan), field_attrs("tpp")),
    }
    for name, field in RUN_FIELDS.items():
        if field.kind == "number" and name in runs.coords and name not in names:
            cells[name] = (names, scatter(runs[name].to_numpy(), np.nan), field_attrs(name))
    coords = {name: (name, levels[name], field_attrs(name)) for name in names}
    if curves.chunks is None:
        loss = scatter(curves.to_numpy(), np.nan)
    else:  # the curves of a block of runs lie anywhere in the cube, so one task places them all
        placed = {"dtype": float, "drop_axis": 0, "new_axis": [*range(len(shape))]}
        chunks = (*shape, curves.sizes["progress"])
        whole = curves.data.rechunk(-1)
        loss = whole.map_blocks(scatter, np.nan, chunks=chunks, meta=np.empty(()), **placed)
    attrs = dict(curves.attrs) | {"loss": str(curves.name)}
    return xr.Dataset(
        {"loss": ((*names, "progress"), loss, attrs), **cells},
        coords={**coords, "progress": curves["progress"].variable},
        attrs=dict(runs.attrs) | {"history": curves.attrs["history"]},
    )


def cube_curves(cube: xr.Dataset) -> xr.DataArray:
    """Return the filled cells of a cube as curves with run coordinates.

    Parameters
    ----------
    cube : Dataset (model_size, tau, tpp, schedule, seed, ..., progress)
        From `to_cube`.

    Returns
    -------
    DataArray (run, progress)
        Named after the loss the cube holds, with the exact τ and TPP.
    """
    dims = [str(dim) for dim in cube["loss"].dims if dim != "progress"]
    flat = cube.stack(cell=dims).transpose("cell", ...)
    flat = flat.isel(cell=np.flatnonzero(flat["n_obs"].to_numpy() > 0))
    loss = flat["loss"]
    source = {name: f"{name}_exact" if name in SNAPPED else name for name in dims}
    cells = [str(n) for n in flat.data_vars if flat[n].dims == ("cell",)]
    source |= {name: name for name in cells if name not in source.values()}
    coords = {name: ("run", flat[column].to_numpy()) for name, column in source.items()}
    return xr.DataArray(
        loss.data,
        dims=("run", "progress"),
        coords={**coords, "progress": cube["progress"].variable},
        name=str(loss.attrs["loss"]),
        attrs=loss.attrs,
    )
