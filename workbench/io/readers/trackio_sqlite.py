"""Trackio's SQLite database of one project: a JSON text of metrics for every call of ``log``."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.io.readers.trackio_project import Project
from workbench.io.result import Source
from workbench.io.sqlite_files import read_database, require_columns, table_columns, tables_of
from workbench.io.trackers import TrackedRun

_NEWEST = 2  # of PRAGMA user_version; before it, the key of a run was its name
_NEEDED = {
    "metrics": ("run_name", "step", "timestamp", "metrics"),
    "configs": ("run_name", "config", "created_at"),
}
_HINT = "Open it once with the Trackio that wrote it, or one later, which brings it up to date."
_SYSTEM_RECORD = "record of the machine's load, which has no step"


def is_project(source: Source) -> bool:
    """Tell whether a file is a SQLite database of a Trackio project."""
    tables = tables_of(source)
    if not {"metrics", "configs"} <= tables or "alembic_version" in tables:
        return False
    return {"run_name", "step", "metrics"} <= table_columns(source, "metrics")


def read_project(path: Path) -> list[TrackedRun]:
    """Read every run of a project's database.

    Raises
    ------
    DataError
        If the database is locked, damaged, or of a layout not known here.
    """
    return read_database(path, lambda connection: _runs(connection, path))


def _runs(connection: sqlite3.Connection, path: Path) -> list[TrackedRun]:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if version > _NEWEST:
        msg = (
            f"{path} is a Trackio database of version {version}, newer than the {_NEWEST} known "
            "here. Update the workbench, or export the project as Parquet."
        )
        raise DataError(msg)
    project = Project(path.stem)
    key = {}
    for table, needed in _NEEDED.items():
        found = require_columns(connection, path, table, needed, hint=_HINT)
        key[table] = "run_id" if "run_id" in found else "NULL"
    query = f"SELECT {key['configs']}, run_name, config, created_at FROM configs NOT INDEXED"
    for run_id, name, config, created in connection.execute(query):
        project.configure(project.run(run_id, name), _mapping(config), created)
    query = f"SELECT {key['metrics']}, run_name, step, timestamp, metrics FROM metrics NOT INDEXED"
    for run_id, name, step, timestamp, metrics in connection.execute(query):
        project.record(project.run(run_id, name), step, timestamp, _mapping(metrics))
    _count_system(connection, project)
    return project.runs()


def _mapping(stored: object) -> Any:
    if not isinstance(stored, str | bytes):
        return None
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None


def _count_system(connection: sqlite3.Connection, project: Project) -> None:
    columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(system_metrics)")}
    if "run_name" in columns:
        key = "run_id" if "run_id" in columns else "NULL"
        query = f"SELECT {key}, run_name FROM system_metrics NOT INDEXED"
        for run_id, name in connection.execute(query):
            project.run(run_id, name).left_out[_SYSTEM_RECORD] += 1
