"""Trackio's Parquet snapshot of a project: one row a call of ``log``, one column a metric."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.io.readers.trackio_project import Project
from workbench.io.result import Source
from workbench.io.trackers import TrackedRun

_MAGIC = b"PAR1"
_ROWS = 50_000
_NEEDED = {"id", "timestamp", "run_name", "step"}
_OWN = {*_NEEDED, "run_id", "log_id", "space_id"}
_OWN_OF_CONFIG = {"id", "run_id", "run_name", "created_at"}


def is_snapshot(source: Source) -> bool:
    """Tell whether a Parquet file has the columns of a snapshot's metrics."""
    if not source.head.startswith(_MAGIC):
        return False
    try:
        import pyarrow.parquet as pq

        names = set(pq.read_schema(source.path).names)
    except (ImportError, OSError, ValueError):
        return False
    return names >= _NEEDED and names.isdisjoint({"created_at", "messages"})


def read_snapshot(path: Path) -> list[TrackedRun]:
    """Read every run of a snapshot, with the configs kept beside it.

    Raises
    ------
    DataError
        If a file is damaged, or pyarrow is missing.
    """
    # An export for a static page is a folder of the project, with metrics.parquet in it.
    project = Project(path.parent.name if path.stem == "metrics" else path.stem)
    for configs in (
        path.with_name(f"{path.stem}_configs.parquet"),
        path.parent / "aux/configs.parquet",
    ):
        if configs.exists():
            for row in _rows(configs):
                config = {name: row[name] for name in row if name not in _OWN_OF_CONFIG}
                run = project.run(row.get("run_id"), row.get("run_name"))
                project.configure(run, config, row.get("created_at"))
            break
    for row in _rows(path):
        values = {name: row[name] for name in row if name not in _OWN}
        run = project.run(row.get("run_id"), row.get("run_name"))
        project.record(run, row.get("step"), row.get("timestamp"), values)
    return project.runs()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        msg = f"{path} is Parquet, which needs pyarrow: pip install pyarrow"
        raise DataError(msg) from error
    try:
        with pq.ParquetFile(path) as file:
            _require_sane(path, file.metadata.num_rows)
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        msg = f"{path} cannot be read as Parquet: {reason}. It is damaged or cut; export it again."
        raise DataError(msg) from error


def _require_sane(path: Path, rows: int) -> None:
    """Refuse rows that unfold out of a few bytes: a snapshot has a time in each."""
    size = path.stat().st_size
    if rows > _ROWS + size:
        msg = f"{path} claims {rows} rows in {size} bytes. It is damaged; export it again."
        raise DataError(msg)
