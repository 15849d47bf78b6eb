"""Read logs into runs of the schema, and import them into a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.io.formats import FORMATS, format_of, named_format
from workbench.io.mapping import NO_MAPPING, ColumnMapping, load_mapping, rename_columns
from workbench.io.missing import find_missing
from workbench.io.result import (
    Format,
    ImportedRun,
    MappingReport,
    Parsed,
    ReadResult,
    SkippedSource,
    Source,
)
from workbench.io.settings import set_coordinate, set_provenance
from workbench.schema import (
    RECORD_FIELDS,
    RUN_FIELDS,
    add_history,
    canonical_run_name,
    conform,
    coordinate_names,
    record_names,
    run_names,
    take_runs,
)
from workbench.store import Store, open_store
from workbench.store.snapshot import join_runs
from workbench.text import plural, without_password

_HIDDEN_STORES = (".aim",)  # what a tool itself hides in the folder it works in
NO_SETTINGS: Mapping[str, str] = {}
MappingLike = str | os.PathLike[str] | ColumnMapping


@dataclass(frozen=True)
class SourceResult(ReadResult):
    """A `ReadResult`, the columns of the mapping that were there, and the status logs state.

    A run whose log does not say how it ended is taken as complete by an import, but not while the
    log is followed.
    """

    mapped: frozenset[str] = frozenset()
    stated: Mapping[str, str] = field(default_factory=dict)


def read(
    source: str | os.PathLike[str],
    *,
    format: str = "auto",
    settings: Mapping[str, str] = NO_SETTINGS,
    family: str | None = None,
    mapping: MappingLike = NO_MAPPING,
) -> ReadResult:
    """Read a log, or every log in a folder, into runs of the schema.

    Parameters
    ----------
    source : path or URL
        File, or folder; in a folder a curve without a name of its own is named after its file.
        Or the address of runs at a service: ``wandb://entity/project``.
    format : str
        ``auto`` looks at the content; else a name among ``workbench.io.FORMATS``.
    settings : mapping of str to str
        Run coordinates to fill or override, for every run; ``total_steps=last`` says that the
        last logged step is the planned end.
    family : str, optional
        Family of the runs.
    mapping : path or ColumnMapping, optional
        A TOML file that says what columns mean and sets coordinates of all or some runs, see
        `workbench.io.mapping`; `settings` win over it.

    Returns
    -------
    ReadResult

    Raises
    ------
    ArgumentError
        If the source is missing, the format unknown, or a setting or the mapping cannot be.
    DataError
        If nothing can be read, or what is read breaks the schema.
    """
    stated = as_mapping(mapping)
    result = _read_path(source, format, settings, family, stated)
    notes = stated.unused(result.runs, result.mapped)
    return ReadResult(result.runs, result.report.plus(MappingReport(notes=tuple(notes))))


def as_mapping(mapping: MappingLike) -> ColumnMapping:
    """Return a mapping as it is, or read it from its file."""
    return mapping if isinstance(mapping, ColumnMapping) else load_mapping(mapping)


def is_address(source: str | os.PathLike[str]) -> bool:
    """Tell whether a source is an address at a service, not a path."""
    return "://" in os.fspath(source)


def existing(source: str | os.PathLike[str]) -> Path:
    """Return a source as a path; `ArgumentError` when there is nothing."""
    path = Path(source)
    if not path.exists():
        named = without_password(str(path))
        msg = f"SOURCE {named!r} does not exist. Give the path of a log file or folder."
        raise ArgumentError(msg)
    return path


def _own_source(given: str | os.PathLike[str], columns: Mapping[str, str]) -> Source:
    if is_address(given):
        return Source(Path(given), Path(given).name, columns, os.fspath(given))
    return source_at(existing(given), columns)


def source_at(path: Path, columns: Mapping[str, str]) -> Source:
    """Return a file or folder as a source that is called like it."""
    return Source(path, path.resolve().name if path.is_dir() else path.stem, columns)


def _read_path(
    source: str | os.PathLike[str],
    format: str,
    settings: Mapping[str, str],
    family: str | None,
    mapping: ColumnMapping,
) -> SourceResult:
    own = _own_source(source, mapping.columns)
    found, skipped = find_sources(own, format=format)
    if not found:
        _refuse(own.path)
    results = [
        read_source(each, known, settings=settings, family=family, mapping=mapping)
        for each, known in found
    ]
    report = MappingReport(skipped=skipped)
    for result in results:
        report = report.plus(result.report)
    runs = join_runs([result.runs for result in results])
    report = report.plus(MappingReport(notes=_open_ended(runs, str(own))))
    said = f"read {plural(runs.sizes['run'], 'run')} of {own.path.name!r}"
    mapped = frozenset().union(*(result.mapped for result in results))
    return SourceResult(add_history(runs, said), report, mapped)


def find_sources(
    own: Source, *, format: str
) -> tuple[list[tuple[Source, Format]], tuple[SkippedSource, ...]]:
    """Return every log of a source with its format, and the files in no known one.

    Parameters
    ----------
    own : Source
        File, folder or address.
    format : str
        ``auto``, or the name of the format that counts.

    Raises
    ------
    ArgumentError
        If there is no such format, or the address is at no service that can be read.
    """
    found: list[tuple[Source, Format]] = []
    skipped: list[SkippedSource] = []
    chosen = None if format == "auto" else named_format(format)
    for each in _sources(own, chosen):
        known = chosen or format_of(each)
        if known is None:
            skipped.append(SkippedSource(source=str(each), reason="no known format"))
        else:
            found.append((each, known))
    return found, tuple(skipped)


def _sources(own: Source, chosen: Format | None) -> Iterator[Source]:
    if own.path.is_file() or (format_of(own) if chosen is None else chosen.sniff(own)):
        yield own
    elif own.url:
        msg = f"SOURCE {own.url!r} is at no known service. Give a path or wandb://entity/project."
        raise ArgumentError(msg)
    else:
        yield from _inside(own.path, own.path, chosen, own.columns)


def _inside(
    folder: Path, root: Path, chosen: Format | None, columns: Mapping[str, str]
) -> Iterator[Source]:
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if hidden and path.name not in _HIDDEN_STORES:
            continue
        below = path.relative_to(root)
        # The dot in a folder's name begins no suffix: runs are called lr0.001 and lr0.002.
        name = (below if path.is_dir() else below.with_suffix("")).as_posix()
        source = Source(path, name, columns)
        fits = format_of(source) is not None if chosen is None else chosen.sniff(source)
        if hidden and not fits:
            continue
        if path.is_dir() and not fits:
            if not path.is_symlink():
                yield from _inside(path, root, chosen, columns)
        elif fits or chosen is None:
            yield source


def _refuse(path: Path) -> None:
    kinds = ", ".join(FORMATS)
    if path.is_dir():
        msg = f"folder {str(path)!r} holds nothing that can be read. Known formats: {kinds}."
        raise DataError(msg)
    if not path.stat().st_size:
        msg = f"{path} is empty. Import it when the first record has been written."
        raise DataError(msg)
    msg = (
        f"{path} is in no known format ({kinds}). A CSV needs a header with a step and a loss: "
        "step,loss; name the format with --format if the content hides it."
    )
    raise DataError(msg)


def read_source(
    source: Source,
    format: Format,
    *,
    settings: Mapping[str, str],
    family: str | None,
    mapping: ColumnMapping,
) -> SourceResult:
    """Read one log that `find_sources` found; arguments and errors as for `read`."""
    parsed = format.read(source)
    left = {name: new for name, new in mapping.columns.items() if name not in parsed.mapped}
    renamed, mapped, notes = rename_columns(parsed.runs, left)
    parsed = replace(parsed, notes=(*parsed.notes, *(f"{source}: {note}" for note in notes)))
    runs = set_provenance(mapping.apply(renamed, settings), source.path)
    if family is not None:
        runs = set_coordinate(runs, "family", np.full(runs.sizes["run"], family))
    own = {canonical_run_name(str(name)): runs[name].to_numpy() for name in runs.coords}
    unstated = np.full(runs.sizes["run"], "")
    stated = dict(zip(map(str, own["run_id"]), map(str, own.get("status", unstated)), strict=True))
    runs = conform(runs, source=str(source))
    filled = runs["row_size"].to_numpy() > 0
    empty = [name for name, full in zip(run_names(runs), filled, strict=True) if not full]
    skipped = [SkippedSource(source=f"{source}: {n}", reason="it has no record") for n in empty]
    if not filled.any():
        msg = f"{source} holds no record. Import it when the first one has been written."
        raise DataError(msg)
    kept = take_runs(runs, filled) if empty else runs
    report = _report(kept, parsed, format.name, skipped, str(source))
    return SourceResult(kept, report, frozenset({*mapped, *parsed.mapped}), stated)


def _report(
    runs: xr.Dataset, parsed: Parsed, format: str, skipped: list[SkippedSource], source: str
) -> MappingReport:
    sizes = runs["row_size"].to_numpy().tolist()
    imported = [
        ImportedRun(run_id=name, records=size, format=format)
        for name, size in zip(run_names(runs), sizes, strict=True)
    ]
    unmapped = [name for name in coordinate_names(runs) if name not in RUN_FIELDS]
    unmapped += [name for name in record_names(runs) if name not in RECORD_FIELDS]
    return MappingReport(
        tuple(imported),
        (*parsed.skipped, *skipped),
        tuple(unmapped),
        parsed.notes,
        find_missing(runs),
    )


def _open_ended(runs: xr.Dataset, source: str) -> tuple[str, ...]:
    ends = [np.isnan(runs[name].to_numpy()) for name in ("total_steps", "tokens_total")]
    count = int(np.logical_and(*ends).sum())
    if not count:
        return ()
    return (
        f"{source}: the planned end of {count} of {plural(runs.sizes['run'], 'run')} is unknown, "
        "so progress is not known either. Give --set total_steps=N or --set tokens_total=D, or "
        "--set total_steps=last if they ran to their planned end.",
    )


def import_sources(
    store: Store | str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]],
    *,
    format: str = "auto",
    settings: Mapping[str, str] = NO_SETTINGS,
    family: str | None = None,
    mapping: MappingLike = NO_MAPPING,
) -> MappingReport:
    """Read sources and add them to a store: all of them or, on any error, none.

    Parameters
    ----------
    store : Store or path
        Where to; a path's store is opened, or made, once everything has been read.
    sources : sequence of path or URL
        Files, folders or addresses, as for `read`.
    format, settings, family, mapping
        As for `read`.

    Returns
    -------
    MappingReport
        Runs that were in the store already are counted in the notes: with the same content, with
        other coordinates, or with fewer records, to which those of a log that has grown are added.

    Raises
    ------
    ArgumentError, DataError
        As for `read` and ``Store.add_runs``; the store is as it was.
    """
    if not sources:
        msg = "There is no SOURCE to import. Give at least one file or folder."
        raise ArgumentError(msg)
    stated = as_mapping(mapping)
    results = [_read_path(each, format, settings, family, stated) for each in sources]
    report = MappingReport()
    for result in results:
        report = report.plus(result.report)
    runs = join_runs([result.runs for result in results])
    mapped = frozenset().union(*(result.mapped for result in results))
    report = report.plus(MappingReport(notes=tuple(stated.unused(runs, mapped))))
    target = store if isinstance(store, Store) else open_store(store, create=True)
    outcome = target.add_runs(runs)
    notes = list(report.notes)
    if outcome.unchanged:
        count = plural(len(outcome.unchanged), "run")
        notes.append(f"{count} already in the store with the same content: nothing to add.")
    if outcome.restated:
        count = plural(len(outcome.restated), "run")
        notes.append(f"{count} already in the store with the same records: coordinates updated.")
    if outcome.grown:
        count = plural(len(outcome.grown), "run")
        notes.append(f"{count} already in the store with fewer records: the new ones were added.")
    taken = {*outcome.added, *outcome.restated, *outcome.grown}
    imported = tuple(row for row in report.imported if row["run_id"] in taken)
    return replace(report, imported=imported, notes=tuple(notes))
