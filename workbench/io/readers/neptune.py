"""Parquet as Neptune Exporter writes it: one row a value, parameters and series of a run together.

``data/PROJECT/RUN_part_0.parquet``, further parts beside it; the first part gets its final name
last, so that a run without it was not exported to the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.io.configs import take_config
from workbench.io.names import keep_final_apart, metric_name, name_columns
from workbench.io.parquet_files import MAGIC, Numbers, Texts, column_names, read_batches
from workbench.io.result import Format, Parsed, SkippedSource, Source
from workbench.io.runlog import RunLog, parsed
from workbench.schema import LOSSES

_KEYS = ("project_id", "run_id", "attribute_path", "attribute_type")
_VALUES = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
}
_SERIES = ("step", "float_value", "timestamp")
_PART = re.compile(r"_part_(\d{1,9})\.parquet$")
_MACHINE = "monitoring/"
_TIMES = " timestamps"


@dataclass
class _Run:
    """One run as its rows are read: parameters, and series in a log."""

    project: str
    log: RunLog
    parameters: dict[str, Any] = field(default_factory=dict)


def sniff(source: Source) -> bool:
    """Tell whether this is a part of an export, or a folder of nothing else, also by project."""
    if source.path.is_dir():
        return _holds_parts_only(source.path) and _is_part(
            next(_inside(source.path, "*.parquet"), None)
        )
    return source.head.startswith(MAGIC) and _is_part(source.path)


def _inside(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files of a folder and of the folders in it, the parts of a run in order."""
    for each in (folder, *sorted(path for path in folder.glob("[!.]*") if path.is_dir())):
        yield from sorted(each.glob(f"[!.]{pattern}"), key=_order)


def _holds_parts_only(folder: Path, depth: int = 0) -> bool:
    for path in folder.glob("[!.]*"):
        if path.is_dir():
            if depth or not _holds_parts_only(path, depth + 1):
                return False
        elif not path.name.endswith((".parquet", ".parquet.tmp")):
            return False
    return True


def _order(path: Path) -> tuple[str, int]:
    part = _PART.search(path.name)
    return (path.name[: part.start()], int(part.group(1))) if part else (path.name, 0)


def _is_part(path: Path | None) -> bool:
    names = column_names(path) if path is not None and path.is_file() else None
    return names is not None and set(_KEYS) <= set(names)


def read(source: Source) -> Parsed:
    """Read the runs of an export.

    Raises
    ------
    DataError
        If a part is damaged, or no run has a series.
    """
    whole = source.path.is_dir()
    paths = list(_inside(source.path, "*.parquet")) if whole else [source.path]
    skipped = [
        SkippedSource(source=str(path), reason="the export of this run was interrupted")
        for path in (_inside(source.path, "*.parquet.tmp") if whole else ())
    ]
    runs: dict[tuple[str, str], _Run] = {}
    file = RunLog(source.name, source=str(source))
    for path in paths:
        if _is_part(path):
            _read_part(path, runs, source, file)
        else:
            skipped.append(SkippedSource(source=str(path), reason="not of Neptune Exporter"))
    _note_missing_parts(paths if whole else [], file)
    several = len({project for project, _ in runs}) > 1
    for (project, run_id), run in runs.items():
        run.log.run_id = f"{project}/{run_id}" if several else run_id
        _finish(run)
    return parsed([run.log for run in runs.values()], skipped=skipped, about=file)


def _note_missing_parts(paths: Sequence[Path], file: RunLog) -> None:
    found: dict[Path, set[int]] = {}
    for path in paths:
        if part := _PART.search(path.name):
            run = path.with_name(path.name[: part.start()])
            found.setdefault(run, set()).add(int(part.group(1)))
    for run, parts in found.items():
        if parts != set(range(len(parts))):
            file.notes.append(f"parts of {run.name!r} are missing: export the run again")


