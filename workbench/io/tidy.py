"""CSV tables: a pair ``runs.csv`` + ``curves.csv``, many runs in one file, or one run a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.io.columns import (
    MISSING,
    are_numbers,
    attribute,
    header_of,
    numbers,
    one_record_a_step,
    ragged,
    read_table,
)
from workbench.io.result import Parsed, SkippedSource, Source
from workbench.schema import (
    LOSSES,
    RECORD_FIELDS,
    RUN_FIELDS,
    canonical_record_name,
    canonical_run_name,
)
from workbench.store.batches import Records

RUNS, CURVES = "runs.csv", "curves.csv"
_Coords = dict[str, NDArray[np.generic]]


def sniff_tidy(source: Source) -> bool:
    """Tell whether this is a folder with the pair, or a table with a run_id, a step and a loss."""
    if source.path.is_dir():
        return (source.path / RUNS).is_file() and (source.path / CURVES).is_file()
    header = _renamed(header_of(source.path), source)
    return _is_curve(header) and _id_column(header) is not None


def sniff_csv(source: Source) -> bool:
    """Tell whether this is a table of one run: a step and a loss, and no run_id."""
    header = _renamed(header_of(source.path), source) if source.path.is_file() else []
    return _is_curve(header) and _id_column(header) is None


def _renamed(header: Sequence[str], source: Source) -> list[str]:
    """Return column names as a mapping file has them; what had such a name before gives way."""
    taken = {source.columns[name] for name in header if name in source.columns}
    names: list[str] = []
    for name in header:
        plain = source.columns.get(name, name)
        while name not in source.columns and (plain in taken or plain in names):
            plain += "_"
        names.append(plain)
    return names


def _is_curve(header: Sequence[str]) -> bool:
    names = {canonical_record_name(name) for name in header}
    return "step" in names and not names.isdisjoint(LOSSES)


def _id_column(header: Sequence[str]) -> str | None:
    fitting = [name for name in header if canonical_run_name(name) == "run_id"]
    return "run_id" if "run_id" in fitting else next(iter(fitting), None)


def _coordinate_name(column: str) -> str:
    """Return the name of a column's coordinate; another name beside run_id stays what it is."""
    name = canonical_run_name(column)
    return column if name == "run_id" else name


def read_csv(source: Source) -> Parsed:
    """Read a table of one run, such as ``step,lr,loss``; the run is named after the file."""
    table, notes = read_table(source.path)
    table.columns = pd.Index(_renamed(list(table.columns), source))
    if "run_id" in table:
        msg = (
            f"{source} has a column run_id: it may hold several runs. Import it with --format tidy."
        )
        raise DataError(msg)
    table.insert(0, "run_id", source.name)
    coords, runs, more = _curves(table, str(source))
    return Parsed(ragged(coords, runs), notes=(*notes, *more), mapped=_mapped(source.path, source))


def read_tidy(source: Source) -> Parsed:
    """Read a folder with ``runs.csv`` and ``curves.csv``, or one table with a run_id column.

    Raises
    ------
    DataError
        If a run of the curves is not among the runs, or a column does not hold what it should.
    """
    if not source.path.is_dir():
        coords, runs, notes = _curves_with_id(source.path, source)
        return Parsed(ragged(coords, runs), notes=notes, mapped=_mapped(source.path, source))
    path = source.path / RUNS
    heads = _heads(path)
    coords, runs, notes = _curves_with_id(source.path / CURVES, source)
    known = {str(name): i for i, name in enumerate(heads["run_id"])}
    strange = [str(name) for name in coords["run_id"] if str(name) not in known]
    if strange:
        msg = f"run {strange[0]!r} of {source.path / CURVES} is not in {path}. Add a line for it."
        raise DataError(msg)
    order = [known[str(name)] for name in coords["run_id"]]
    merged = coords | {name: values[order] for name, values in heads.items()}
    empty = sorted(set(known) - set(map(str, coords["run_id"])))
    skipped = [SkippedSource(source=f"{path}: {n}", reason="it has no record") for n in empty]
    mapped = _mapped(source.path / CURVES, source)
    return Parsed(ragged(merged, runs), skipped=tuple(skipped), notes=notes, mapped=mapped)


