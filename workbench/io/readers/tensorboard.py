"""TensorBoard event files: one file, or a folder of runs.

A folder that holds event files is a run; so is every folder below it, except those that PyTorch's
``add_hparams`` and ``add_scalars`` make for a run's own use, which are taken into the run. Several
files of one folder are restarts: they are joined in the order of their first record, and the later
one wins at a step that both have. Where a restart says from which step on it repeats the run
(``purge_step``, a session log), what came before and lies at that step or later is left out, as
TensorBoard does: it belongs to weights that were thrown away.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.io.config_files import take_config_files
from workbench.io.configs import take_config
from workbench.io.event_files import read_events, starts_as_events
from workbench.io.event_log import EventLog, Point
from workbench.io.event_scanner import has_kernel
from workbench.io.result import Format, Parsed, SkippedSource, Source
from workbench.io.runlog import RunLog, last_of_each, parsed, usable_name
from workbench.io.tags import columns_of
from workbench.schema import LOSSES
from workbench.text import plural

_LARGE = 1 << 23  # bytes that take seconds without the compiled scanner
_OTHER_AXIS = re.compile(r"(.+) vs (?:samples|tokens)$")


@dataclass
class _Folder:
    """One folder of event files."""

    name: str
    path: Path
    log: EventLog

    def tags(self) -> list[str]:
        return [tag.decode("utf-8", errors="backslashreplace") for tag in self.log.tags]


def sniff(source: Source) -> bool:
    """Tell whether a file starts with TensorBoard's version record, or a folder holds such one."""
    if source.path.is_dir():
        return any(starts_as_events(Source(path).head) for path in _event_files(source.path))
    return starts_as_events(source.head)


def read(source: Source) -> Parsed:
    """Read an event file, or a folder of runs.

    Raises
    ------
    DataError
        If there is no event, or no scalar.
    """
    folders = list(_folders(source))
    runs = _without_helpers(folders)
    logs = [_run_log(folder, inner, str(source)) for folder, inner in runs]
    if source.path.is_dir():
        _mention_other_files(logs[0], source.path)
    return _with_losses(logs)


def _with_losses(logs: list[RunLog]) -> Parsed:
    """Leave out, by name, runs without any loss where there are others."""
    having = [log for log in logs if any(log.has(loss) for loss in LOSSES)]
    if not having:
        return parsed(logs)
    skipped = [
        SkippedSource(source=f"{log.source}: {log.run_id}", reason="it logs no loss")
        for log in logs
        if len(log) and log not in having
    ]
    return parsed([log for log in logs if log in having or not len(log)], skipped=skipped)


def _event_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if "tfevents" in p.name and p.is_file())


def _folders(source: Source) -> Iterator[_Folder]:
    if source.path.is_file():
        yield _Folder(source.name, source.path.parent, _joined([source.path]))
        return
    for root, inner, _ in os.walk(source.path):
        inner.sort()
        folder = Path(root)
        files = _event_files(folder)
        if files:
            below = folder.relative_to(source.path).as_posix()
            name = source.name if below == "." else f"{source.name}/{below}"
            yield _Folder(name, folder, _joined(files))


def _joined(paths: list[Path]) -> EventLog:
    """Read the files of one run, the one that was started first before the others.

    Raises
    ------
    DataError
        If none holds an event.
    """
    parts = sorted(((read_events(path), path) for path in paths), key=_start)
    for part, path in parts:
        if math.isinf(part.first_time):
            part.notes.append(f"{path} holds no event")
    log, first = parts[0]
    if math.isinf(log.first_time):
        msg = f"{first} holds no TensorBoard event. Import it when the first has been written."
        raise DataError(msg)
    for part, _ in parts[1:]:
        log.join(part)
    if len(parts) > 1:
        log.notes.append(f"{len(parts)} event files are one run, joined in the order they started")
    if sum(path.stat().st_size for path in paths) > _LARGE and not has_kernel():
        log.notes.append(
            "read by the interpreter: pip install 'collapse-workbench[fast]' reads event files "
            "over ten times as fast"
        )
    return log


def _start(part: tuple[EventLog, Path]) -> tuple[float, str]:
    return part[0].first_time, part[1].name


def _without_helpers(folders: list[_Folder]) -> list[tuple[_Folder, list[_Folder]]]:
    """Return runs, each with the folders that its writer made for hyper-parameters or groups."""
    runs: list[tuple[_Folder, list[_Folder]]] = []
    at: dict[Path, list[_Folder]] = {}
    for folder in folders:
        owner = at.get(folder.path.parent)
        if owner is not None and (_is_group(folder) or _is_session(folder)):
            owner.append(folder)
        else:
            at[folder.path] = []
            runs.append((folder, at[folder.path]))
    return runs


def _is_group(folder: _Folder) -> bool:
    """Tell whether PyTorch's ``add_scalars`` made a folder: ``TAG_NAME`` with the one tag TAG."""
    tags = [tag.replace("/", "_") for tag in folder.tags() if tag]
    return len(tags) == len(folder.log.tags) == 1 and folder.path.name.startswith(f"{tags[0]}_")


