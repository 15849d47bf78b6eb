"""Watch a run while it is being written: in a store, a log file, or a folder of another tool."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.io import read
from workbench.schema import OPEN_STATUSES, Filter, run_names, take_runs
from workbench.store import Store
from workbench.watch.alarms import Alarm
from workbench.watch.monitor import Monitor
from workbench.watch.reference import Reference
from workbench.watch.replay import Feed, monitor_for

INTERVAL_SECONDS = 2.0
_READING_SHARE = 0.1


class StoreSource:
    """One run of a store; `look` gives it where something has changed."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._revision: int | None = None

    def look(self) -> xr.Dataset | None:
        """Return the run (run: 1, obs), or None where the store is as it was.

        Raises
        ------
        ArgumentError
            If the store has no such run.
        """
        revision = self._store.revision()
        if revision == self._revision:
            return None
        self._revision = revision
        table = self._store.table()
        if self._run_id not in set(table["run_id"]):
            msg = f"No run {self._run_id!r} in the store. List what is there with: workbench runs"
            raise ArgumentError(msg)
        try:
            return self._store.runs(where=[Filter("run_id", "=", (self._run_id,))])
        except DataError:  # planned, or begun without a loss yet
            return None

    def over(self, run: xr.Dataset) -> bool:
        """Tell whether the run has ended."""
        return str(run["status"].to_numpy()[0]) not in OPEN_STATUSES


class LogSource:
    """One run of a log, or of a folder of logs; `look` gives it where a file has changed.

    Parameters
    ----------
    path : path
        File or folder, as for `workbench.io.read`.
    run_id : str or None
        Which run; None where there is only one.
    format, settings
        As for `workbench.io.read`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        run_id: str | None,
        *,
        format: str = "auto",
        settings: Mapping[str, str],
    ) -> None:
        self._path, self._run_id = Path(path), run_id
        self._format, self._settings = format, settings
        self._seen: dict[Path, tuple[int, int]] = {}

    def look(self) -> xr.Dataset | None:
        """Return the run (run: 1, obs), or None where the files are as they were."""
        now = _stats(self._path)
        if now == self._seen:
            return None
        found = read(self._path, format=self._format, settings=self._settings).runs
        self._seen = now
        names = run_names(found)
        if self._run_id is None and len(names) > 1:
            msg = f"{self._path} holds {len(names)} runs, first {names[0]!r}. Name one with --run."
            raise ArgumentError(msg)
        wanted = names[0] if self._run_id is None else self._run_id
        if wanted not in names:
            msg = f"No run {wanted!r} in {self._path}; it holds {', '.join(names[:5])}."
            raise ArgumentError(msg)
        return take_runs(found, np.array([names.index(wanted)]))

    def over(self, run: xr.Dataset) -> bool:
        """Tell whether the run has reached the end of its plan; a log does not say more."""
        return bool(run["step"].to_numpy()[-1] >= run["total_steps"].to_numpy()[0])


def _stats(path: Path) -> dict[Path, tuple[int, int]]:
    found = {}
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for file in files:
        try:
            status = file.stat()
        except OSError:  # gone between two looks
            continue
        found[file] = (status.st_size, status.st_mtime_ns)
    return found


def watch_source(
    source: StoreSource | LogSource,
    reference: Reference | None,
    *,
    loss: str,
    follow: bool = False,
    interval: float = INTERVAL_SECONDS,
    until_idle: float | None = None,
    stop: threading.Event | None = None,
    on_alarm: Callable[[Alarm, str], None] = lambda alarm, run_id: None,
    **options: Any,
) -> Monitor:
    """Watch a run up to what it has, or until it ends.

    Parameters
    ----------
    source : StoreSource or LogSource
        Where the run is.
    reference : Reference or None
        Its family, made without it.
    loss : str
        Which loss to watch.
    follow : bool
        Go on until the run has ended, nothing has changed for `until_idle` seconds, Ctrl-C, or
        `stop` is set.
    interval : float, seconds
        Pause between two looks; longer where reading takes more than a tenth of it.
    until_idle : float, seconds, optional
        End when nothing has changed for so long.
    stop : threading.Event, optional
        Set it to end from another thread.
    on_alarm : callable, optional
        Gets every new or recovered alarm, and the run's name.
    **options
        Of `Monitor`.

    Returns
    -------
    Monitor

    Raises
    ------
    ArgumentError
        If there is no such run, or `interval` is negative.
    DataError
        If it cannot be read, or has no record of the loss.
    """
    if interval < 0:
        msg = f"--interval is a time in seconds from 0, found {interval:g}."
        raise ArgumentError(msg)
    stop = stop or threading.Event()
    feed: Feed | None = None
    try:
        for run in _looks(source, follow, interval, until_idle, stop):
            if run is None:
                found = feed.monitor.idle(time.time()) if feed else []
            else:
                if feed is None:
                    feed = Feed(monitor_for(_with(run, loss), reference, **options), loss=loss)
                found = feed.take(_with(run, loss))
            for alarm in found:
                on_alarm(alarm, feed.monitor.run_id if feed else "")
    except KeyboardInterrupt:
        pass
    if feed is None:
        msg = f"There is no record of {loss} to watch yet. Wait for the first, or use --follow."
        raise DataError(msg)
    return feed.monitor


def _looks(
    source: StoreSource | LogSource,
    follow: bool,
    interval: float,
    until_idle: float | None,
    stop: threading.Event,
) -> Iterator[xr.Dataset | None]:
    """Yield the run whenever it has changed, None when it has not, until the watch is over."""
    changed = time.monotonic()
    while True:
        began = time.monotonic()
        run = source.look()
        took = time.monotonic() - began
        yield run
        if run is not None:
            changed = time.monotonic()
            if source.over(run):
                return
        idle = time.monotonic() - changed
        if not follow or (until_idle is not None and idle >= until_idle):
            return
        if stop.wait(max(interval, took / _READING_SHARE)):
            return


def _with(run: xr.Dataset, loss: str) -> xr.Dataset:
    if loss not in run.variables:
        msg = f"Run {run_names(run)[0]!r} has no {loss}. Choose the other --loss."
        raise DataError(msg)
    return run