def _mapped(path: Path, source: Source) -> tuple[str, ...]:
    return tuple(name for name in header_of(path) if name in source.columns)


def _heads(path: Path) -> _Coords:
    table, _ = read_table(path)
    key = _id_column(list(table.columns))
    if key is None:
        msg = f"{path} has no run_id column, found {', '.join(table.columns)}. Add one."
        raise DataError(msg)
    ids = table[key].astype(str)
    if ids.duplicated().any():
        msg = f"run {ids[ids.duplicated()].iloc[0]!r} is twice in {path}. Keep one line a run."
        raise DataError(msg)
    heads: _Coords = {"run_id": ids.to_numpy(dtype=str)}
    for name in table.columns.drop(key):
        heads[_coordinate_name(name)] = attribute(table[name].tolist(), name=name, source=str(path))
    return heads


def _curves_with_id(path: Path, source: Source) -> tuple[_Coords, list[Records], tuple[str, ...]]:
    table, notes = read_table(path)
    table.columns = pd.Index(_renamed(list(table.columns), source))
    key = _id_column(list(table.columns))
    if key is None:
        msg = f"{path} has no run_id column. Add one, or import it with --format csv as one run."
        raise DataError(msg)
    unnamed = table[key].isin(MISSING)
    if unnamed.any():
        msg = f"record {int(np.flatnonzero(unnamed)[0]) + 1} of {path} has no run_id. Fill it in."
        raise DataError(msg)
    coords, runs, more = _curves(table.rename(columns={key: "run_id"}), str(path))
    return coords, runs, (*notes, *more)


def _curves(table: pd.DataFrame, source: str) -> tuple[_Coords, list[Records], tuple[str, ...]]:
    """Split a table with a run_id column into run coordinates and the records of each run."""
    names = _record_names(table)
    if "step" not in names.values():
        msg = f"{source} has no step column, found {', '.join(table.columns)}. Add one."
        raise DataError(msg)
    columns: Records = {
        name: numbers(table[given], name=given, source=source) for given, name in names.items()
    }
    code, ids = pd.factorize(table["run_id"].astype(str))
    order = np.argsort(code, kind="stable")
    rows = np.split(order, np.searchsorted(code[order], np.arange(1, len(ids))))
    notes: list[str] = []
    runs = []
    for run_id, own in zip(ids, rows, strict=True):
        part, said = one_record_a_step(
            {name: values[own] for name, values in columns.items()}, run_id=run_id, source=source
        )
        runs.append(part)
        notes += said
    coords: _Coords = {"run_id": np.asarray(ids, dtype=str)}
    for given in table.columns.drop(["run_id", *names]):
        values = _one_a_run(table[given], rows, list(ids), source, notes)
        if values is not None:
            coords[_coordinate_name(given)] = attribute(values, name=given, source=source)
    return coords, runs, tuple(notes)


def _record_names(table: pd.DataFrame) -> dict[str, str]:
    # A column that carries a canonical name has first claim on it, before an alias of it.
    names: dict[str, str] = {}
    for given in sorted(table.columns.drop("run_id"), key=lambda n: n not in RECORD_FIELDS):
        name = canonical_record_name(given)
        if name in RECORD_FIELDS and name not in names.values():
            names[given] = name
        elif canonical_run_name(given) in RUN_FIELDS and name not in RECORD_FIELDS:
            continue
        elif are_numbers(table[given]):
            names[given] = given
    return names


def _one_a_run(
    values: pd.Series,
    rows: Sequence[NDArray[np.int64]],
    ids: list[str],
    source: str,
    notes: list[str],
) -> list[object] | None:
    out: list[object] = []
    for run_id, own in zip(ids, rows, strict=True):
        own_values = values.iloc[own]
        distinct = own_values[~own_values.isin(MISSING)].unique()
        if len(distinct) > 1 and canonical_run_name(str(values.name)) in RUN_FIELDS:
            msg = (
                f"column {values.name!r} of {source} is one value a run, found {distinct[0]!r} and "
                f"{distinct[1]!r} in run {run_id!r}. Give the runs different run_ids."
            )
            raise DataError(msg)
        if len(distinct) > 1:
            notes.append(f"{source}: left out column {values.name!r}, text that varies in a run")
            return None
        out.append(distinct[0] if len(distinct) else None)
    return out
