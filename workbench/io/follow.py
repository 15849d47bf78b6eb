"""Import logs while they are being written: whatever has a reader can be followed.

Logs are looked at by size and time, and read again where these changed. What is new goes into the
store as the live points of running runs. The store itself remembers how far a follower came, so one
that was killed is simply started again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.io.followed import FollowedRun, attributes_of, records_of
from workbench.io.mapping import NO_MAPPING, ColumnMapping
from workbench.io.reading import (
    NO_SETTINGS,
    MappingLike,
    SourceResult,
    as_mapping,
    existing,
    find_sources,
    is_address,
    read_source,
    source_at,
)
from workbench.io.result import Format, ImportedRun, MappingReport, Source
from workbench.schema import canonical_run_name, iter_runs
from workbench.store import ENDS, EndStatus, Store, open_store, to_address

INTERVAL_SECONDS = 2.0
_READING_SHARE = 0.1
"""Reading a large log over and over must not take more of the machine's time than this."""

_Stat = tuple[int, int, int]


class FollowedState(TypedDict):
    """Where a followed run stands: attempts are those this follower began and all before."""

    run_id: str
    status: str
    records: int
    last_step: int
    attempts: int


@dataclass(frozen=True)
class FollowEvent:
    """What happened: points of a run were taken, it ended, or a log cannot be read for now.

    Parameters
    ----------
    kind : {"points", "ended", "trouble"}
        What.
    name : str
        The run, or the log.
    text : str
        One line for people.
    """

    kind: Literal["points", "ended", "trouble"]
    name: str
    text: str


@dataclass(frozen=True)
class FollowResult:
    """What a follower leaves: where its runs stand, and the report of what was mapped."""

    runs: tuple[FollowedState, ...]
    report: MappingReport


def follow_sources(
    store: Store | str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]],
    *,
    format: str = "auto",
    settings: Mapping[str, str] = NO_SETTINGS,
    family: str | None = None,
    mapping: MappingLike = NO_MAPPING,
    interval: float = INTERVAL_SECONDS,
    until_idle: float | None = None,
    stop: threading.Event | None = None,
    on_event: Callable[[FollowEvent], None] = lambda event: None,
) -> FollowResult:
    """Keep runs of a store up with their logs until these end.

    It ends when every run of sources that are single logs has a status that says so, when nothing
    has changed for `until_idle` seconds, on Ctrl-C, or when `stop` is set. A run whose log did not
    say how it ended is then done, if nothing is known against it: one that has not reached its
    planned end, or whose follower was told to stop, is stopped.

    Parameters
    ----------
    store : Store or path
        Where to; made when the first points are there.
    sources : sequence of path
        Files or folders; new logs in a folder are taken up as they come.
    format, settings, family, mapping
        As for `workbench.io.read`.
    interval : float, seconds
        Pause between two looks; longer where reading itself takes longer than a tenth of it.
    until_idle : float, seconds, optional
        0 takes what is there now and ends.
    stop : threading.Event, optional
        Set it to end from another thread.
    on_event : callable, optional
        Gets a `FollowEvent`.

    Returns
    -------
    FollowResult

    Raises
    ------
    ArgumentError
        If an argument cannot be.
    DataError
        If nothing that was there at the end could be read, the store cannot be written, another
        follower has taken over, or records of a run changed as those of a later attempt do not.
    """
    options = _Options(format, settings, family, as_mapping(mapping))
    paths = _checked(sources, options, interval, until_idle)
    follower = _Follower(store, paths, options, on_event)
    stop = stop or threading.Event()
    cut_short = False
    try:
        changed = time.monotonic()
        while True:
            began = time.monotonic()
            if follower.look():
                changed = time.monotonic()
            took = time.monotonic() - began
            idle = time.monotonic() - changed
            if follower.ended or (until_idle is not None and idle >= until_idle):
                break
            pause = max(interval, took / _READING_SHARE)
            if until_idle is not None:
                pause = min(pause, max(until_idle - idle, 0.0))
            if stop.wait(pause):
                cut_short = True
                break
    except KeyboardInterrupt:
        cut_short = True
    return follower.finish(cut_short=cut_short)


