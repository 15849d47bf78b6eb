"""Runs as experiment trackers keep them: many in one store, named at will, every value timed."""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.io.configs import take_config
from workbench.io.result import Parsed, SkippedSource
from workbench.io.runlog import RunLog, parsed, usable_steps
from workbench.schema import LOSSES

NO_NUMBER = "value of another kind than numbers"
_HASH_LETTERS = 8
_NAMED = 5
_Floats = NDArray[np.float64]


@dataclass
class Metric:
    """Values of one metric in the order they are stored, all arrays of one length.

    Parameters
    ----------
    steps, times, values : array of float
        Optimiser steps; seconds since 1970, NaN where not recorded; values.
    """

    steps: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def by_time(self) -> tuple[_Floats, _Floats, _Floats]:
        """Return steps, times and values, oldest first; as stored where a time is missing."""
        steps, times, values = map(np.asarray, (self.steps, self.times, self.values))
        if (times[1:] >= times[:-1]).all() or np.isnan(times).any():
            return steps, times, values
        order = np.argsort(times, kind="stable")
        return steps[order], times[order], values[order]


@dataclass
class TrackedRun:
    """One run of a tracker's store.

    Parameters
    ----------
    id : str
        What the tracker tells runs apart by.
    name : str
        What the user called it; need not be unique.
    started : float
        When, in any unit, to order runs by; 0 when unknown.
    family, status, parent : str
        In the schema's words; `parent` is the id of another run; "" when unknown.
    refused : str
        Why the run is not imported; "" when it is.
    config : dict
        As the user gave it.
    more : dict
        Further run coordinates.
    metrics : dict of str to Metric
        What was logged.
    left_out : Counter
        What of it is not imported, as for ``RunLog.leave_out``.
    notes : list of str
        Decisions the reader made.
    """

    id: str
    name: str = ""
    started: float = 0.0
    family: str = ""
    status: str = ""
    parent: str = ""
    refused: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def log(self, name: str, step: float, value: float, time: float = math.nan) -> None:
        """Add one value of a metric."""
        metric = self.metrics.setdefault(name, Metric())
        metric.steps.append(step)
        metric.times.append(time)
        metric.values.append(value)

    def sha256(self) -> str:
        """Return the sha256 of the config and of everything logged."""
        content = hashlib.sha256(json.dumps(self.config, sort_keys=True, default=str).encode())
        for name in sorted(self.metrics):
            metric = self.metrics[name]
            content.update(f"\0{name}\0{len(metric.steps)}\0".encode())
            for column in (metric.steps, metric.times, metric.values):
                content.update(column.tobytes())
        return content.hexdigest()


def collected(runs: Sequence[TrackedRun], *, where: str, sources: Mapping[str, str]) -> Parsed:
    """Turn the runs of a tracker's store into what a reader returns.

    Parameters
    ----------
    runs : sequence of TrackedRun
        All of the store, refused ones too: names are told apart among them all, so that a run
        keeps its name when others come or go.
    where : str
        The store, for notes and errors.
    sources : mapping of id to str
        Where each run came from, for its ``source`` coordinate; the store when absent.

    Returns
    -------
    Parsed
        A run is called by its name; where an older run has that name, ``-`` and the first letters
        of its id are added. The name as given is the coordinate ``display_name``, the id
        ``tracker_id``, and ``source_sha256`` is taken of what was read of the run.

    Raises
    ------
    DataError
        If there is no run, or none with a record.
    """
    names = unique_names(runs)
    called = {run.id: name for run, name in zip(runs, names, strict=True)}
    logs, skipped = [], []
    for run, name in zip(runs, names, strict=True):
        source = sources.get(run.id, where)
        parent = called.get(run.parent, run.parent)
        log = _run_log(run, name, where=where, source=source, parent=parent)
        reason = run.refused or _without_loss(log)
        if reason:
            skipped.append(SkippedSource(source=f"{where}: {name}", reason=reason))
        else:
            logs.append(log)
    if not logs:
        why = f" ({skipped[0]['source']}: {skipped[0]['reason']})" if skipped else ""
        msg = f"{where} holds no run that can be imported{why}. Give a store whose runs log a loss."
        raise DataError(msg)
    return parsed(logs, skipped=skipped)


