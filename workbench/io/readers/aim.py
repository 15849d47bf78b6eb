"""Aim's repository of runs, read through Aim's SDK: every step, never a sample.

The SDK has no read-only mode: opening a repository may migrate its database, recover write-ahead
logs and delete a damaged index, and what it opens read-only it looks up in that index, where runs
appear only after a server of Aim's has put them. So it is given a repository made for it in a
temporary folder: a copy of the database, links to the data of runs that are closed, copies of the
others, and no index, without which the SDK looks into every run's own data. It reads them in a
process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.io.apart import Limits, run_apart
from workbench.io.readers import aim_process
from workbench.io.result import Format, Parsed, Source
from workbench.io.sqlite_files import copy_database, read_database, require_columns
from workbench.io.trackers import TrackedRun, collected

_DATABASE, _VERSION = "run_metadata.sqlite", "VERSION"
_PARTS = ("meta", "seqs")
_TABLES = ("run", "experiment")
_TRIES = 5
_SUBSETS = {"training": "train", "validation": "val", "valid": "val", "dev": "val"}
_SYSTEM_VALUE = "value of the machine's load, whose steps are no optimiser steps"
# Of time, a sound repository takes a second to start, one for every ten megabytes and, of small
# runs, one for every thirty; of these a run has two chunks.
_WALL_SECONDS, _CPU_SECONDS, _BYTES_A_SECOND, _SECONDS_A_CHUNK = 120, 5, 1_000_000, 0.25
_MEMORY, _EXPANSION = 2 << 30, 100


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
    if importlib.util.find_spec("aim") is None:
        msg = f"{source} is read through Aim: pip install 'collapse-workbench[trackers]'"
        raise DataError(msg)
    version = _version(source.path)
    with _stand_in(source.path) as folder, tempfile.TemporaryDirectory() as out:
        try:
            run_apart(Path(aim_process.__file__), folder / ".aim", Path(out), _limits(folder))
        except DataError as error:
            said = str(error).replace(f"{folder}/.aim", str(source))
            msg = f"{source} cannot be read by Aim: {said}. Check it with: aim storage"
            raise DataError(msg) from error
        index = json.loads((Path(out) / "index.json").read_text(encoding="utf-8"))
        if "runs" not in index:
            raise _wrong_version(source.path, version, index["version"])
        runs = [_run(found, Path(out)) for found in index["runs"]]
    runs += [TrackedRun(lost, refused="its data are damaged") for lost in index["lost"]]
    return collected(sorted(runs, key=lambda run: run.id), where=str(source), sources={})


def _limits(folder: Path) -> Limits:
    chunks = list(folder.glob(".aim/*/chunks/*"))
    files = (path for chunk in chunks for path in chunk.iterdir() if path.is_file())
    size = sum(path.stat().st_size for path in files)
    more = len(chunks) * _SECONDS_A_CHUNK + size // _BYTES_A_SECOND
    return Limits(
        cpu_seconds=_CPU_SECONDS + int(more),
        wall_seconds=_WALL_SECONDS + 3 * int(more),
        memory=_MEMORY + _EXPANSION * size,
    )


def _version(path: Path) -> str:
    try:
        text = (path / _VERSION).read_text(encoding="ascii").strip()
        [int(part) for part in text.split(".")]
    except (OSError, ValueError) as error:
        msg = f"{path / _VERSION} does not hold a version such as 1.3: it is missing or damaged."
        raise DataError(msg) from error
    return text


def _wrong_version(path: Path, version: str, known: list[int]) -> DataError:
    return DataError(
        f"{path} is of Aim's version {version}, the installed Aim reads "
        f"{'.'.join(map(str, known))}. Install the Aim that wrote it, or upgrade it with: "
        "aim upgrade"
    )


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
        read_database(own / _DATABASE, lambda connection: _require_tables(connection, path))
        yield folder


def _require_tables(connection: sqlite3.Connection, path: Path) -> None:
    for table in _TABLES:  # a view in the place of one could have rows without an end
        hint = "Restore it from a copy, or check it with: aim storage"
        require_columns(connection, path / _DATABASE, table, ("id", "name"), hint=hint)


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


def _run(found: dict[str, Any], folder: Path) -> TrackedRun:
    name = found["name"]
    run = TrackedRun(
        found["hash"],
        "" if found["hash"] in name else name,  # "Run: HASH" unless the user gave one
        started=found["started"],
        family=found["experiment"],
        status="done" if found["ended"] else "running",
        config=_config(found["config"]),
    )
    if found["archived"]:
        run.more["archived"] = 1.0
    if found["system"]:
        run.left_out[_SYSTEM_VALUE] = found["system"]
    epochs: dict[float, tuple[float, float]] = {}
    for metric in found["metrics"]:
        values = np.load(folder / f"{metric['array']}.npy", allow_pickle=False)
        _add(run, _column(metric["name"], metric["context"]), values, epochs)
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


def _column(name: str, context: dict[str, str]) -> str:
    """Return a column's name: the subset before the metric's, other contexts between them."""
    rest = dict(context)
    subset = rest.pop("subset", "")
    subset = _SUBSETS.get(subset, subset)
    if subset and not rest and name.startswith((f"{subset}_", f"{subset}/")):
        return name
    parts = [subset, *(f"{key}={rest[key]}" for key in sorted(rest)), name]
    return "/".join(part for part in parts if part)


def _add(
    run: TrackedRun,
    name: str,
    found: NDArray[np.float64],
    epochs: dict[float, tuple[float, float]],
) -> None:
    """Add a metric's values to a run, and to `epochs` the epoch and time by step.

    `found` has the shape (4, values): steps, values, times, epochs.
    """
    steps, values, times, epoch_of = found
    for step, value, time in zip(steps.tolist(), values.tolist(), times.tolist(), strict=True):
        run.log(name, step, value, time)
    known = np.isfinite(epoch_of)
    pairs = zip(epoch_of[known].tolist(), times[known].tolist(), strict=True)
    epochs.update(zip(steps[known].tolist(), pairs, strict=True))


FORMAT = Format("aim", sniff, read)
