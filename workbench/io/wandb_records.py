"""The records of an offline W&B run: what its history, config, summary and end say.

Field numbers are those of the client's ``wandb_internal.proto``. Values are JSON text, as the
client has written them from its first version on, or typed, as its newer ones may.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.io.leveldb_log import read_log
from workbench.io.wire import (
    BYTES,
    FIXED64,
    VARINT,
    WireError,
    double,
    fields,
    signed,
    text,
    zigzag,
)

_LITERALS = {"true": 1.0, "false": 0.0, "null": None}
_NOTHING = object()
_DEEPEST = 32
MEDIA = "object such as a histogram, image or table"


@dataclass
class WandbRun:
    """One file's content.

    Attributes
    ----------
    run_id, name, project, entity, group, job_type : str
    config, summary : dict
        As they were in the end.
    rows : list of dict of str to float
        Numbers of each history record, ``_step`` among them; levels of a key joined by dots.
    step_metrics : list of str
        Columns declared as the x-axis of others.
    started : float
        Seconds since 1970; infinite where not known.
    exit_code : int or None
        None while the run has not ended.
    resumed : bool
        Whether the run was to go on from an earlier file.
    branch : tuple of (run, step) or None
        Where it branched from another run.
    left_out : Counter of str
    """

    run_id: str = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    job_type: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    step_metrics: list[str] = field(default_factory=list)
    started: float = math.inf
    exit_code: int | None = None
    resumed: bool = False
    branch: tuple[str, float] | None = None
    left_out: Counter[str] = field(default_factory=Counter)


def read_run(path: Path) -> WandbRun:
    """Read one ``.wandb`` file; what is damaged or torn is counted."""
    run = WandbRun()
    for record in read_log(path, run.left_out):
        try:
            _take(run, memoryview(record))
        except (WireError, RecursionError):
            run.left_out["record beyond decoding"] += 1
    return run


def _take(run: WandbRun, record: memoryview) -> None:
    for number, kind, _, content in fields(record):
        if kind != BYTES:
            continue
        if number == 2:
            _take_history(run, content)
        elif number == 3:
            _take_items(run.summary, content)
        elif number == 5:
            _take_items(run.config, content)
        elif number == 12:
            _take_metric(run, content)
        elif number == 17:
            _take_run(run, content)
        elif number == 18:
            codes = [signed(value) for inner, _, value, _ in fields(content) if inner == 1]
            run.exit_code = codes[-1] if codes else 0


def _take_run(run: WandbRun, message: memoryview) -> None:
    names = {1: "run_id", 2: "entity", 3: "project", 6: "group", 7: "job_type", 8: "name"}
    for number, kind, integer, content in fields(message):
        if number in names and kind == BYTES and len(content):
            setattr(run, names[number], text(content))
        elif number == 4 and kind == BYTES:
            _take_items(run.config, content)
        elif number == 5 and kind == BYTES:
            _take_items(run.summary, content)
        elif number == 17 and kind == BYTES:
            run.started = min(run.started, _seconds(content))
        elif number in (18, 24) and kind == VARINT:
            run.resumed |= bool(integer)
        elif number == 23 and kind == BYTES:
            origin, at = "", math.nan
            for inner, inner_kind, _, value in fields(content):
                if inner == 1 and inner_kind == BYTES:
                    origin = text(value)
                elif inner == 2 and inner_kind == FIXED64:
                    at = double(value)
            run.branch = (origin, at)


def _seconds(timestamp: memoryview) -> float:
    parts = {number: signed(value) for number, _, value, _ in fields(timestamp)}
    return parts.get(1, 0) + parts.get(2, 0) / 1e9


def _take_metric(run: WandbRun, message: memoryview) -> None:
    for number, kind, _, content in fields(message):
        if number == 4 and kind == BYTES and text(content) not in run.step_metrics:
            run.step_metrics.append(text(content))


def _take_items(into: dict[str, Any], message: memoryview) -> None:
    """Apply a config or summary record: keys set (field 1) and removed (field 2)."""
    for number, kind, _, content in fields(message):
        if number not in (1, 2) or kind != BYTES:
            continue
        path, value = _item(content)
        if len(path) > _DEEPEST:
            continue
        level = into
        for key in path[:-1]:
            inner = level.get(key)
            level[key] = level = inner if isinstance(inner, dict) else {}
        if path and number == 2:
            level.pop(path[-1], None)
        elif path:
            level[path[-1]] = _loaded(value)


def _loaded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _item(message: memoryview) -> tuple[tuple[str, ...], Any]:
    """Return the key of an item, by levels, and its value: JSON text, or typed."""
    key, nested = "", []
    value: Any = None
    for number, kind, integer, content in fields(message):
        if kind == BYTES:
            if number == 1:
                key = text(content)
            elif number == 2:
                nested.append(text(content))
            elif number in (8, 16):
                value = text(content)
            elif number == 7:
                value = json.dumps(text(content))
        elif number == 4 and kind == VARINT:
            value = bool(integer)
        elif number == 5 and kind == VARINT:
            value = zigzag(integer)
        elif number == 6 and kind == FIXED64:
            value = double(content)
    return (key,) if key else tuple(nested), value


def _take_history(run: WandbRun, message: memoryview) -> None:
    row: dict[str, float] = {}
    step: float | None = None
    items = []
    for number, kind, _, content in fields(message):
        if number == 1 and kind == BYTES:
            items.append(_item(content))
        elif number == 2 and kind == BYTES:
            step = next((signed(value) for inner, _, value, _ in fields(content) if inner == 1), 0)
    media = {path[0] for path, _ in items if len(path) == 2 and path[1] == "_type"}
    run.left_out[MEDIA] += len(media)
    for path, value in items:
        if path and path[0] not in media:
            _take_number(run, row, ".".join(path), value)
    if step is not None:
        row.setdefault("_step", step)
    run.rows.append(row)


def _take_number(run: WandbRun, row: dict[str, float], name: str, value: Any) -> None:
    """Enter one value of a history record; objects by level, text and lists are counted."""
    number: Any = value
    if isinstance(value, str):
        number = _LITERALS.get(value, _NOTHING)
        if number is _NOTHING:
            number = _parsed(value)
    if isinstance(number, dict):
        if "_type" in number:
            run.left_out[MEDIA] += 1
            return
        for key, inner in number.items():
            _take_number(run, row, f"{name}.{key}", json.dumps(inner))
    elif isinstance(number, int | float):
        try:
            row[name] = float(number)
        except OverflowError:
            run.left_out["number too large"] += 1
    elif number is not None:
        run.left_out["value of text or list"] += 1


def _parsed(value: str) -> Any:
    """Return the number that JSON text holds, bare or in quotes; else what the text holds."""
    try:
        return float(value)
    except ValueError:
        pass
    try:
        loaded = json.loads(value)
    except ValueError:
        return value
    if isinstance(loaded, str):
        try:
            return float(loaded)
        except ValueError:
            pass
    return loaded
