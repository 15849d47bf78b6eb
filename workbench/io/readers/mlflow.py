"""MLflow's own stores, a folder of files or a SQLite database, read without its client."""

from __future__ import annotations

from workbench.io.readers.mlflow_files import is_file_store, read_file_store
from workbench.io.readers.mlflow_sqlite import is_database, read_sqlite
from workbench.io.result import Format, Parsed, Source


def sniff(source: Source) -> bool:
    """Tell whether this is a folder of MLflow's file store, or a database with its tables."""
    return is_file_store(source.path) if source.path.is_dir() else is_database(source)


def read(source: Source) -> Parsed:
    """Read every run: its experiment is its family, deleted ones are skipped by name."""
    return read_file_store(source.path) if source.path.is_dir() else read_sqlite(source.path)


FORMAT = Format("mlflow", sniff, read)
