"""Parquet: one long table of many runs, and what the workbench exports as ``.parquet``.

An export names its run coordinates and record columns in the file, and comes back identical. In any
other table a column is a coordinate when the schema says so or it is text, else a metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.io.columns import ragged
from workbench.io.json_text import as_number, parse_json
from workbench.io.names import keep_final_apart, metric_name, name_columns, step_name
from workbench.io.parquet_files import (
    MAGIC,
    Column,
    Numbers,
    Texts,
    column_names,
    metadata_of,
    read_batches,
)
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed, usable_steps
from workbench.schema import RECORD_FIELDS, RUN_FIELDS, canonical_run_name, check_version
from workbench.store.export import LAYOUT


def sniff(source: Source) -> bool:
    """Tell whether this is Parquet with a step and a loss, or so damaged that nobody can tell."""
    if not source.head.startswith(MAGIC):
        return False
    names = column_names(source.path)
    return names is None or (
        step_name(names) is not None and any("loss" in name.casefold() for name in names)
    )


def read(source: Source) -> Parsed:
    """Read the runs of a Parquet table.

    Raises
    ------
    DataError
        If it is damaged, has no step, or a run has two values of one coordinate.
    """
    layout = metadata_of(source.path, LAYOUT)
    return _read_table(source) if layout is None else _read_export(source, layout)


def _read_export(source: Source, layout: bytes) -> Parsed:
    """Read what `export_runs` wrote: the records of each run in one piece, in order."""
    known = parse_json(layout, where=f"the layout noted in {source}")
    check_version(known if isinstance(known, dict) else {}, source=str(source))
    coordinates = known.get("coordinates") if isinstance(known, dict) else None
    if not isinstance(coordinates, list) or "run_id" not in coordinates:
        msg = f"{source} notes no run coordinates though the workbench wrote it. Export it again."
        raise DataError(msg)
    heads: dict[str, list[NDArray[Any]]] = {}
    records: dict[str, list[NDArray[Any]]] = {}
    sizes: list[int] = []
    last = None
    for columns, _ in read_batches(source.path):
        plain = {name: _plain(column) for name, column in columns.items()}
        names = plain.get("run_id")
        if names is None or not len(names):
            continue
        starts = np.flatnonzero(np.concatenate([[names[0] != last], names[1:] != names[:-1]]))
        edges = np.concatenate([starts, [len(names)]])
        if sizes:
            sizes[-1] += int(edges[0])
        sizes += np.diff(edges).tolist()
        last = names[-1]
        for name, values in plain.items():
            if name in coordinates:
                heads.setdefault(name, []).append(values[starts])
            else:
                records.setdefault(name, []).append(values)
    if not sizes or "step" not in records:
        msg = f"{source} holds no record. Export it again."
        raise DataError(msg)
    return _assemble(source, heads, records, sizes)


def _plain(column: Column) -> NDArray[Any]:
    if isinstance(column, Numbers):
        return np.where(column.there, column.values, np.nan)
    return np.array([*column.texts, ""], dtype=object)[column.codes]


def _assemble(
    source: Source,
    heads: Mapping[str, list[NDArray[Any]]],
    records: Mapping[str, list[NDArray[Any]]],
    sizes: list[int],
) -> Parsed:
    whole = {name: np.concatenate(parts) for name, parts in records.items()}
    for name, values in whole.items():
        if values.dtype == object or (name == "step" and not usable_steps(values).all()):
            msg = f"column {name!r} of {source} holds no usable numbers. Export it again."
            raise DataError(msg)
    bounds = np.cumsum(sizes)[:-1]
    pieces = {name: np.split(values, bounds) for name, values in whole.items()}
    coords = {
        name: np.concatenate(parts).astype(str if parts[0].dtype == object else np.float64)
        for name, parts in heads.items()
    }
    runs = [{name: parts[i] for name, parts in pieces.items()} for i in range(len(sizes))]
    return Parsed(ragged(coords, runs))


def _read_table(source: Source) -> Parsed:
    names = column_names(source.path) or []
    step = step_name(names)
    if step is None:
        msg = f"{source} has no step column, found {', '.join(names)[:200]}. Add one."
        raise DataError(msg)
    key = next((name for name in names if canonical_run_name(name) == "run_id"), None)
    runs: dict[str, RunLog] = {}
    file = RunLog(source.name, source=str(source))
    for columns, strange in read_batches(source.path):
        for name in strange:
            note = f"left out column {name!r}, neither numbers nor text"
            if note not in file.notes:
                file.notes.append(note)
        if step not in columns:
            msg = f"column {step!r} of {source} does not hold numbers. Give steps as numbers."
            raise DataError(msg)
        steps = _numbers(columns.pop(step), step, source)
        for run_id, rows in _rows_of_runs(
            columns.pop(key, None) if key else None, steps, source.name, file
        ):
            if run_id not in runs:
                runs[run_id] = RunLog(run_id, source=str(source))
            _take_rows(runs[run_id], rows, steps.values, columns, source)
    for log in runs.values():
        keep_final_apart(log)
        name_columns(log)
    return parsed(list(runs.values()), about=file)


def _rows_of_runs(
    ids: Column | None, steps: Numbers, otherwise: str, file: RunLog
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield each run's name and its rows with a step; count the rows left out."""
    usable = steps.there & usable_steps(steps.values)
    if not usable.all():
        file.leave_out("record without a usable step", int((~usable).sum()))
    codes = np.zeros(len(usable), np.int64)
    names: tuple[str, ...] = (otherwise,)
    if isinstance(ids, Texts):
        codes, names = ids.codes, ids.texts
    elif isinstance(ids, Numbers):
        values, codes = np.unique(ids.values, return_inverse=True)
        names = tuple(f"{value:.17g}" for value in values.tolist())
        codes = np.where(ids.there, codes, -1)
    if (codes < 0).any():
        file.leave_out("record without a run_id", int((codes < 0).sum()))
    order = np.flatnonzero(usable & (codes >= 0))
    order = order[np.argsort(codes[order], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else []:
        yield names[codes[rows[0]]], rows


def _take_rows(
    log: RunLog,
    rows: NDArray[np.int64],
    steps: NDArray[np.float64],
    columns: Mapping[str, Column],
    source: Source,
) -> None:
    log.add_series("step", steps[rows], steps[rows])  # a row of no values is a record still
    for name, column in columns.items():
        if _is_record(name, column):
            numbers = _numbers(column, name, source)
            own = rows[numbers.there[rows]]
            if len(own):
                log.add_series(name, steps[own], numbers.values[own])
        else:
            _take_coordinate(log, name, column, rows, source)


def _is_record(name: str, column: Column) -> bool:
    if metric_name(name) in RECORD_FIELDS:
        return True
    return isinstance(column, Numbers) and canonical_run_name(name) not in RUN_FIELDS


def _numbers(column: Column, name: str, source: Source) -> Numbers:
    """Return a column of numbers, also of numbers in quotes."""
    if isinstance(column, Numbers):
        return column
    known = [as_number(text) for text in column.texts]
    bad = next((t for t, n in zip(column.texts, known, strict=True) if n is None and t), None)
    if bad is not None:
        msg = f"column {name!r} of {source} must hold numbers, found {bad[:40]!r}. Correct it."
        raise DataError(msg)
    values = np.array([np.nan if n is None else n for n in known] + [np.nan])[column.codes]
    there = np.array([n is not None for n in known] + [False])[column.codes]
    return Numbers(values, there)


def _take_coordinate(
    log: RunLog, name: str, column: Column, rows: NDArray[np.int64], source: Source
) -> None:
    if isinstance(column, Texts):
        found: list[Any] = [column.texts[c] for c in np.unique(column.codes[rows]) if c >= 0]
    else:
        found = np.unique(column.values[rows[column.there[rows]]]).tolist()
    values = {log.settings.get(name), *found} - {None, ""}
    values = {value for value in values if value == value}
    if len(values) > 1 and canonical_run_name(name) in RUN_FIELDS:
        one, two = sorted(values, key=str)[:2]
        msg = (
            f"column {name!r} of {source} is one value a run, found {one!r} and {two!r} in run "
            f"{log.run_id!r}. Give the runs different run_ids."
        )
        raise DataError(msg)
    if len(values) > 1:
        log.leave_out("value of a text column that varies in the run", len(found))
    elif values:
        log.settings[name] = values.pop()


FORMAT = Format("parquet", sniff, read)
