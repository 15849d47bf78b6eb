"""MLflow's file store: ``mlruns/EXPERIMENT/RUN/{meta.yaml,params,metrics,tags}``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from workbench.errors import DataError
from workbench.io.readers.mlflow_meaning import describe, log_value
from workbench.io.result import Parsed, SkippedSource
from workbench.io.trackers import TrackedRun, collected, number

_META = "meta.yaml"
_LONGEST_META = 1 << 16
_LONGEST_TEXT = 1 << 16
_LONGEST_LINE = 1 << 12


def is_file_store(folder: Path) -> bool:
    """Tell whether a folder is a store of files, one of its experiments, or one of its runs."""
    try:
        return (
            _is_run(folder) or _is_experiment(folder) or any(map(_is_experiment, _inside(folder)))
        )
    except OSError:
        return False


def read_file_store(folder: Path) -> Parsed:
    """Read every run in a folder of a file store.

    Raises
    ------
    DataError
        If no run has a record.
    """
    skipped: list[SkippedSource] = []
    runs: dict[Path, TrackedRun] = {}
    try:
        for experiment, path in _run_folders(folder, skipped):
            runs[path] = _run(path, experiment)
    except OSError as error:
        msg = f"{folder} cannot be read: {error}. Check the folder and its permissions."
        raise DataError(msg) from error
    sources = {run.id: str(path) for path, run in runs.items()}
    found = collected(list(runs.values()), where=str(folder), sources=sources)
    return Parsed(found.runs, skipped=(*skipped, *found.skipped), notes=found.notes)


def _run_folders(folder: Path, skipped: list[SkippedSource]) -> Iterator[tuple[Path, Path]]:
    """Yield the folders of an experiment and of a run of it; name those that are neither."""
    if _is_run(folder):
        yield folder.parent, folder
        return
    experiments = [folder] if _is_experiment(folder) else list(_inside(folder))
    for experiment in experiments:
        if not _is_experiment(experiment):
            skipped.append(SkippedSource(source=str(experiment), reason="no MLflow experiment"))
            continue
        for path in _inside(experiment):
            if _is_run(path):
                yield experiment, path
            elif (path / _META).exists() or (path / "metrics").exists():
                reason = f"its {_META} is missing or names no run"
                skipped.append(SkippedSource(source=str(path), reason=reason))


def _inside(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")


def _is_experiment(folder: Path) -> bool:
    meta = _meta(folder)
    return {"experiment_id", "name", "lifecycle_stage"} <= set(meta) and not _run_id(meta)


def _is_run(folder: Path) -> bool:
    meta = _meta(folder)
    return {"experiment_id", "status"} <= set(meta) and bool(_run_id(meta))


def _run_id(meta: dict[str, str]) -> str:
    return meta.get("run_id") or meta.get("run_uuid") or ""


def _meta(folder: Path) -> dict[str, str]:
    """Return the plain values of a meta file, all as text; empty when there is no usable one."""
    try:
        with (folder / _META).open("rb") as file:
            text = file.read(_LONGEST_META + 1)
        # BaseLoader makes nothing but text, lists and dicts.
        content = yaml.load(text, Loader=yaml.BaseLoader) if len(text) <= _LONGEST_META else None
    except (OSError, yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    plain = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, str)}
    return {name: "" if text == "null" else text for name, text in plain.items()}


def _run(folder: Path, experiment: Path) -> TrackedRun:
    meta, about = _meta(folder), _meta(experiment)
    run = TrackedRun(
        _run_id(meta),
        meta.get("run_name", ""),
        started=number(meta.get("start_time")) or 0.0,
        family=about.get("name", ""),
    )
    describe(
        run,
        status=meta["status"],
        lifecycle=meta.get("lifecycle_stage", ""),
        params=dict(_texts(folder / "params")),
        tags=dict(_texts(folder / "tags")),
    )
    if not run.refused:
        for name, path in _files(folder / "metrics"):
            _read_metric(path, name, run)
    return run


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder with their names; one with a slash is a file in a folder."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            yield path.relative_to(folder).as_posix(), path


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for name, path in _files(folder):
        with path.open("rb") as file:
            yield name, file.read(_LONGEST_TEXT).decode("utf-8", errors="replace").rstrip("\r\n")


def _read_metric(path: Path, name: str, run: TrackedRun) -> None:
    """Add the lines ``milliseconds value step`` of one metric."""
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            parts = line.decode("ascii", errors="replace").split()
            if not line.endswith(b"\n"):
                run.left_out["line without a line end, taken as still being written"] += 1
            elif len(parts) == 2:  # before MLflow 0.9 there were no steps
                run.left_out["record without a step"] += 1
            elif parts:
                time, value, step = (*map(number, parts[:3]), None, None)[:3]
                if time is None or value is None or step is None:
                    run.left_out["line without a metric"] += 1
                else:
                    log_value(run, name, step, value, time)
