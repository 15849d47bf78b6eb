"""Runs of a W&B project through W&B's client: ``wandb://entity/project`` or ``…/project/run``.

Only the client's full scan is used; its ``history`` call returns a sample of 500 rows. Address and
key of the server are the client's own settings: ``wandb login``, ``WANDB_API_KEY``,
``WANDB_BASE_URL``.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError, DataError
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import last_of_each
from workbench.io.tags import columns_of
from workbench.io.trackers import Metric, TrackedRun, collected, number, numbers
from workbench.io.wandb_steps import STEP_COLUMNS, choose_step
from workbench.schema import LOSSES
from workbench.text import plural

_SCHEME = "wandb://"
_URL = re.compile(r"wandb://([^/?#]+)/([^/?#]+)(?:/(?:runs/)?([^/?#]+))?/?")
_STATUSES = {
    "running": "running",
    "pending": "planned",
    "finished": "done",
    "failed": "failed",
    "crashed": "failed",
    "killed": "stopped",
    "preempted": "stopped",
    "preempting": "stopped",
}
_OWN = ("_step", "_timestamp")
_RUNTIME = "wandb_runtime"
_RETRIES = 4
_LONGEST_WAIT = 10  # [s] between two of them
_Floats = NDArray[np.float64]


def sniff(source: Source) -> bool:
    """Tell whether the source is a W&B address."""
    return source.url.startswith(_SCHEME)


def read(source: Source) -> Parsed:
    """Read every logged value of a run or of all runs of a project, which is their family.

    Raises
    ------
    ArgumentError
        If the address is not of that form.
    DataError
        If W&B's client is missing, it cannot log in, or any page fails to come.
    """
    address = _URL.fullmatch(source.url)
    if address is None:
        msg = f"{source} is no W&B address. Give wandb://entity/project or …/project/run_id."
        raise ArgumentError(msg)
    entity, project, run_id = address.groups()
    try:
        import wandb
    except ImportError as error:
        msg = f"{source} is read through W&B: pip install 'collapse-workbench[trackers]'"
        raise DataError(msg) from error
    try:
        runs = [_run(run) for run in _given(wandb, entity, project, run_id)]
    except wandb.errors.AuthenticationError as error:
        msg = f"{source}: W&B does not know the key ({_plain(error)}). Log in with: wandb login"
        raise DataError(msg) from error
    except (wandb.errors.UsageError, TimeoutError) as error:
        msg = f"{source}: no key for W&B is set ({_plain(error)}). Set WANDB_API_KEY."
        raise DataError(msg) from error
    # The client lets through what its transport, its service and its decoders raise.
    except Exception as error:
        msg = f"{source} cannot be read: {_plain(error)}. Check the address and the connection."
        raise DataError(msg) from error
    sources = {run.id: f"{_SCHEME}{entity}/{project}/{run.id}" for run in runs}
    return collected(runs, where=str(source), sources=sources)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _given(wandb: Any, entity: str, project: str, run_id: str | None) -> Iterator[Any]:
    """Yield the client's runs; it is told to ask for no key and not to retry for minutes."""
    settings = wandb.Settings(
        silent=True,
        login_timeout=0.1,
        x_graphql_retry_max=_RETRIES,
        x_graphql_retry_wait_max_seconds=_LONGEST_WAIT,
    )
    wandb.setup(settings)
    api = wandb.Api()
    if run_id is not None:
        yield api.run(f"{entity}/{project}/{run_id}")
    else:
        yield from api.runs(f"{entity}/{project}", order="+created_at", lazy=False)


def _run(given: Any) -> TrackedRun:
    run = TrackedRun(
        given.id,
        given.name or "",
        started=_seconds(given.created_at),
        family=given.project,
        status=_STATUSES.get(given.state, ""),
        config=dict(given.config),
    )
    rows = 0
    for row in given.scan_history():
        rows += 1
        _add(run, row)
    counted = getattr(given, "historyLineCount", None)
    if isinstance(counted, int) and counted > rows:
        run.notes.append(f"{plural(rows, 'record')} of {run.id!r} came, W&B counts {counted}")
    _take_optimiser_steps(run)
    for name, value in numbers(given.summary_metrics, run.left_out):
        if not name.startswith("_") and name not in run.metrics and math.isfinite(value):
            run.more[f"summary_{name}"] = value
    for name in ("group", "commit"):
        if getattr(given, name, None):
            run.more["git_commit" if name == "commit" else name] = str(getattr(given, name))
    return run


def _seconds(created: object) -> float:
    try:
        return datetime.fromisoformat(str(created)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _add(run: TrackedRun, row: dict[str, Any]) -> None:
    step, time = number(row.get("_step")), number(row.get("_timestamp"))
    if step is None:
        run.left_out["record without a step"] += 1
        return
    logged = {
        _RUNTIME if name == "_runtime" else name: value
        for name, value in row.items()
        if name not in _OWN
    }
    for name, value in numbers(logged, run.left_out):
        run.log(name, step, value, math.nan if time is None else time)


def _take_optimiser_steps(run: TrackedRun) -> None:
    """Put a run's metrics on its optimiser steps, by the one rule for W&B's histories."""
    if not run.metrics:
        return
    rows = np.unique(np.concatenate([metric.steps for metric in run.metrics.values()]))
    columns = {n: _by_row(run.metrics[n], rows) for n in STEP_COLUMNS if n in run.metrics}
    names, _ = columns_of(run.metrics)
    losses = [metric.steps for name, metric in run.metrics.items() if names[name] in LOSSES]
    logged = np.isin(rows, np.concatenate(losses)) if losses else np.ones(len(rows), bool)
    chosen, why = choose_step({**columns, "_step": rows}, logged)
    run.notes.append(f"{run.id!r}: {why}")
    if chosen not in columns:
        return
    for name, metric in run.metrics.items():
        steps = columns[chosen][np.searchsorted(rows, metric.steps)]
        metric.steps = array("d", steps)
        if name == _RUNTIME:
            run.metrics[name] = _one_a_step(steps, np.asarray(metric.values))
    run.metrics.setdefault("wandb_step", _one_a_step(columns[chosen], rows))


def _by_row(metric: Metric, rows: _Floats) -> _Floats:
    values = np.full(len(rows), np.nan)
    values[np.searchsorted(rows, metric.steps)] = metric.values
    return values


def _one_a_step(steps: _Floats, values: _Floats) -> Metric:
    """Return W&B's own bookkeeping by step; several of its rows may share an optimiser step."""
    usable = steps >= 0
    steps, values = last_of_each(steps[usable], values[usable])
    return Metric(array("d", steps), array("d", np.full(len(steps), np.nan)), array("d", values))


FORMAT = Format("wandb-api", sniff, read)