def _is_session(folder: _Folder) -> bool:
    """Tell whether PyTorch's ``add_hparams`` made it: hyper-parameters and one value a tag."""
    return bool(folder.log.hparams) and len(folder.log) == len(folder.log.tags)


def _run_log(folder: _Folder, inner: list[_Folder], source: str) -> RunLog:
    log = RunLog(folder.name, source=source)
    series = _series(folder, log)
    hparams = dict(folder.log.hparams)
    for each in inner:
        if _is_session(each):
            hparams |= each.log.hparams
            finals = zip(each.tags(), each.log.points.value.tolist(), strict=True)
            log.settings |= {usable_name(tag): value for tag, value in finals}
        else:
            (tag,) = each.tags()
            group = each.path.name[len(tag) + 1 :]
            series |= {f"{tag}/{group}": points for points in _series(each, log).values()}
    take_config(log, {**_texts(folder.log, log), **hparams})
    take_config_files(log, folder.path)
    _add(log, series)
    return log


def _series(folder: _Folder, log: RunLog) -> dict[str, Point]:
    """Return the points of each tag in the order they were written, without void ones."""
    for what, count in folder.log.left_out.items():
        log.leave_out(what, count)
    log.notes += folder.log.notes
    points = folder.log.points
    void = _void(points.step, folder.log.restarts)
    if void.any():
        steps = sorted({step for _, step in folder.log.restarts})
        log.leave_out(f"value that a restart at step {steps[0]} made void", int(void.sum()))
        points = points.at(~void)
    names = folder.tags()
    points = points.at(np.argsort(points.tag, kind="stable"))
    ends = np.cumsum(np.bincount(points.tag, minlength=len(names))).tolist()
    parts = map(slice, [0, *ends], ends)
    return {name: points.at(part) for name, part in zip(names, parts, strict=True)}


def _void(steps: NDArray[np.int64], restarts: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Tell which points a later restart repeats: the lowest step of all that follow decides."""
    if not restarts:
        return np.zeros(len(steps), bool)
    counts, firsts = np.array(restarts, dtype=np.int64).T
    lowest = np.minimum.accumulate(firsts[::-1])[::-1]
    following = np.searchsorted(counts, np.arange(len(steps)), side="right")
    ahead = np.append(lowest, np.iinfo(np.int64).max)[following]
    void: NDArray[np.bool_] = steps >= ahead
    return void


def _texts(events: EventLog, log: RunLog) -> dict[str, Any]:
    """Return text summaries as settings; one that changed over the run is none."""
    out: dict[str, Any] = {}
    for tag, said in events.texts.items():
        if len(set(said)) > 1:
            log.leave_out("text of a tag that varies", len(said))
            continue
        out |= _setting(tag.removesuffix("/text_summary"), said[0])
    return out


def _setting(name: str, said: str) -> Mapping[str, Any]:
    if said.lstrip().startswith("{"):
        try:
            config = json.loads(said)
        except (ValueError, RecursionError):
            config = None
        if isinstance(config, dict):
            return config
    return {name: said}


def _add(log: RunLog, series: Mapping[str, Point]) -> None:
    kept = {}
    for tag, points in series.items():
        other = _OTHER_AXIS.fullmatch(tag)
        if other is not None and other[1] in series:
            log.leave_out(f"value of {tag!r}, which {other[1]!r} has by step", len(points.step))
        else:
            kept[tag] = points
    names, notes = columns_of(kept)
    log.notes += notes
    for tag, points in kept.items():
        own_step = names[tag] == f"logged_{tag}" and np.array_equal(points.step, points.value)
        if not own_step:
            log.add_series(names[tag], points.step, points.value)
    if kept:
        clock = "wall_time" if "wall_time" not in names.values() else "event_wall_time"
        log.add_series(clock, *_last_times(kept.values()))


def _last_times(series: Iterable[Point]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the steps at which anything was logged, and when that was done last."""
    steps: list[NDArray[np.int64]] = []
    times: list[NDArray[np.float64]] = []
    for points in series:
        if steps and np.array_equal(steps[-1], points.step):  # tags that are logged together
            times[-1] = np.maximum(times[-1], points.wall_time)
        else:
            steps.append(points.step)
            times.append(points.wall_time)
    all_steps, all_times = np.concatenate(steps), np.concatenate(times)
    order = np.argsort(all_times, kind="stable")
    usable = order[all_steps[order] >= 0]
    return last_of_each(all_steps[usable], all_times[usable])


def _mention_other_files(log: RunLog, folder: Path) -> None:
    others = sorted(
        path for path in folder.iterdir() if path.is_file() and path.suffix in (".csv", ".jsonl")
    )
    if others:
        log.notes.append(
            f"{plural(len(others), 'table')} beside the event files not read, such as "
            f"{others[0].name}; import them by their own paths"
        )


FORMAT = Format("tensorboard", sniff, read)
