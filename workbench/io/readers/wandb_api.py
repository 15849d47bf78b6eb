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

from workbench.errors import ArgumentError, DataError
from workbench.io.result import Format, Parsed, Source
from workbench.io.trackers import TrackedRun, collected, number, numbers
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
# W&B numbers the calls of its log; the Hugging Face Trainer and Lightning log their own step too.
_OPTIMISER_STEPS = ("train/global_step", "trainer/global_step")
_OWN = ("_step", "_timestamp")
_RETRIES = 4
_LONGEST_WAIT = 10  # [s] between two of them


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
    _take_optimiser_steps(run, rows)
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
    logged = {name: value for name, value in row.items() if name not in _OWN}
    for name, value in numbers(logged, run.left_out):
        run.log(name, step, value, math.nan if time is None else time)


def _take_optimiser_steps(run: TrackedRun, rows: int) -> None:
    """Put a run's metrics on its optimiser steps, where every record has one."""
    for name in _OPTIMISER_STEPS:
        own = run.metrics.get(name)
        if own is None:
            continue
        if len(own.steps) < rows:
            run.notes.append(f"not every record of {run.id!r} has {name}; steps are W&B's own")
            return
        step_at = dict(zip(own.steps, own.values, strict=True))
        for metric in run.metrics.values():
            metric.steps = array("d", (step_at[step] for step in metric.steps))
        run.notes.append(f"steps of {run.id!r} are its {name}, not W&B's count of calls")
        return


FORMAT = Format("wandb_api", sniff, read)
