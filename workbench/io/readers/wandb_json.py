"""W&B histories as JSON: rows as ``scan_history`` gives them, or columns grouped by kind.

Grouped: ``{"config", "summary", "name", "history": {"train": {"iter": [...], "train_loss": [...]},
"val": {...}}}``, as collections of published runs are written. Rows:
``[{"_step": 0, "train/loss": ...}, ...]`` with ``config.json`` beside, or under ``history``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.io.configs import flatten, take_config
from workbench.io.json_text import as_number, parse_json, read_json
from workbench.io.names import keep_final_apart, name_columns, step_name
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed
from workbench.schema import canonical_run_name

_ROWS = re.compile(r"\[\s*\{")
_OWN_KEYS = ('"_step"', '"_runtime"', '"_timestamp"')
_STATES = {"running": "running", "finished": "done", "crashed": "failed", "failed": "failed"}
_STATES |= {"killed": "stopped", "preempted": "stopped"}
_RESUMED = ("resume_from", "resume_from_checkpoint", "resumed_from")


def sniff(source: Source) -> bool:
    """Tell whether this is one JSON document with a history, or a list of W&B's rows."""
    head = source.head_text.lstrip("\ufeff \r\n\t")
    if _ROWS.match(head):
        return any(key in head for key in _OWN_KEYS) or '"history"' in head
    if not head.startswith("{") or '"log_history"' in head or _is_first_of_lines(head):
        return False
    return '"history"' in head or ('"summary"' in head and '"config"' in head)


def _is_first_of_lines(head: str) -> bool:
    """Tell whether more follows an object that ends with its line: JSON Lines."""
    first, _, more = head.partition("\n")
    if not more.strip() or not first.rstrip().endswith("}"):
        return False
    try:
        parse_json(first, where="")
    except DataError:
        return False
    return True


def read(source: Source) -> Parsed:
    """Read the runs of a history file.

    Raises
    ------
    DataError
        If it is not JSON of that layout, or a group's columns differ in length.
    """
    runs = list(_runs(read_json(source.path), source))
    logs = [_read_run(run, source, position) for position, run in enumerate(runs)]
    return parsed(logs)


def _runs(document: Any, source: Source) -> Iterator[Mapping[str, Any]]:
    """Yield runs: mappings with a history, and what is known of them."""
    if isinstance(document, dict) and isinstance(document.get("runs"), list):
        document = document["runs"]
    if isinstance(document, dict) and "history" in document:
        yield document
    elif isinstance(document, list) and document and all(_is_run(entry) for entry in document):
        yield from document
    elif isinstance(document, list):
        yield {"history": document, "config": _config_beside(source.path)}
    else:
        msg = f"{source} has no 'history'. Write the rows of run.scan_history() as a JSON list."
        raise DataError(msg)


def _is_run(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("history"), dict | list)


def _config_beside(path: Path) -> Any:
    names = (f"{path.stem}_config.json", f"{path.stem}.config.json", "config.json")
    found = next((path.parent / name for name in names if (path.parent / name).is_file()), None)
    return {} if found is None or found == path else read_json(found)


def _read_run(run: Mapping[str, Any], source: Source, position: int) -> RunLog:
    given = next((run[key] for key in ("name", "display_name", "id") if run.get(key)), None)
    unnamed = source.name if not position else f"{source.name}-{position}"
    log = RunLog(given if isinstance(given, str) else unnamed, source=str(source))
    history = run["history"]
    if isinstance(history, dict):
        _take_columns(log, history, str(source))
    elif isinstance(history, list):
        _take_rows(log, history)
    keep_final_apart(log)
    name_columns(log)
    config, summary = (_plain(run.get(key)) for key in ("config", "summary"))
    _take_settings(log, config, summary)
    state = run.get("state")
    if isinstance(state, str) and state in _STATES:
        log.settings["status"] = _STATES[state]
    return log


def _take_columns(log: RunLog, history: Mapping[str, Any], where: str) -> None:
    """Add columns, each as long as the steps of its group; an empty one was not logged."""
    groups: dict[str, Mapping[str, Any]] = {
        name: part for name, part in history.items() if isinstance(part, dict)
    }
    if not groups:
        groups = {"history": history}
    for name, group in groups.items():
        columns = {key: value for key, value in group.items() if isinstance(value, list) and value}
        axis = step_name(columns)
        for key, values in columns.items():
            if axis is None:
                log.leave_out("value without a step", len(values))
            elif len(values) != len(columns[axis]):
                msg = (
                    f"history {name[:40]!r} of {where} has {len(columns[axis])} values of {axis!r} "
                    f"and {len(values)} of {key[:40]!r}. Export the run again."
                )
                raise DataError(msg)
            elif key != axis:
                for step, value in zip(columns[axis], values, strict=True):
                    _take_value(log, as_number(step), key, value)


def _take_value(log: RunLog, step: float | None, name: str, value: object) -> None:
    number = as_number(value)
    if number is not None:
        log.add(step, {name: number})
    elif value is not None:
        log.leave_out("value that is no number")


def _take_rows(log: RunLog, history: list[Any]) -> None:
    """Add rows; the counter of optimiser steps is the axis, W&B's own only if there is no other."""
    rows = [row for row in history if isinstance(row, dict)]
    if len(rows) < len(history):
        log.leave_out("row that is no record", len(history) - len(rows))
    axis = step_name(dict.fromkeys(name for row in rows for name in row))
    for row in rows:
        values = {}
        for name, value in row.items():
            if name in (axis, "_step"):
                continue
            number = as_number(value)
            if number is not None:
                values[name] = number
            elif value is not None:
                log.leave_out("value that is no number")
        log.add(as_number(row.get(axis)) if axis is not None else None, values)


def _plain(part: Any) -> dict[str, Any]:
    """Return a config or summary; W&B's own files wrap each value in ``{"value": ...}``."""
    if not isinstance(part, dict):
        return {}
    return {
        key: value["value"] if isinstance(value, dict) and "value" in value else value
        for key, value in part.items()
        if not key.startswith("_")
    }


def _take_settings(log: RunLog, config: dict[str, Any], summary: dict[str, Any]) -> None:
    take_config(log, config)
    for name, value in flatten(summary):
        if canonical_run_name(name.rpartition("/")[2]) == "model_size" and as_number(value):
            log.settings.setdefault("model_size", as_number(value))
    trunk = next((config[key] for key in _RESUMED if isinstance(config.get(key), str)), "")
    if trunk and log.run_id not in trunk and len(trunk) <= 500:
        log.settings["resumed_from"] = trunk
        step = re.search(r"(\d{1,15})\D*$", trunk.rsplit("/", 1)[-1])
        if step:
            log.settings["resumed_from_step"] = float(step.group(1))
        log.notes.append(
            f"{log.run_id!r} branches from a trunk, {trunk!r}; its own records begin there"
        )


FORMAT = Format("wandb-json", sniff, read)