def _checked(
    sources: Sequence[str | os.PathLike[str]],
    options: _Options,
    interval: float,
    until_idle: float | None,
) -> list[Path]:
    if not sources:
        msg = "There is no SOURCE to follow. Give at least one file or folder."
        raise ArgumentError(msg)
    for name, value in (("interval", interval), ("until-idle", until_idle)):
        if value is not None and not value >= 0:
            msg = f"--{name} is a time in seconds from 0, found {value:g}."
            raise ArgumentError(msg)
    mapping = options.mapping
    given = [options.settings, mapping.settings, *(own for _, own in mapping.some)]
    pairs = {(canonical_run_name(name), value) for own in given for name, value in own.items()}
    if ("total_steps", "last") in pairs:
        msg = (
            "total_steps=last says that the last logged step is the planned end, which a log "
            "that is followed has not reached. Give the planned number: total_steps=N"
        )
        raise ArgumentError(msg)
    address = next((os.fspath(source) for source in sources if is_address(source)), None)
    if address is not None:
        msg = (
            f"SOURCE {address!r} is an address, and only files and folders can be followed. "
            "Import it without --follow, and again when there is more."
        )
        raise ArgumentError(msg)
    return [existing(source) for source in sources]


@dataclass(frozen=True)
class _Options:
    format: str
    settings: Mapping[str, str]
    family: str | None
    mapping: ColumnMapping


@dataclass
class _Log:
    """One log: the size, time and file number of its files when it was last read."""

    source: Source
    format: Format
    seen: dict[Path, _Stat] = field(default_factory=dict)
    report: MappingReport = field(default_factory=MappingReport)
    trouble: DataError | OSError | None = None


