"""Offline W&B runs: a ``.wandb`` file, a run's folder, or the ``wandb`` folder of a project.

Files of one run id are attempts of one run: a resumed run writes a file of its own. They are joined
in the order they were started, and the later one wins at a step that both have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.io.configs import take_config
from workbench.io.leveldb_log import MAGIC
from workbench.io.result import Format, Parsed, SkippedSource, Source
from workbench.io.runlog import RunLog, last_of_each, parsed
from workbench.io.tags import columns_of
from workbench.io.wandb_records import WandbRun, read_run
from workbench.io.wandb_steps import STEP_COLUMNS, choose_step
from workbench.schema import LOSSES
from workbench.text import plural

_RUN_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-.+")
_OWN = {"_step": "wandb_step", "_timestamp": "wall_time", "_runtime": "wandb_runtime"}


def sniff(source: Source) -> bool:
    """Tell whether a file starts as ``.wandb`` files do, or a folder holds such files."""
    if source.path.is_dir():
        return bool(_files(source.path))
    return source.head.startswith(MAGIC)


def _files(folder: Path) -> list[Path]:
    """Return the files of a run's folder, or of all run folders in a folder."""
    own = _whole(folder)
    if own:
        return own
    below = (p for p in sorted(folder.iterdir()) if _RUN_FOLDER.fullmatch(p.name))
    return [file for p in below if p.is_dir() and not p.is_symlink() for file in _whole(p)]


def _whole(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.glob("*.wandb") if p.is_file())
    return [path for path in found if Source(path).head.startswith(MAGIC)]


def read(source: Source) -> Parsed:
    """Read the runs of a file or folder; a run is called by its W&B id.

    Raises
    ------
    DataError
        If there is no history.
    """
    paths = [source.path] if source.path.is_file() else _files(source.path)
    attempts: dict[str, list[tuple[WandbRun, Path]]] = {}
    for path in paths:
        run = read_run(path)
        run_id = run.run_id or path.stem.removeprefix("run-")
        attempts.setdefault(run_id, []).append((run, path))
    logs = [_run_log(run_id, own, str(source)) for run_id, own in attempts.items()]
    having = [log for log in logs if any(log.has(loss) for loss in LOSSES)]
    if not having:
        return parsed(logs)
    skipped = [
        SkippedSource(source=f"{log.source}: {log.run_id}", reason="it logs no loss")
        for log in logs
        if len(log) and log not in having
    ]
    return parsed([log for log in logs if log in having or not len(log)], skipped=skipped)


def _run_log(run_id: str, own: list[tuple[WandbRun, Path]], source: str) -> RunLog:
    log = RunLog(run_id, source=source)
    own = sorted(own, key=lambda each: (each[0].started, str(each[1])))
    runs = [run for run, _ in own if run.run_id or run.rows] or [own[-1][0]]
    for run, path in own:
        for what, count in run.left_out.items():
            if count:
                log.leave_out(what, count)
        if not run.rows:
            log.notes.append(f"{path} holds no history")
    rows = [row for run in runs for row in run.rows]
    _take_rows(log, rows, list(dict.fromkeys(name for run in runs for name in run.step_metrics)))
    if len(runs) > 1:
        log.notes.append(f"{len(runs)} files are attempts of {run_id!r}, joined in their order")
        counters = [row["_step"] for run in runs[1:] for row in run.rows[:1] if "_step" in row]
        if "wandb_step" not in log.columns and counters and min(counters) == 0:
            log.notes.append(
                f"a later attempt of {run_id!r} counts log calls from 0 again: if it went on from "
                "a checkpoint its steps are too low; log the optimiser step to tell"
            )
    _take_settings(log, runs, {name for row in rows for name in row})
    return log


def _take_rows(log: RunLog, rows: Sequence[dict[str, float]], declared: list[str]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns, notes = columns_of(name for name in names if name not in _OWN)
    losses = {name for name, column in columns.items() if column in LOSSES}
    with_loss = np.array([not losses.isdisjoint(row) for row in rows], dtype=bool)
    candidates = {
        name: _column(rows, name) for name in (*STEP_COLUMNS, *declared, "_step") if name in names
    }
    logged = with_loss if with_loss.any() else np.ones(len(rows), bool)
    chosen, why = choose_step(candidates, logged, declared=declared)
    if not rows:
        return
    log.notes += [*notes, why]
    steps = candidates.get(chosen, np.full(len(rows), np.nan))
    for name in names:
        values = _column(rows, name)
        there = np.array([name in row for row in rows])
        if name == chosen:
            continue
        if name not in _OWN:
            log.add_series(columns[name], steps[there], values[there])
            continue
        own = _OWN[name] if _OWN[name] not in columns.values() else f"wandb{name}"
        usable = there & (steps >= 0)  # bookkeeping, one value a step: several rows may share it
        log.add_series(own, *last_of_each(steps[usable], values[usable]))


def _column(rows: Sequence[dict[str, float]], name: str) -> NDArray[np.float64]:
    return np.array([row.get(name, math.nan) for row in rows], dtype=np.float64)


def _take_settings(log: RunLog, runs: list[WandbRun], history: set[str]) -> None:
    last = runs[-1]
    codes = [run.exit_code for run in runs]
    log.settings["status"] = {None: "running", 0: "done"}.get(codes[-1], "failed")
    if codes[-1] is None:
        log.notes.append(f"{log.run_id!r} has no end in its log: still running, or killed")
    for name in ("name", "project", "entity", "group", "job_type"):
        log.settings[f"wandb_{name}"] = getattr(last, name)
    for run in runs:
        if run.branch is not None:
            log.settings["branched_from"], log.settings["branched_at_step"] = run.branch
    config: dict[str, object] = {}
    summary: dict[str, object] = {}
    for run in runs:
        config |= run.config
        summary |= run.summary
    take_config(log, {name: value for name, value in config.items() if name != "_wandb"})
    known = history | {name.partition(".")[0] for name in history}
    apart = {
        name: value
        for name, value in summary.items()
        if not (
            name in known or name.startswith("_") or (isinstance(value, dict) and "_type" in value)
        )
    }
    if apart:
        take_config(log, apart)
        log.notes.append(f"{plural(len(apart), 'summary value')} kept as settings of the run")


FORMAT = Format("wandb", sniff, read)