def _read_part(path: Path, runs: dict[tuple[str, str], _Run], source: Source, file: RunLog) -> None:
    wanted = [*_KEYS, *_SERIES, *_VALUES.values()]
    for columns, _ in read_batches(path, wanted):
        keys = [columns.get(name) for name in _KEYS]
        texts = [key for key in keys if isinstance(key, Texts)]
        if len(texts) < len(_KEYS):
            msg = f"{path} does not hold text in {', '.join(_KEYS)}. Export it again."
            raise DataError(msg)
        codes = np.stack([key.codes for key in texts])
        known = (codes >= 0).all(axis=0)
        if not known.all():
            file.leave_out("row without a run, path or type", int((~known).sum()))
        for rows in _groups(codes, np.flatnonzero(known)):
            own = [key.texts[key.codes[rows[0]]] for key in texts]
            project, run_id, attribute, kind = own
            if (project, run_id) not in runs:
                runs[project, run_id] = _Run(project, RunLog(run_id, source=str(source)))
            _take(runs[project, run_id], attribute, kind, columns, rows)


def _groups(codes: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows that agree in all codes, each group in file order."""
    if not len(rows):
        return
    own = codes[:, rows]
    order = np.lexsort(own[::-1])
    changes = (np.diff(own[:, order], axis=1) != 0).any(axis=0)
    yield from np.split(rows[order], np.flatnonzero(changes) + 1)


def _take(
    run: _Run,
    attribute: str,
    kind: str,
    columns: Mapping[str, Numbers | Texts],
    rows: NDArray[np.int64],
) -> None:
    if attribute.startswith(_MACHINE) and kind == "float_series":
        run.log.leave_out("value of the machine's load (monitoring/)", len(rows))
    elif kind == "float_series":
        _take_series(run.log, attribute, columns, rows)
    elif kind in _VALUES:
        value = _value(columns.get(_VALUES[kind]), int(rows[-1]))
        if value is not None:
            run.parameters[attribute] = bool(value) if kind == "bool" else value
    else:
        run.log.leave_out(f"value of type {kind[:40]}", len(rows))


def _take_series(
    log: RunLog,
    attribute: str,
    columns: Mapping[str, Numbers | Texts],
    rows: NDArray[np.int64],
) -> None:
    """Add a series; a step without a value is a NaN, which the exporter writes as nothing."""
    steps, values, times = (columns.get(name) for name in _SERIES)
    if not isinstance(steps, Numbers) or not isinstance(values, Numbers):
        log.leave_out("value without a step", len(rows))
        return
    own = np.where(steps.there, steps.values, np.nan)[rows]
    log.add_series(attribute, own, np.where(values.there, values.values, np.nan)[rows])
    if isinstance(times, Numbers) and metric_name(attribute) in LOSSES:
        timed = rows[(times.there & steps.there)[rows]]
        log.add_series(attribute + _TIMES, steps.values[timed], times.values[timed])


def _value(column: Numbers | Texts | None, row: int) -> float | str | None:
    if isinstance(column, Numbers):
        return float(column.values[row]) if column.there[row] else None
    if isinstance(column, Texts):
        return column.texts[column.codes[row]] if column.codes[row] >= 0 else None
    return None


def _finish(run: _Run) -> None:
    """Name the columns, keep one series of times, take the parameters."""
    log = run.log
    timed = [name for name in log.columns if name.endswith(_TIMES)]
    timed.sort(key=lambda name: LOSSES[::-1].index(metric_name(name.removesuffix(_TIMES))))
    for name in timed[1:]:
        log.drop(name)
    if timed:
        log.rename(timed[0], "wall_time")
    keep_final_apart(log)
    name_columns(log)
    take_config(log, run.parameters)
    log.settings.setdefault("neptune_project", run.project)
    if run.parameters.get("sys/failed") is True:
        log.settings["status"] = "failed"
    parent = run.parameters.get("sys/forking/parent")
    if parent:
        log.settings["resumed_from"] = parent
        log.settings["resumed_from_step"] = run.parameters.get("sys/forking/step")
        log.notes.append(
            f"{log.run_id!r} branches from {parent!r}; its own records begin at the fork"
        )


FORMAT = Format("neptune", sniff, read)
