"""CSV as exported from a chart of the W&B site: a column a run and metric, with its bounds.

The header is ``"Step","RUN - METRIC","RUN - METRIC__MIN","RUN - METRIC__MAX",...``. Where the site
drew groups or buckets, a value is a mean and its bounds differ from it; the bounds are kept then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import DataError
from workbench.io.csv_rows import cells, header_row, read_rows
from workbench.io.names import keep_final_apart, metric_name, name_columns, step_name
from workbench.io.result import Format, Parsed, SkippedSource, Source
from workbench.io.runlog import RunLog, parsed

_BOUNDS = {"__MIN": "_min", "__MAX": "_max"}
_GROUP = "Group: "
_JOINT = " - "
_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class _Column:
    """What one column holds: a run's metric, or a bound of it."""

    run: str
    metric: str
    bound: str = ""


def sniff(source: Source) -> bool:
    """Tell whether this is such a file, or a folder with several of them and no other folder."""
    if not source.path.is_dir():
        return _is_export(source.path)
    inside = _visible(source.path)
    exports = [path for path in inside if path.is_file() and _is_export(path)]
    return len(exports) > 1 and not any(path.is_dir() for path in inside)


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _is_export(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.readline(_LONGEST_HEADER)
    except OSError:
        return False
    if b"\0" in first or b" - " not in first or not first.endswith(b"\n"):
        return False
    header = header_row(first.decode("utf-8", errors="replace"))
    if len(header) < 2:
        return False
    # A console log line "2025-01-01 10:00:00,123 - root - …" looks alike but for its first digit.
    axis = header[0][:1].isalpha() and _JOINT not in header[0]
    return axis and all(_JOINT in name for name in header[1:])


def read(source: Source) -> Parsed:
    """Read the runs of one export, or of several that show different metrics of the same runs.

    Raises
    ------
    DataError
        If the horizontal axis is not a step, or there is no record.
    """
    if not source.path.is_dir():
        return _read_files([source.path], source, ())
    inside = _visible(source.path)
    exports = [path for path in inside if path.is_file() and _is_export(path)]
    others = [
        SkippedSource(source=str(path), reason="not a W&B export")
        for path in inside
        if path not in exports
    ]
    return _read_files(exports, source, others)


def _read_files(paths: Sequence[Path], source: Source, skipped: Sequence[SkippedSource]) -> Parsed:
    file = RunLog(source.name, source=str(source))
    # The site's files end without a line end; a whole last row closes its quotes.
    opened = [(path, *read_rows(path, file, complete='"')) for path in paths]
    meaning = _columns(name for _, header, _ in opened for name in header[1:])
    logs: dict[str, RunLog] = {}
    for path, header, rows in opened:
        _require_step(header[0], path)
        columns = [meaning[name] for name in header[1:]]
        for column in columns:
            logs.setdefault(column.run, RunLog(column.run, source=str(source)))
        axes = _axes(columns)
        positions = [str(i) for i in range(len(header))]  # two columns may mean the same
        for row in rows:
            _take_row(logs, columns, axes, cells(row, positions, file))
    for log in logs.values():
        _settle_bounds(log)
        keep_final_apart(log)
        name_columns(log)
    groups = sum(column.run.startswith(_GROUP) for column in set(meaning.values()))
    if groups:
        file.notes.append("curves called 'Group: …' are means over the runs of a group")
    return parsed(list(logs.values()), skipped=skipped, about=file)


def _require_step(axis: str, path: Path) -> None:
    if step_name([axis]) is None:
        msg = (
            f"the horizontal axis of {path} is {axis[:60]!r}, not a step. Choose Step as the X "
            "axis of the chart before exporting it."
        )
        raise DataError(msg)


def _take_row(
    logs: Mapping[str, RunLog],
    columns: Sequence[_Column],
    axes: Mapping[str, int],
    row: Mapping[str, float],
) -> None:
    values: dict[str, dict[str, float]] = {}
    for i, column in enumerate(columns):
        value = row.get(str(i + 1))
        axis = axes.get(column.run)
        counter = column.metric == "_step" or (
            axis is not None and column.metric == columns[axis].metric and i != axis
        )
        if value is not None and not counter:
            values.setdefault(column.run, {})[column.metric + column.bound] = value
    for run, own in values.items():
        axis = axes.get(run)
        step = row.get("0") if axis is None else own.pop(columns[axis].metric, None)
        logs[run].add(step, own)


def _axes(columns: Sequence[_Column]) -> dict[str, int]:
    """Return where a run has a counter of optimiser steps of its own, better than W&B's."""
    positions: dict[str, dict[str, int]] = {}
    for i, column in enumerate(columns):
        if not column.bound:
            positions.setdefault(column.run, {})[column.metric] = i
    better = {run: step_name(n for n in own if n != "_step") for run, own in positions.items()}
    return {run: positions[run][name] for run, name in better.items() if name is not None}


def _settle_bounds(log: RunLog) -> None:
    """Drop bounds that say the same as the value; keep and tell the others."""
    apart = 0
    for name in log.columns:
        if name.endswith(tuple(_BOUNDS.values())) and name[:-4] in log.columns:
            if log.same(name, name[:-4]):
                log.drop(name)
            else:
                apart += 1
    if apart:
        log.notes.append(
            "values differ from their bounds, kept as _min and _max: means of groups or buckets "
            "of the site, not what was logged; the API exports the whole history"
        )


def _columns(names: Iterable[str]) -> dict[str, _Column]:
    """Return what each column means; where its name can be read in two ways, as others agree."""
    bounds, plain = {}, {}
    for name in dict.fromkeys(names):
        bound = next((mark for mark in _BOUNDS if name.endswith(mark)), "")
        plain[name] = name.removesuffix(bound) if bound else name
        bounds[name] = _BOUNDS.get(bound, "")
    bases = dict.fromkeys(plain.values())
    counts = Counter(metric for base in bases for _, metric in _splits(base))
    sure = {run for base in bases if base.count(_JOINT) == 1 for run, _ in _splits(base)}

    def weight(split: tuple[str, str]) -> tuple[bool, int, bool, int]:
        run, metric = split
        return run in sure, counts[metric], metric_name(metric) is not None, len(metric)

    chosen = {base: max(_splits(base), key=weight) for base in bases}
    return {name: _Column(*chosen[plain[name]], bounds[name]) for name in plain}


def _splits(name: str) -> list[tuple[str, str]]:
    """Return every way to read a column's name as run and metric."""
    parts = name.split(_JOINT)
    if len(parts) > 20:  # no name has so many; the first way is as good as any
        return [(parts[0], _JOINT.join(parts[1:]))]
    return [(_JOINT.join(parts[:i]), _JOINT.join(parts[i:])) for i in range(1, len(parts))] or [
        (name, name)
    ]


FORMAT = Format("wandb-csv", sniff, read)
