"""Read logs into runs of the schema, and import them into a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.io.formats import FORMATS, format_of, named_format
from workbench.io.result import (
    Format,
    ImportedRun,
    MappingReport,
    Parsed,
    ReadResult,
    SkippedSource,
    Source,
)
from workbench.io.settings import apply_settings, set_coordinate, set_provenance
from workbench.schema import (
    RECORD_FIELDS,
    RUN_FIELDS,
    add_history,
    conform,
    coordinate_names,
    record_names,
    run_names,
    take_runs,
)
from workbench.store import Store, open_store
from workbench.store.snapshot import join_runs
from workbench.text import plural

_HIDDEN_STORES = (".aim",)  # what a tool itself hides in the folder it works in
_NO_SETTINGS: Mapping[str, str] = {}


def read(
    source: str | os.PathLike[str],
    *,
    format: str = "auto",
    settings: Mapping[str, str] = _NO_SETTINGS,
    family: str | None = None,
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

    Returns
    -------
    ReadResult

    Raises
    ------
    ArgumentError
        If the source is missing, the format unknown, or a setting cannot be.
    DataError
        If nothing can be read, or what is read breaks the schema.
    """
    chosen = None if format == "auto" else named_format(format)
    own = _own_source(source, chosen)
    found: list[tuple[Source, Format]] = []
    skipped: list[SkippedSource] = []
    for each in _sources(own, chosen):
        known = chosen or format_of(each)
        if known is None:
            skipped.append(SkippedSource(source=str(each), reason="no known format"))
        else:
            found.append((each, known))
    if not found:
        _refuse(own.path)
    results = [_read_one(each, known, settings, family) for each, known in found]
    report = MappingReport(skipped=tuple(skipped))
    for result in results:
        report = report.plus(result.report)
    runs = join_runs([result.runs for result in results])
    report = report.plus(MappingReport(notes=_open_ended(runs, str(own))))
    return ReadResult(
        add_history(runs, f"read {plural(runs.sizes['run'], 'run')} of {own.path.name!r}"), report
    )


def _own_source(given: str | os.PathLike[str], chosen: Format | None) -> Source:
    """Return what was given as a source; `ArgumentError` when nothing is there."""
    text, path = os.fspath(given), Path(given)
    if "://" in text:
        own = Source(path, path.stem, text)
        if not (format_of(own) if chosen is None else chosen.sniff(own)):
            msg = f"SOURCE {text!r} is at no known service. Give a path or wandb://entity/project."
            raise ArgumentError(msg)
        return own
    if not path.exists():
        msg = f"SOURCE {str(path)!r} does not exist. Give the path of a log file or folder."
        raise ArgumentError(msg)
    return Source(path, path.stem)


def _sources(own: Source, chosen: Format | None) -> Iterator[Source]:
    if own.url or own.path.is_file() or (format_of(own) if chosen is None else chosen.sniff(own)):
        yield own
        return
    yield from _inside(own.path, own.path, chosen)


def _inside(folder: Path, root: Path, chosen: Format | None) -> Iterator[Source]:
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if hidden and path.name not in _HIDDEN_STORES:
            continue
        source = Source(path, path.relative_to(root).with_suffix("").as_posix())
        fits = format_of(source) is not None if chosen is None else chosen.sniff(source)
        if hidden and not fits:
            continue
        if path.is_dir() and not fits:
            if not path.is_symlink():
                yield from _inside(path, root, chosen)
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


def _read_one(
    source: Source, format: Format, settings: Mapping[str, str], family: str | None
) -> ReadResult:
    parsed = format.read(source)
    runs = set_provenance(apply_settings(parsed.runs, settings), source.path)
    if family is not None:
        runs = set_coordinate(runs, "family", np.full(runs.sizes["run"], family))
    runs = conform(runs, source=str(source))
    filled = runs["row_size"].to_numpy() > 0
    empty = [name for name, full in zip(run_names(runs), filled, strict=True) if not full]
    skipped = [SkippedSource(source=f"{source}: {n}", reason="it has no record") for n in empty]
    if not filled.any():
        msg = f"{source} holds no record. Import it when the first one has been written."
        raise DataError(msg)
    kept = take_runs(runs, filled) if empty else runs
    return ReadResult(kept, _report(kept, parsed, format.name, skipped, str(source)))


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
        tuple(imported), (*parsed.skipped, *skipped), tuple(unmapped), parsed.notes
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
    settings: Mapping[str, str] = _NO_SETTINGS,
    family: str | None = None,
) -> MappingReport:
    """Read sources and add them to a store: all of them or, on any error, none.

    Parameters
    ----------
    store : Store or path
        Where to; a path's store is opened, or made, once everything has been read.
    sources : sequence of path or URL
        Files, folders or addresses, as for `read`.
    format, settings, family
        As for `read`.

    Returns
    -------
    MappingReport
        Runs that were in the store already, with the same content, are counted in the notes.

    Raises
    ------
    ArgumentError, DataError
        As for `read` and ``Store.add_runs``; the store is as it was.
    """
    if not sources:
        msg = "There is no SOURCE to import. Give at least one file or folder."
        raise ArgumentError(msg)
    results = [read(each, format=format, settings=settings, family=family) for each in sources]
    report = MappingReport()
    for result in results:
        report = report.plus(result.report)
    target = store if isinstance(store, Store) else open_store(store, create=True)
    outcome = target.add_runs(join_runs([result.runs for result in results]))
    notes = list(report.notes)
    if outcome.unchanged:
        count = plural(len(outcome.unchanged), "run")
        notes.append(f"{count} already in the store with the same content: nothing to add.")
    if outcome.restated:
        count = plural(len(outcome.restated), "run")
        notes.append(f"{count} already in the store with the same records: coordinates updated.")
    taken = {*outcome.added, *outcome.restated}
    return MappingReport(
        tuple(row for row in report.imported if row["run_id"] in taken),
        report.skipped,
        report.unmapped,
        tuple(notes),
    )