def _without_loss(log: RunLog) -> str:
    """Return why a run has no loss; "" when it has one. A store holds runs of other kinds too."""
    records = log.records()
    if any(name in records and np.isfinite(records[name]).any() for name in LOSSES):
        return ""
    names = sorted(set(records) - {"step", "wall_time"})
    if not names:
        return "it has no record"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"no finite train_loss or eval_loss among {', '.join(names[:_NAMED])}{more}"


def _run_log(run: TrackedRun, run_id: str, *, where: str, source: str, parent: str) -> RunLog:
    log = RunLog(run_id, source=where)
    given = {
        "family": run.family,
        "status": run.status,
        "source": source,
        "source_sha256": run.sha256(),
        "display_name": run.name,
        "tracker_id": run.id,
        "parent_run": parent,
    }
    log.settings.update({name: text for name, text in given.items() if text} | run.more)
    take_config(log, run.config)
    names = _column_names(run.metrics)
    for name, metric in run.metrics.items():
        steps, _, values = metric.by_time()
        log.add_series(names[name], steps, values)
    if "wall_time" not in run.metrics:
        steps, times = _wall_times(list(run.metrics.values()))
        if len(steps):
            log.add_series("wall_time", steps, times)
    log.notes += run.notes
    for what, count in run.left_out.items():
        log.leave_out(what, count)
    return log


def _column_names(metrics: Mapping[str, Metric]) -> dict[str, str]:
    names = {name: name for name in metrics}
    # The Hugging Face Trainer logs its loss as "loss" and, when done, the mean of the whole run
    # as "train_loss" beside "train_runtime"; in Aim the same with a context.
    for mean, beside in (("train_loss", "train_runtime"), ("train/loss", "train/runtime")):
        if {"loss", mean, beside} <= set(metrics):
            names[mean] = "mean_train_loss"
    return names


def _wall_times(metrics: Sequence[Metric]) -> tuple[_Floats, _Floats]:
    """Return the steps that have a time, and the last time at which something was logged there."""
    if not metrics:
        return np.empty(0), np.empty(0)
    steps = np.concatenate([np.asarray(metric.steps) for metric in metrics])
    times = np.concatenate([np.asarray(metric.times) for metric in metrics])
    known = np.isfinite(times) & (times > 0) & usable_steps(steps)
    steps, times = steps[known], times[known]
    order = np.lexsort((times, steps))
    steps, times = steps[order], times[order]
    last = np.append(steps[1:] != steps[:-1], True)[: len(steps)]
    return steps[last], times[last]


def unique_names(runs: Sequence[TrackedRun]) -> list[str]:
    """Return a name for each run: its own, with letters of its id where an older run has it."""
    taken: set[str] = set()
    names = [""] * len(runs)
    for i in sorted(range(len(runs)), key=lambda i: (runs[i].started, runs[i].id)):
        names[i] = next(name for name in _candidates(runs[i]) if name not in taken)
        taken.add(names[i])
    return names


def _candidates(run: TrackedRun) -> Iterator[str]:
    name = " ".join(run.name.split()) or run.id or "unnamed"
    yield name
    for length in range(_HASH_LETTERS, len(run.id) + 1):
        yield f"{name}-{run.id[:length]}"
    count = 2
    while True:
        yield f"{name}-{count}"
        count += 1


def number(value: object) -> float | None:
    """Return a number, or text that is one such as "NaN" or "Infinity", as a float; else None."""
    if not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def numbers(values: Mapping[str, Any], left_out: Counter[str]) -> Iterator[tuple[str, float]]:
    """Yield the numbers among logged values, nested ones with their names joined by dots.

    What is not a number, such as a table or a picture, is counted.
    """
    pending: list[tuple[str, Any]] = list(values.items())[::-1]
    while pending:
        name, value = pending.pop()
        found = number(value)
        if found is not None:
            yield name, found
        elif isinstance(value, Mapping) and "_type" not in value:
            pending += [(f"{name}.{key}", inner) for key, inner in value.items()][::-1]
        elif value is not None:
            left_out[NO_NUMBER] += 1


def plain(text: str) -> float | str | bool | None:
    """Return what a setting stored as text was: a number, True, False, None or the text."""
    words: dict[str, bool | None] = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    if "_" in text:  # which Python, but nobody else, takes as a number's separator
        return text
    try:
        return int(text)
    except ValueError:
        found = number(text)
        return text if found is None or not math.isfinite(found) else found
