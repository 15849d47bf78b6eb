"""Trackio's folder of projects, one project's database, or its Parquet snapshot."""

from __future__ import annotations

from pathlib import Path

from workbench.io.readers.trackio_parquet import is_snapshot, read_snapshot
from workbench.io.readers.trackio_sqlite import is_project, read_project
from workbench.io.result import Format, Parsed, SkippedSource, Source
from workbench.io.sqlite_files import is_sqlite
from workbench.io.trackers import TrackedRun, collected

_OWN_SUFFIXES = {".db", ".db-wal", ".db-shm", ".db-journal", ".lock", ".parquet"}


def sniff(source: Source) -> bool:
    """Tell whether this is a project of Trackio's, or a folder that holds nothing but them."""
    if source.path.is_dir():
        return bool(_databases(source.path))
    return is_project(source) or is_snapshot(source)


def read(source: Source) -> Parsed:
    """Read every run; its project is its family. A snapshot beside its database is not read too.

    Raises
    ------
    DataError
        If a project cannot be read, or no run has a record.
    """
    path = source.path
    if not path.is_dir():
        runs = read_project(path) if is_sqlite(source) else read_snapshot(path)
        return collected(runs, where=str(path), sources={})
    every: list[TrackedRun] = []
    sources: dict[str, str] = {}
    skipped = []
    for file in _databases(path):
        runs = read_project(file)
        every += runs
        sources |= {run.id: str(file) for run in runs}
        if file.with_suffix(".parquet").exists():
            name = str(file.with_suffix(".parquet"))
            skipped.append(SkippedSource(source=name, reason=f"a snapshot of {file.name}"))
    found = collected(every, where=str(path), sources=sources)
    return Parsed(found.runs, skipped=(*skipped, *found.skipped), notes=found.notes)


def _databases(folder: Path) -> list[Path]:
    """Return the projects in a folder; none if it holds files that are not Trackio's."""
    try:
        files = sorted(p for p in folder.iterdir() if p.name[0] != "." and p.is_file())
    except OSError:
        return []
    if any(p.suffix not in _OWN_SUFFIXES for p in files):
        return []
    return [p for p in files if p.suffix == ".db" and is_project(Source(p))]


FORMAT = Format("trackio", sniff, read)
