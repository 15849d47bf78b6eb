"""MLflow's SQLite store: runs, params, metrics and tags of every experiment in one file."""

from __future__ import annotations

import math
import sqlite3
import sys
from collections import defaultdict
from pathlib import Path

from workbench.io.readers.mlflow_meaning import describe, log_value
from workbench.io.result import Parsed, Source
from workbench.io.sqlite_files import read_database, require_columns, tables_of
from workbench.io.trackers import NO_NUMBER, TrackedRun, collected, number

_TABLES = {
    "experiments": ("experiment_id", "name", "lifecycle_stage"),
    "runs": ("run_uuid", "name", "status", "lifecycle_stage", "experiment_id", "start_time"),
    "params": ("run_uuid", "key", "value"),
    "tags": ("run_uuid", "key", "value"),
    "metrics": ("run_uuid", "key", "value", "timestamp", "step", "is_nan"),
}
_Texts = defaultdict[str, dict[str, str]]


def is_database(source: Source) -> bool:
    """Tell whether a file is a SQLite database with MLflow's tables."""
    return {*_TABLES, "alembic_version"} <= tables_of(source)


def read_sqlite(path: Path) -> Parsed:
    """Read every run of a database.

    Raises
    ------
    DataError
        If the database is locked, damaged, of another layout, or holds no record.
    """
    runs = read_database(path, lambda connection: _runs(connection, path))
    return collected(runs, where=str(path), sources={})


def _runs(connection: sqlite3.Connection, path: Path) -> list[TrackedRun]:
    for table, columns in _TABLES.items():
        hint = "Bring it to MLflow's present layout: mlflow db upgrade sqlite:///FILE"
        require_columns(connection, path, table, columns, hint=hint)
    families, deleted = {}, set()
    for key, name, stage in _rows(connection, "experiments"):
        families[key] = str(name)
        if stage == "deleted":
            deleted.add(key)
    params, tags = _texts(connection, "params"), _texts(connection, "tags")
    runs: dict[str, TrackedRun] = {}
    for key, name, status, stage, experiment, started in _rows(connection, "runs"):
        run = TrackedRun(
            str(key),
            str(name or ""),
            started=number(started) or 0.0,
            family=families.get(experiment, ""),
        )
        describe(
            run,
            status=str(status),
            lifecycle="deleted" if experiment in deleted else str(stage),
            params=params[run.id],
            tags=tags[run.id],
        )
        runs[run.id] = run
    _read_metrics(connection, runs)
    return list(runs.values())


def _rows(connection: sqlite3.Connection, table: str) -> sqlite3.Cursor:
    return connection.execute(f"SELECT {', '.join(_TABLES[table])} FROM {table} NOT INDEXED")


def _texts(connection: sqlite3.Connection, table: str) -> _Texts:
    texts: _Texts = defaultdict(dict)
    for key, name, value in _rows(connection, table):
        texts[str(key)][str(name)] = "" if value is None else str(value)
    return texts


def _read_metrics(connection: sqlite3.Connection, runs: dict[str, TrackedRun]) -> None:
    """Add every value in the order it was stored."""
    for key, name, value, milliseconds, step, is_nan in _rows(connection, "metrics"):
        run = runs.get(str(key))
        if run is None or run.refused:
            continue
        numbers = number(value), number(step), number(milliseconds)
        if numbers[0] is None or numbers[1] is None or numbers[2] is None:
            run.left_out[NO_NUMBER] += 1
            continue
        log_value(run, str(name), numbers[1], _stored(numbers[0], is_nan), numbers[2])


def _stored(value: float, is_nan: object) -> float:
    """Return a value as it was logged: MLflow stores NaN as a flag, infinity as the largest one."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value