class _Follower:
    def __init__(
        self,
        store: Store | str | os.PathLike[str],
        paths: list[Path],
        options: _Options,
        on_event: Callable[[FollowEvent], None],
    ) -> None:
        self._store = store if isinstance(store, Store) else None
        self._path = store.address if isinstance(store, Store) else to_address(store)
        self._paths, self._options, self._tell = paths, options, on_event
        self._logs: dict[Path, _Log] = {}
        self._runs: dict[str, FollowedRun] = {}
        self._stated: dict[str, str] = {}
        self._seen: dict[Path, dict[Path, _Stat]] = {}

    @property
    def ended(self) -> bool:
        """Whether every source is one log, and every run of them says that it ended."""
        single = all(path in self._logs for path in self._paths)
        return single and bool(self._runs) and all(self._stated[n] in ENDS for n in self._runs)

    def look(self) -> bool:
        """Look at every source once; return whether anything was different."""
        different = False
        for path in self._paths:
            now = _stats(path)
            if now != self._seen.get(path):
                self._seen[path], different = now, True
                self._look_into(path, now)
        for run in self._runs.values():
            run.keep_alive()
        return different

    def _look_into(self, path: Path, now: dict[Path, _Stat]) -> None:
        for source, format in _logs_at(path, self._options):
            self._logs.setdefault(source.path, _Log(source, format))
        for log in self._logs.values():
            own = {p: s for p, s in now.items() if p == log.source.path or _is_in(p, log)}
            if own and own != log.seen:
                self._read(log)
                log.seen = own

    def _read(self, log: _Log) -> None:
        options = self._options
        try:
            result = read_source(
                log.source,
                log.format,
                settings=options.settings,
                family=options.family,
                mapping=options.mapping,
            )
        except (DataError, OSError) as error:  # still empty, half written, just being rotated
            if str(error) != str(log.trouble):
                self._tell(FollowEvent("trouble", str(log.source), str(error)))
            log.trouble = error
            return
        log.trouble, log.report = None, result.report
        self._take(log, result)

    def _take(self, log: _Log, result: SourceResult) -> None:
        store = self._opened()
        rows: dict[str, dict[str, Any]] | None = None
        for run_id, one in iter_runs(result.runs):
            if run_id not in self._runs:
                rows = _table_rows(store) if rows is None else rows
                run = FollowedRun(run_id, str(one["family"].item()), str(log.source))
                run.look_up(store, rows.get(run_id))
                self._runs[run_id] = run
            self._update(log, self._runs[run_id], one, result.stated.get(run_id, ""))

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self._path, create=True)
        return self._store

    def _update(self, log: _Log, run: FollowedRun, one: xr.Dataset, stated: str) -> None:
        if run.source != str(log.source):
            msg = (
                f"run_id must be unique, found {run.run_id!r} in {run.source} and in {log.source}. "
                "Follow one of them, or give the runs other names with --set run_id='.../{name}'."
            )
            raise DataError(msg)
        count = run.take(self._opened(), records_of(one), attributes_of(one))
        if count:
            last = int(run.records["step"].max())
            text = f"{run.run_id}: {count} more, up to step {last}"
            self._tell(FollowEvent("points", run.run_id, text))
        self._stated[run.run_id] = stated
        status = next((end for end in ENDS if end == stated), None)
        if status is not None and run.status != status:
            run.finish(self._opened(), status)
            self._tell(FollowEvent("ended", run.run_id, f"{run.run_id}: {status}"))

    def finish(self, *, cut_short: bool) -> FollowResult:
        """End the runs whose logs did not, and report."""
        if not self._runs and not cut_short:
            self._raise_why_nothing()
        for run in self._runs.values():
            stopped = run.status == "stopped" and run.ours and not cut_short
            if self._stated.get(run.run_id) not in ENDS and (run.status == "running" or stopped):
                status: EndStatus = "done" if run.came_to_its_end and not cut_short else "stopped"
                run.finish(self._opened(), status)
        report = MappingReport()
        for log in self._logs.values():
            report = report.plus(log.report)
        states = tuple(_state(run) for run in self._runs.values())
        sizes = {state["run_id"]: state["records"] for state in states}
        imported = tuple(
            ImportedRun(run_id=n, records=sizes[n], format=row["format"])
            for row in report.imported
            if (n := row["run_id"]) in sizes
        )
        return FollowResult(states, replace(report, imported=imported))

    def _raise_why_nothing(self) -> None:
        for log in self._logs.values():
            if log.trouble is not None:
                msg = f"Nothing could be read of {log.source}: {log.trouble}"
                raise DataError(msg)
        names = ", ".join(map(str, self._paths))
        msg = f"There is no log in a known format in {names}. Name it with --format."
        raise DataError(msg)


def _state(run: FollowedRun) -> FollowedState:
    return FollowedState(
        run_id=run.run_id,
        status=run.status,
        records=len(run.records["step"]),
        last_step=int(run.records["step"].max(initial=-1)),
        attempts=run.attempts,
    )


def _table_rows(store: Store) -> dict[str, dict[str, Any]]:
    rows = store.table().to_dict(orient="records")
    return {str(row["run_id"]): {str(name): v for name, v in row.items()} for row in rows}


def _logs_at(path: Path, options: _Options) -> list[tuple[Source, Format]]:
    try:
        found, _ = find_sources(source_at(path, options.mapping.columns), format=options.format)
    except OSError:  # a file that was there a moment ago
        return []
    return found


def _is_in(path: Path, log: _Log) -> bool:
    return log.source.path in path.parents


def _stats(path: Path) -> dict[Path, _Stat]:
    """Return size, time and number of a file, or of every file in a folder; {} when it is gone."""
    found: dict[Path, _Stat] = {}
    files = [path] if not path.is_dir() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        found[file] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found
