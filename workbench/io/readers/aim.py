"""Aim's repository of runs, read through Aim's SDK: every step, never a sample.

The SDK has no read-only mode: opening a repository may migrate its database, recover write-ahead
logs and delete a damaged index, and what it opens read-only it looks up in that index, where runs
appear only after a server of Aim's has put them. So it is given a repository made for it in a
temporary folder: a copy of the database, links to the data of runs that are closed, copies of the
others, and no index, without which the SDK looks into every run's own data.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import DataError
from workbench.io.result import Format, Parsed, Source
from workbench.io.sqlite_files import copy_database
from workbench.io.trackers import TrackedRun, collected

_DATABASE, _VERSION = "run_metadata.sqlite", "VERSION"
_PARTS = ("meta", "seqs")
_TRIES = 5
_SUBSETS = {"training": "train", "validation": "val", "valid": "val", "dev": "val"}
_SYSTEM = "__system__"
_SYSTEM_VALUE = "value of the machine's load, whose steps are no optimiser steps"


def sniff(source: Source) -> bool:
    """Tell whether this is Aim's folder, which it calls ``.aim``."""
    path = source.path
    return (path / _DATABASE).is_file() and all((path / part).is_dir() for part in _PARTS)


def read(source: Source) -> Parsed:
    """Read every run; its experiment is its family, its contexts become part of column names.

    Raises
    ------
    DataError
        If Aim is missing, the repository is damaged or newer than Aim, or no run has a record.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the SDK uses of its own libraries
        return _read(source)


def _read(source: Source) -> Parsed:
    try:
        from aim.sdk.repo import Repo
    except ImportError as error:
        msg = f"{source} is read through Aim: pip install 'collapse-workbench[trackers]'"
        raise DataError(msg) from error
    _check_version(source.path)
    with _stand_in(source.path) as folder:
        try:
            runs = _runs(Repo(str(folder)))
        # Aim lets through what RocksDB, SQLAlchemy and its own decoder raise on damaged data.
        except Exception as error:
            said = str(error).replace(f"{folder}/.aim", str(source))
            reason = " ".join(said.split()) or type(error).__name__
            msg = f"{source} cannot be read by Aim: {reason}. Check it with: aim storage"
            raise DataError(msg) from error
        finally:
            gc.collect()  # the SDK's handles close when nothing refers to them
    return collected(runs, where=str(source), sources={})


def _check_version(path: Path) -> None:
    from aim.sdk.data_version import DATA_VERSION

    try:
        parts = (path / _VERSION).read_text(encoding="ascii").strip().split(".")
        version = tuple(map(int, parts))
    except (OSError, ValueError) as error:
        msg = f"{path / _VERSION} does not hold a version such as 1.3: it is missing or damaged."
        raise DataError(msg) from error
    if version > DATA_VERSION or version[0] < DATA_VERSION[0]:
        known = ".".join(map(str, DATA_VERSION))
        msg = (
            f"{path} is of Aim's version {'.'.join(parts)}, the installed Aim reads {known}. "
            "Install the Aim that wrote it, or upgrade it with: aim upgrade"
        )
        raise DataError(msg)


@contextmanager
def _stand_in(path: Path) -> Iterator[Path]:
    """Give a folder with a repository that the SDK may do with as it likes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = folder / ".aim"
        try:
            for part in _PARTS:
                (own / part / "chunks").mkdir(parents=True)
                for chunk in sorted((path / part / "chunks").glob("*/")):
                    _lend(chunk, own / part / "chunks" / chunk.name)
            (own / "locks").mkdir()
            shutil.copyfile(path / _VERSION, own / _VERSION)
        except (OSError, shutil.Error) as error:
            msg = f"{path} cannot be copied to {folder}: {error}. Check space and permissions."
            raise DataError(msg) from error
        copy_database(path / _DATABASE, own / _DATABASE)
        yield folder


