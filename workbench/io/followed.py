"""One run of a log that is being written: what is new of it goes into the store as live points."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.schema import RECORD_FIELDS, Filter, record_names
from workbench.store import EndStatus, RunWriter, Store
from workbench.store.batches import Records, join, overlay
from workbench.store.growth import grow

HEARTBEAT_SECONDS = 10.0
_OWN = ("run_id", "family", "status", "source_sha256")  # the hash of a growing log says nothing


@dataclass
class FollowedRun:
    """A run as its log has it, and as the store has it.

    Parameters
    ----------
    run_id, family : str
        As read from the log.
    source : str
        The log; a running run is taken over from another process only if it follows the same one.
    """

    run_id: str
    family: str
    source: str
    status: str = ""
    """How the store has it: "" before it is there."""
    records: Records = field(default_factory=lambda: {"step": np.empty(0, np.int64)})
    attributes: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    ours: bool = False
    """Whether a follower of this log has written it."""
    _writer: RunWriter | None = None
    _alive: float = 0.0

    def look_up(self, store: Store, row: Mapping[str, Any] | None) -> None:
        """Take over what the store has of the run; `row` is its line in the table of runs.

        Raises
        ------
        DataError
            If another process is writing it.
        """
        if row is None:
            return
        self.status = str(row["status"])
        self.ours = row.get("source") == self.source
        if self.status == "running" and not self.ours:
            msg = (
                f"Run {self.run_id!r} is being written by another process than a follower of "
                f"{self.source}; nothing was changed. Give the followed run another run_id with "
                "--set run_id='NAME', or follow into another store."
            )
            raise DataError(msg)
        if row["n_records"]:
            there = store.runs(where=[Filter("run_id", "=", (self.run_id,))])
            self.records = records_of(there)

    def take(self, store: Store, records: Records, attributes: dict[str, Any]) -> int:
        """Write what a log has come to hold; return the number of points written.

        Steps that are new, and values that were not logged before, are appended. Where a value
        changed the training was taken up again: the points go into a new attempt, whose records
        replace those of the same steps.
        """
        if self._writer is None and self.status in ("done", "stopped", "failed"):
            grow(self.run_id, self.records, records)  # raises where the log is another run's
        rows, changed = _news(self.records, records)
        stated = {n: v for n, v in attributes.items() if self.attributes.get(n) != v}
        if not rows.any():
            if self._writer is not None and stated:
                self._writer.describe(stated)
            self.attributes |= stated
            return 0
        if changed and self._writer is not None:
            self._writer = None
        if self._writer is None:
            self._own(store, attributes)
        elif stated:
            self._writer.describe(stated)
        self.attributes |= stated
        fresh = {name: values[rows] for name, values in records.items()}
        merged = overlay(self.records, fresh) if changed else join([self.records, fresh])
        own = np.isin(merged["step"], fresh["step"])
        self._append({name: values[own] for name, values in merged.items()})
        self.records = merged
        return int(rows.sum())

    def _own(self, store: Store, attributes: dict[str, Any]) -> RunWriter:
        writer = store.start_run(
            self.run_id, family=self.family, attributes=attributes, reopen=True
        )
        self._writer, self.status = writer, "running"
        self.attempts, self.ours, self._alive = writer.attempt, True, time.monotonic()
        return writer

    def _append(self, records: Records) -> None:
        assert self._writer is not None  # `take` has seen to it
        columns: dict[str, Any] = dict(records)
        self._writer.append(step=columns.pop("step"), **columns)
        self._alive = time.monotonic()

    def keep_alive(self) -> None:
        """Say that the run is still followed, every ten seconds without a point."""
        if self._writer is not None and time.monotonic() - self._alive > HEARTBEAT_SECONDS:
            self._writer.heartbeat()
            self._alive = time.monotonic()

    def finish(self, store: Store, status: EndStatus) -> None:
        """End the run in the store; it is reopened if its log goes on after all."""
        if self.status == status:
            return
        (self._writer or self._own(store, self.attributes)).finish(status)
        self._writer, self.status = None, status

    @property
    def came_to_its_end(self) -> bool:
        """Whether the next record would lie beyond the planned end, as far as that is known."""
        planned = self.attributes.get("total_steps")
        step = self.records["step"]
        pace = int(np.median(np.diff(step))) if len(step) > 1 else 1
        return planned is None or bool(step.max(initial=-1) + pace >= planned)


def _news(known: Records, read: Records) -> tuple[NDArray[np.bool_], bool]:
    """Return which records of a log are not in the store as they are, and whether one changed."""
    steps = np.asarray(read["step"], np.int64)
    at = np.searchsorted(known["step"], steps)
    there = np.zeros(len(steps), bool)
    inside = at < len(known["step"])
    there[inside] = known["step"][at[inside]] == steps[inside]
    rows, changed = ~there, np.zeros(len(steps), bool)
    for name in read.keys() - {"step"}:
        now, before = read[name], np.full(len(steps), np.nan)
        if name in known:
            before[there] = known[name][at[there]]
        rows |= there & ~np.isnan(now) & (now != before)
        changed |= there & ~np.isnan(now) & ~np.isnan(before) & (now != before)
    return rows, bool(changed.any())


def records_of(run: xr.Dataset) -> Records:
    """Return the records of a dataset of one run, without the columns it never logged."""
    columns = {name: run[name].to_numpy() for name in record_names(run)}
    return {n: v for n, v in columns.items() if n == "step" or not np.isnan(v).all()}


def attributes_of(run: xr.Dataset) -> dict[str, Any]:
    """Return the recorded coordinates of one run, of `iter_runs`, as those of a live run."""
    found: dict[str, Any] = {}
    for name in map(str, run.coords):
        value = run[name].item()
        if name not in _OWN and value == value and value != "":
            found[f"run_{name}" if name in RECORD_FIELDS else name] = value
    return found
