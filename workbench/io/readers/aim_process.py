"""Read an Aim repository with Aim's SDK and write what it holds, see `workbench.io.apart`.

RocksDB and SQLite end the process, or loop for ever, on some damaged repositories.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SYSTEM = "__system__"


def main(source: str, folder: str) -> None:
    """Write ``index.json`` and an array of each metric into an existing folder.

    The index says which version the repository has to be of, ``version``; where its file says the
    same or less, it also lists every run, ``runs``, and the runs whose data are damaged, ``lost``.
    The array ``N.npy`` of a metric is of shape (4, values): steps, values, times and epochs.
    """
    warnings.simplefilter("ignore")  # of what the SDK uses of its own libraries
    from aim.sdk.data_version import DATA_VERSION
    from aim.sdk.repo import Repo

    stated = tuple(map(int, (Path(source) / "VERSION").read_text(encoding="ascii").split(".")))
    index: dict[str, Any] = {"version": list(DATA_VERSION)}
    if DATA_VERSION[0] <= stated[0] and stated <= DATA_VERSION:
        repository = Repo(str(Path(source).parent))
        out = _Arrays(Path(folder))
        runs = {run.hash: _run(run, out) for run in repository.iter_runs()}
        index["runs"] = [runs[key] for key in sorted(runs)]
        index["lost"] = sorted(set(repository.list_all_runs()) - set(runs))
    (Path(folder) / "index.json").write_text(json.dumps(index), encoding="utf-8")


class _Arrays:
    """Writes arrays as numbered files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def write(self, values: np.ndarray[Any, Any]) -> int:
        """Write one array; return its number."""
        np.save(self._folder / f"{self._count}.npy", values, allow_pickle=False)
        self._count += 1
        return self._count - 1


def _run(run: Any, out: _Arrays) -> dict[str, Any]:
    metrics, system = [], 0
    for metric in run.metrics():
        if metric.name.startswith(_SYSTEM):
            system += len(metric.data.indices_list())
        else:
            context = {str(k): str(v) for k, v in metric.context.to_dict().items()}
            number = out.write(_values(metric.data))
            metrics.append({"name": metric.name, "context": context, "array": number})
    return {
        "hash": run.hash,
        "name": str(run.name or ""),
        "started": float(run.creation_time or 0.0),
        "ended": bool(run.end_time),
        "experiment": str(run.experiment or ""),
        "archived": bool(run.archived),
        "config": _plain(run[...]),
        "metrics": metrics,
        "system": system,
    }


def _values(data: Any) -> np.ndarray[Any, Any]:
    steps, columns = data.numpy()
    logged = {column: values for (column, _), values in zip(data.columns, columns, strict=True)}
    missing = np.full(len(steps), np.nan)
    rows = (steps, logged["val"], logged.get("time", missing), logged.get("epoch", missing))
    return np.stack([np.asarray(row, np.float64) for row in rows])


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it; what it does not know, as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