def _lend(chunk: Path, target: Path) -> None:
    """Link the data of a run; copy them when the SDK would write to them, to flush a log."""
    if not any(log.stat().st_size for log in chunk.glob("*.log")):
        try:
            target.symlink_to(chunk.resolve(), target_is_directory=True)
            return
        except OSError:  # as on Windows without the right to
            pass
    for _ in range(_TRIES):
        before = _settled(chunk)
        shutil.rmtree(target, ignore_errors=True)
        try:
            shutil.copytree(chunk, target)
        except (shutil.Error, OSError):
            continue
        if _settled(chunk) == before:
            return
    msg = f"{chunk} changed each time it was read. Import it when its writer pauses or is done."
    raise DataError(msg)


def _settled(chunk: Path) -> list[tuple[str, int]]:
    """Return the files of a run's data but its logs, of which any beginning is good."""
    files = sorted(p for p in chunk.iterdir() if p.suffix != ".log" and not p.name.startswith("LO"))
    return [(p.name, p.stat().st_size) for p in files]


def _runs(repo: Any) -> list[TrackedRun]:
    runs = {run.hash: _run(run) for run in repo.iter_runs()}
    for lost in set(repo.list_all_runs()) - set(runs):
        runs[lost] = TrackedRun(lost, refused="its data are damaged")
    return [runs[key] for key in sorted(runs)]


def _run(given: Any) -> TrackedRun:
    name = str(given.name or "")
    run = TrackedRun(
        given.hash,
        "" if given.hash in name else name,  # "Run: HASH" unless the user gave one
        started=float(given.creation_time or 0.0),
        family=str(given.experiment or ""),
        status="done" if given.end_time else "running",
        config=_config(given[...]),
    )
    if given.archived:
        run.more["archived"] = 1.0
    epochs: dict[float, tuple[float, float]] = {}
    for metric in given.metrics():
        if metric.name.startswith(_SYSTEM):
            run.left_out[_SYSTEM_VALUE] += len(metric.data.indices_list())
        else:
            _add(run, _column(metric.name, metric.context.to_dict()), metric.data, epochs)
    if "epoch" not in run.metrics:
        for step, (epoch, time) in epochs.items():
            run.log("epoch", step, epoch, time)
    return run


def _config(attributes: Any) -> dict[str, Any]:
    """Return a run's parameters, those customarily under "hparams" without that name."""
    given = dict(attributes) if isinstance(attributes, Mapping) else {}
    customary = given.pop("hparams", {})
    own = {str(name): value for name, value in given.items() if not str(name).startswith("__")}
    return {**own, **(customary if isinstance(customary, Mapping) else {"hparams": customary})}


def _column(name: str, context: Mapping[str, Any]) -> str:
    """Return a column's name: the subset before the metric's, other contexts between them."""
    rest = {str(key): str(value) for key, value in context.items()}
    subset = rest.pop("subset", "")
    subset = _SUBSETS.get(subset, subset)
    if subset and not rest and name.startswith((f"{subset}_", f"{subset}/")):
        return name
    parts = [subset, *(f"{key}={rest[key]}" for key in sorted(rest)), name]
    return "/".join(part for part in parts if part)


def _add(run: TrackedRun, name: str, data: Any, epochs: dict[float, tuple[float, float]]) -> None:
    """Add a metric's values to a run, and to `epochs` the epoch and time by step."""
    steps, columns = data.numpy()
    logged = {column: values for (column, _), values in zip(data.columns, columns, strict=True)}
    missing = np.full(len(steps), np.nan)
    times, epoch_of = (np.asarray(logged.get(c, missing), np.float64) for c in ("time", "epoch"))
    values = np.asarray(logged["val"], np.float64)
    for step, value, time in zip(steps.tolist(), values.tolist(), times.tolist(), strict=True):
        run.log(name, step, value, time)
    known = np.isfinite(epoch_of)
    pairs = zip(epoch_of[known].tolist(), times[known].tolist(), strict=True)
    epochs.update(zip(steps[known].tolist(), pairs, strict=True))


FORMAT = Format("aim", sniff, read)
