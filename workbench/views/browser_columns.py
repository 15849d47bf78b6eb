"""What the page's script needs to know about the runs: flat columns, colours, axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import replicate_cells
from workbench.collapse.groups import SEEDS
from workbench.curves import X_AXES, final_loss
from workbench.errors import DataError
from workbench.schema import OPEN_STATUSES, RUN_FIELDS, coordinate_names, run_names
from workbench.views import format as fmt
from workbench.views.run_table import FILTERS, RunTable
from workbench.views.theme import (
    CATEGORY_COLOURS,
    MODES,
    PALETTES,
    SCHEDULE_ORDER,
    TOKENS,
    Mode,
    css_variables,
    palette_of,
)

AXIS_LABELS = {
    "progress": "Progress, share of planned tokens [%]",
    "tokens": "Tokens",
    "compute": "Compute",
    "step": "Optimiser step",
}
_X_COORDINATES = {"tokens": "tokens_total", "compute": "compute_total", "step": "total_steps"}
_DASHES: dict[str, list[int]] = {
    "linear": [],
    "cosine": [10, 4],
    "wsd": [8, 3, 2, 3],
    "constant": [2, 3],
}
_NOT_A_COLOUR = ("run_id", "source", "source_sha256", "irreducible_loss")
_MOST_CATEGORIES = 5


def browser_columns(table: RunTable, colours: tuple[str, ...]) -> dict[str, Any]:
    """Return one row per run: curve, labels, cell of replicates, colour positions, x factors."""
    curves, runs = table.curves, table.runs
    status = runs["status"].to_numpy().astype(str)
    cell = np.empty(table.n_runs, dtype=np.int32)
    if table.n_runs:
        for number, rows in enumerate(replicate_cells(curves)):
            cell[rows] = number
    columns: dict[str, Any] = {
        "run_id": np.array(run_names(runs), dtype=object),
        "loss": np.ascontiguousarray(curves.to_numpy(), dtype=np.float64),
        "cell": cell,
        "seed_key": np.array(_seed_keys(runs), dtype=object),
        "size": runs["model_size"].to_numpy().astype(np.float64),
        "running": np.isin(status, OPEN_STATUSES).astype(np.int8),
        "setting": np.array(_settings(table), dtype=object),
    }
    for name in FILTERS:
        columns[f"is_{name}"] = table.labels[name].astype(object)
    for axis, (divisor, _) in _axis_units(runs).items():
        columns[f"x_{axis}"] = runs[_X_COORDINATES[axis]].to_numpy() / divisor
    for name in colours:
        position, text = _colour_column(table, name)
        columns[f"at_{name}"] = position
        columns[f"text_{name}"] = np.array(text, dtype=object)
    return columns


def _seed_keys(runs: xr.Dataset) -> list[str]:
    columns = [runs[name].to_numpy() for name in SEEDS if name in runs.coords]
    return [
        "" if all(np.isnan(v) for v in seeds) else " ".join(f"{float(v):g}" for v in seeds)
        for seeds in zip(*columns, strict=True)
    ]


def _settings(table: RunTable) -> list[str]:
    names = {"model_size": "", "tau": "τ ", "tpp": "TPP ", "schedule": ""}
    parts = [
        [f"{prefix}{t}" if t != fmt.NOT_RECORDED else "" for t in table.labels[name]]
        for name, prefix in names.items()
    ]
    return [", ".join(filter(None, row)) for row in zip(*parts, strict=True)]


def _axis_units(runs: xr.Dataset) -> dict[str, tuple[float, str]]:
    """Return the axes every run can be drawn on, with divisor and unit."""
    units = {}
    for axis, coordinate in _X_COORDINATES.items():
        values = runs[coordinate].to_numpy()
        if len(values) and np.isfinite(values).all():
            units[axis] = fmt.axis_unit(axis, float(values.max()))
    return units


def x_axes(table: RunTable) -> dict[str, str]:
    """Return the label, with unit, of every x-axis these runs can be drawn on."""
    units = _axis_units(table.runs)
    labels = {"progress": AXIS_LABELS["progress"]}
    for axis in X_AXES:
        if axis in units:
            unit = f" [{units[axis][1]}]" if units[axis][1] else ""
            labels[axis] = AXIS_LABELS[axis] + unit
    return labels


def colour_choices(table: RunTable) -> tuple[str, ...]:
    """Return the coordinates worth colouring by: those that differ, and the final loss."""
    found = []
    for name in coordinate_names(table.runs):
        values = table.runs[name].to_numpy()
        if name in _NOT_A_COLOUR:
            continue
        if np.issubdtype(values.dtype, np.number):
            different = len(np.unique(values[np.isfinite(values)])) > 1
        else:
            different = 1 < len(np.unique(values)) <= _MOST_CATEGORIES
        if different:
            found.append(name)
    return tuple(dict.fromkeys(["model_size", *found, "final_loss"]))


def colour_title(name: str) -> str:
    """Return what a colour stands for, with its unit."""
    titles = {
        "model_size": "Model size [parameters]",
        "tau": "AdamW timescale τ",
        "tpp": "Tokens per parameter",
        "final_loss": "Final loss [nats/token]",
    }
    if name in titles:
        return titles[name]
    field = RUN_FIELDS.get(name)
    return field.long_name[0].upper() + field.long_name[1:] if field else name


def _colour_values(table: RunTable, name: str) -> NDArray[np.generic]:
    if name == "final_loss":
        return np.asarray(final_loss(table.curves).to_numpy())
    return np.asarray(table.runs[name].to_numpy())


def _colour_column(table: RunTable, name: str) -> tuple[NDArray[np.float64], list[str]]:
    """Return each run's place on the colour scale over **all** runs, and its value as text."""
    values = _colour_values(table, name)
    if not np.issubdtype(values.dtype, np.number):
        order = {text: float(i) for i, text in enumerate(sorted(set(map(str, values))))}
        texts = [fmt.value_text(name, str(v)) for v in values]
        return np.array([order[str(v)] for v in values]), texts
    given = values.astype(np.float64)
    known = given[np.isfinite(given)]
    scaled = np.log(given) if len(known) and known.min() > 0 else given
    with np.errstate(invalid="ignore"):
        low, high = (f(scaled[np.isfinite(scaled)], initial=x) for f, x in _EXTREMES)
        position = (scaled - low) / (high - low) if high > low else np.where(given == given, 1, 0.0)
    labels = table.labels.get(name)
    texts = [fmt.value_text(name, float(v)) for v in given] if labels is None else list(labels)
    return np.asarray(position, dtype=np.float64), texts


