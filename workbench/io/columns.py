"""Turn tables of text into columns of numbers, and columns into ragged runs."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.io.runlog import usable_name
from workbench.schema import RUN_FIELDS, canonical_run_name, make_runs
from workbench.store.batches import Records, join
from workbench.text import plural

MISSING = ("", "nan", "NaN", "NAN", "NA", "N/A", "null", "None", "none")
_RESERVED = ("run", "obs", "row_size", "zarr.json")
_LONGEST = 200
_Values = TypeVar("_Values")
_STEP_LIMIT = 2**53  # beyond it a float no longer tells neighbouring steps apart
DELIMITERS = (",", "\t", ";")


def header_of(path: Path) -> list[str]:
    """Return the column names of a delimited text file; an empty list when it is not one."""
    try:
        with path.open("rb") as file:
            first = file.readline(65_536).decode("utf-8-sig").strip("\r\n")
    except (OSError, UnicodeDecodeError):
        return []
    if not first.isprintable() and "\t" not in first:
        return []
    return [name.strip().strip('"') for name in first.split(_delimiter(first))]


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


def read_table(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a delimited text file; a last line without a line end is still being written: skipped.

    Parameters
    ----------
    path : Path
        The file, UTF-8, columns separated by comma, tab or semicolon.

    Returns
    -------
    DataFrame of str, tuple of str
        The table, every field as written, and notes on what was skipped.

    Raises
    ------
    DataError
        If the file is empty, has no record, or is not such a table.
    """
    whole, end, torn = path.read_bytes().rpartition(b"\n")
    notes: tuple[str, ...] = ()
    if torn.strip(b"\r\0 "):
        notes = (
            f"{path}: skipped 1 last line without a line end, taken as still being written. "
            "If the file is complete, end it with a new line.",
        )
    table = _parse((whole + end), path)
    if table.empty:
        what = "has a header but no complete record" if len(table.columns) else "is empty"
        msg = f"{path} {what}. Import it when the first record has been written."
        raise DataError(msg)
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    return table, notes


def _parse(content: bytes, path: Path) -> pd.DataFrame:
    # As text first: `float` then gives back exactly what was written, on every pandas version.
    try:
        decoded = content.decode("utf-8-sig")
        return pd.read_csv(
            io.StringIO(decoded),
            sep=_delimiter(decoded.partition("\n")[0]),
            dtype=object,
            keep_default_na=False,
            skipinitialspace=True,
            index_col=False,
            on_bad_lines="error",
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        msg = f"{path} is not a table of comma-separated UTF-8 text: {reason}. Export it again."
        raise DataError(msg) from error


def numbers(values: Iterable[object], *, name: str, source: str) -> NDArray[np.float64]:
    """Return a column as float64, exactly as written; missing values are NaN.

    Raises
    ------
    DataError
        If a value is text.
    """
    given = np.array(list(values), dtype=object)
    given[np.isin(given.astype(str), MISSING)] = np.nan
    try:
        return given.astype(np.float64)
    except (TypeError, ValueError):
        record = next(i for i, value in enumerate(given, start=1) if not _is_number(value))
        msg = (
            f"column {name!r} of {source} must hold numbers, found {str(given[record - 1])!r} in "
            f"record {record}. Correct or remove that record."
        )
        raise DataError(msg) from None


def are_numbers(values: Iterable[object]) -> bool:
    """Tell whether every value is a number or missing."""
    return all(_is_number(value) for value in values)


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return _is_missing(value)
    return True


def _is_missing(value: object) -> bool:
    return value is None or value != value or value in MISSING


def attribute(values: Sequence[object], *, name: str, source: str) -> NDArray[np.generic]:
    """Return one run coordinate: numbers where all are, or the schema says so; else text."""
    field = RUN_FIELDS.get(canonical_run_name(name))
    if field is not None and field.kind == "number":
        return numbers(values, name=name, source=source)
    if field is None and are_numbers(values):
        return numbers(values, name=name, source=source)
    return np.array(["" if _is_missing(value) else str(value) for value in values])


def one_record_a_step(records: Records, *, run_id: str, source: str) -> tuple[Records, list[str]]:
    """Sort records by step and keep the last value logged at each; say what was dropped.

    Parameters
    ----------
    records : dict of str to ndarray of shape (record,)
        Float columns in file order, ``step`` among them.
    run_id, source : str
        For messages.

    Returns
    -------
    dict of str to ndarray of shape (step,), list of str
        ``step`` as int64, strictly increasing; notes.

    Raises
    ------
    DataError
        If a step is not a whole number, or none is there.
    """
    notes = []
    known = np.isfinite(records["step"])
    if not known.all():
        count = plural(int((~known).sum()), "record")
        notes.append(f"{source}: left out {count} of {run_id!r} without a step")
        records = {name: values[known] for name, values in records.items()}
    step = np.asarray(records["step"], np.float64)
    wrong = step[(step % 1 != 0) | (step < 0) | (step >= _STEP_LIMIT)]
    if not len(step) or len(wrong):
        what = f"step {wrong[0]:.17g}" if len(wrong) else "no step at all"
        msg = f"run {run_id!r} in {source} has {what}. Steps must be whole numbers from 0."
        raise DataError(msg)
    joined = join([records])
    repeated = len(step) - len(joined["step"])
    if repeated:
        notes.append(
            f"{source}: in {plural(repeated, 'record')} {run_id!r} logs a step again (a "
            "restart, or losses logged apart); the last value of each column was kept"
        )
    return joined, notes


def ragged(coords: dict[str, NDArray[np.generic]], runs: Sequence[Records]) -> xr.Dataset:
    """Build ragged runs from run coordinates and the records of each run in the same order.

    A column with a name that the dataset needs for itself, such as ``row_size``, or that no file
    can have, such as ``val/acc``, gets another.
    """
    names = dict.fromkeys(name for records in runs for name in records)
    columns = {
        name: np.concatenate(
            [records.get(name, np.full(len(records["step"]), np.nan)) for records in runs]
        )
        for name in names
    }
    apart = {name: values for name, values in coords.items() if name not in columns}
    sizes = [len(records["step"]) for records in runs]
    own: dict[str, NDArray[np.generic]] = _freed(apart, columns)
    return make_runs(own, _freed(columns, apart), row_size=sizes)


def _freed(columns: Mapping[str, _Values], others: Collection[str]) -> dict[str, _Values]:
    free = {name: values for name, values in columns.items() if _is_storable(name)}
    for name in sorted(columns.keys() - free.keys()):
        own = usable_name(name)[: _LONGEST // 4]  # a character has up to four bytes
        while own in free or own in others or own in _RESERVED:
            own += "_"
        free[own] = columns[name]
    return free


def _is_storable(name: str) -> bool:
    """Tell whether a dataset, and a file for each variable of it, can have this name."""
    return (
        name not in _RESERVED
        and len(name.encode()) <= _LONGEST
        and name.isprintable()
        and not name.startswith(".")
        and "/" not in name
    )
