"""JSON Lines: one object a line, whatever wrote it; keys are taken by the names they go by.

Lines with a step are records; lines without one and without a loss are settings. Training and
validation may alternate, told apart by their keys or by a key such as ``"split": "val"``. Several
runs may share a file under a ``run_id``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workbench.errors import DataError
from workbench.io.configs import flatten, take_config
from workbench.io.json_text import as_number, parse_json
from workbench.io.lines import read_lines
from workbench.io.names import keep_final_apart, metric_name, name_columns, step_name
from workbench.io.result import HEAD_BYTES, Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed
from workbench.schema import LOSSES

_RUN_KEYS = ("run_id", "run", "run_name", "experiment_id")
_SPLIT_KEYS = ("split", "mode", "phase", "stage", "subset", "kind", "type", "event")
_HELD_OUT = ("val", "valid", "validation", "eval", "evaluation", "dev")
_MOST_RUNS = 100_000
_DEEPEST, _LONGEST_NAME = 32, 200


def sniff(source: Source) -> bool:
    """Tell whether most of the first lines are JSON objects, one at least with a step."""
    head = source.head_text
    if not head.lstrip("\ufeff \r\n\t").startswith("{"):
        return False
    lines = [line for line in head.splitlines() if line.strip()]
    if len(source.head) == HEAD_BYTES or (len(lines) > 1 and not head.endswith("\n")):
        lines = lines[:-1]  # cut by the end of the head, or being written
    found = [row for row in map(_quiet, lines) if row is not None]
    return 2 * len(found) > len(lines) and any(step_name(_flat(row)) for row in found)


def _quiet(line: str) -> dict[str, Any] | None:
    try:
        row = parse_json(line.strip("\ufeff \r"), where="")
    except DataError:
        return None
    return row if isinstance(row, dict) else None


def _flat(row: Mapping[str, Any]) -> dict[str, float | str]:
    return dict(flatten(row, joint="/"))


def read(source: Source) -> Parsed:
    """Read the runs of a file of JSON lines.

    Raises
    ------
    DataError
        If a line repeats a key, or there is no record.
    """
    file = RunLog(source.name, source=str(source))
    runs: dict[str, _Run] = {}
    axis = _axis(source)
    for row in _rows(source, file):
        name = _run_of(row, source.name)
        if name not in runs:
            if len(runs) == _MOST_RUNS:
                msg = f"{source} names over {_MOST_RUNS} runs, such as {name[:40]!r}. Split it."
                raise DataError(msg)
            runs[name] = _Run(RunLog(name, source=str(source)))
        runs[name].take(row, axis)
    shared = runs.pop(source.name) if _has_shared(runs, source.name) else None
    for run in runs.values():
        run.finish(shared.config if shared else {})
    return parsed([run.log for run in runs.values()], about=file)


def _has_shared(runs: Mapping[str, _Run], name: str) -> bool:
    """Tell whether lines without a run's name hold settings only: those of all runs."""
    return len(runs) > 1 and name in runs and not len(runs[name].log)


class _Run:
    """One run as its lines are read."""

    def __init__(self, log: RunLog) -> None:
        self.log = log
        self.config: dict[str, Any] = {}

    def take(self, row: Mapping[str, Any], axis: str | None) -> None:
        """Add a line: a record where it has a step, settings where it has neither step nor loss."""
        flat = {k: v for k, v in _values(row).items() if k not in _RUN_KEYS}
        step = axis if axis in flat else step_name(name for name in flat if name != "_step")
        split = next((str(flat.pop(key)) for key in _SPLIT_KEYS if _is_text(flat.get(key))), "")
        names = {name: _name(name, split) for name in flat}
        if step is None and not any(metric_name(name) in LOSSES for name in names.values()):
            self.config |= row
            return
        values: dict[str, float] = {}
        for name, value in flat.items():
            number = as_number(value)
            if name in (step, "_step") or value is None:
                continue
            if number is None:
                self.log.leave_out("value that is no number")
            else:
                values[names[name]] = number
        self.log.add(as_number(flat[step]) if step is not None else None, values)

    def finish(self, shared: Mapping[str, Any]) -> None:
        """Take the settings, the run's own before those shared by all, and name the columns."""
        keep_final_apart(self.log)
        name_columns(self.log)
        own = {**shared, **self.config}
        take_config(self.log, {k: v for k, v in own.items() if k not in _RUN_KEYS})


def _values(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return a flat row with every value, also those that settings leave out, such as NaN."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            flat |= _values(value, f"{prefix}{key}/", depth + 1)
        elif len(prefix) + len(key) <= _LONGEST_NAME:
            flat[prefix + key] = value
    return flat


def _is_text(value: object) -> bool:
    return isinstance(value, str) and as_number(value) is None


def _name(name: str, split: str) -> str:
    """Return what a value is called: under a held-out split a ``loss`` is that split's."""
    folded = split.casefold()
    if folded in _HELD_OUT:
        folded = "val"
    if folded not in ("val", "test") or name.casefold().startswith((*_HELD_OUT, "test")):
        return name
    return name if metric_name(name) in ("tokens", "wall_time", "step") else f"{folded}/{name}"


def _run_of(row: Mapping[str, Any], otherwise: str) -> str:
    for key in _RUN_KEYS:
        value = row.get(key)
        if isinstance(value, str | int) and value != "":
            return str(value)
    return otherwise


def _axis(source: Source) -> str | None:
    """Return the key that counts steps best in the first lines: one axis for the whole file."""
    rows = [row for row in map(_quiet, source.head_text.splitlines()) if row is not None]
    return step_name(name for row in rows for name in _flat(row))


def _rows(source: Source, file: RunLog) -> Iterator[dict[str, Any]]:
    number = 0
    for number, line in enumerate(read_lines(source.path, file, complete="}"), start=1):
        text = line.strip("\ufeff \r\t\0")
        if not text:
            continue
        try:
            row = parse_json(text, where=f"line {number} of {source}")
        except DataError as error:
            if "is twice in one object" in str(error):
                raise
            file.leave_out("line that is not a JSON object")
            continue
        if isinstance(row, dict):
            yield row
        else:
            file.leave_out("line that is not a JSON object")


FORMAT = Format("jsonl", sniff, read)