_EXTREMES = ((np.min, np.inf), (np.max, -np.inf))


def script_theme(table: RunTable, colours: tuple[str, ...]) -> dict[str, Any]:
    """Return tokens, CSS variables and the palette of every colour choice, for both modes."""
    return {
        mode: {
            **{name: TOKENS[mode][name] for name in ("ink", "muted", "line")},
            "css": css_variables(mode),
            "palettes": {name: _palette(table, name, mode) for name in colours},
        }
        for mode in MODES
    }


def _palette(table: RunTable, name: str, mode: Mode) -> Any:
    values = _colour_values(table, name)
    if np.issubdtype(values.dtype, np.number):
        return PALETTES[mode][palette_of(name)]
    return {"categories": [_category(text, i, mode) for i, text in enumerate(_texts(values))]}


def _texts(values: NDArray[np.generic]) -> list[str]:
    return sorted(set(map(str, values)))


def _category(text: str, place: int, mode: Mode) -> dict[str, Any]:
    known = SCHEDULE_ORDER.index(text) if text in SCHEDULE_ORDER else None
    colours = CATEGORY_COLOURS[mode]
    number = place % len(colours) if known is None else known
    return {"colour": colours[number], "dash": _DASHES.get(text, [5, 3] if place else [])}


def require_axis(table: RunTable, axis: str) -> None:
    """Raise `DataError` when a run lacks what an x-axis needs."""
    if axis not in x_axes(table):
        msg = f"x={axis} needs {_X_COORDINATES.get(axis, axis)} of every run. Choose progress."
        raise DataError(msg)
