"""What a reader found, and what it could not map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import xarray as xr


class ImportedRun(TypedDict):
    """One imported run: its name, the number of its records and the format it came in."""

    run_id: str
    records: int
    format: str


class SkippedSource(TypedDict):
    """A source, or a run in it, that was left out, and why."""

    source: str
    reason: str


class MissingCoordinate(TypedDict):
    """Runs that lack a coordinate, and the names that would have to be known to derive it."""

    name: str
    runs: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class MappingReport:
    """What was taken from the sources and what was not.

    Parameters
    ----------
    imported : tuple of {run_id, records, format}
        Runs read, in order.
    skipped : tuple of {source, reason}
        What was left out on purpose.
    unmapped : tuple of str
        Columns and coordinates the schema has no meaning for; kept under their own names.
    notes : tuple of str
        Decisions and gaps the user should know of.
    missing : tuple of {name, runs, unknown}
        What is still not known of each run's ``tau``, ``tpp`` and ``progress``, and why.
    """

    imported: tuple[ImportedRun, ...] = ()
    skipped: tuple[SkippedSource, ...] = ()
    unmapped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[MissingCoordinate, ...] = ()

    def plus(self, other: MappingReport) -> MappingReport:
        """Return both reports as one."""
        return MappingReport(
            (*self.imported, *other.imported),
            (*self.skipped, *other.skipped),
            tuple(dict.fromkeys((*self.unmapped, *other.unmapped))),
            tuple(dict.fromkeys((*self.notes, *other.notes))),
            _together((*self.missing, *other.missing)),
        )


def _together(gaps: tuple[MissingCoordinate, ...]) -> tuple[MissingCoordinate, ...]:
    groups: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    for gap in gaps:
        key = (gap["name"], gap["unknown"])
        groups[key] = (*groups.get(key, ()), *gap["runs"])
    return tuple(
        MissingCoordinate(name=name, runs=runs, unknown=unknown)
        for (name, unknown), runs in groups.items()
    )


@dataclass(frozen=True)
class ReadResult:
    """Runs in the schema, and the report on how they were read."""

    runs: xr.Dataset
    report: MappingReport


@dataclass(frozen=True)
class Parsed:
    """What one format's reader returns: ragged runs, names as in the source or canonical.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Not yet brought to the schema.
    skipped : tuple of {source, reason}
        Runs left out.
    notes : tuple of str
        Decisions the reader made.
    mapped : tuple of str
        Columns the reader itself renamed as ``Source.columns`` says.
    """

    runs: xr.Dataset
    skipped: tuple[SkippedSource, ...] = ()
    notes: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()


HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Source:
    """One thing to read.

    Parameters
    ----------
    path : Path
        File or folder; of no meaning when there is a URL.
    name : str
        For a run that has none of its own.
    columns : mapping of str to str
        Canonical names a mapping file states for columns, for readers that have to know a step or
        a loss to read at all.
    url : str
        Address at a service, such as ``wandb://entity/project``; "" for files and folders.
    """

    path: Path
    name: str = field(default="")
    columns: Mapping[str, str] = field(default_factory=dict)
    url: str = field(default="")

    def __str__(self) -> str:
        return self.url or str(self.path)

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB of a file, for tests of its content; empty for anything else."""
        try:
            with self.path.open("rb") as file:
                return file.read(HEAD_BYTES)
        except OSError:
            return b""

    @cached_property
    def head_text(self) -> str:
        """The head as text; what is not UTF-8 is replaced. Empty for binary content."""
        return "" if b"\0" in self.head else self.head.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Format:
    """A log format.

    Parameters
    ----------
    name : str
        As given to ``--format``.
    sniff : callable of Source -> bool
        Tells by the content whether a source is in this format.
    read : callable of Source -> Parsed
        Reads one; `DataError` when it cannot.
    """

    name: str
    sniff: Callable[[Source], bool]
    read: Callable[[Source], Parsed]
