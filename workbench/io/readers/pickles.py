"""The supercollapse repository's pickles: a pandas table, a run a row, its history a table in it.

Nothing in the file is run: see `workbench.io.pickled`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.errors import DataError
from workbench.io.json_text import as_number
from workbench.io.pickled import LARGEST_FILE, read_pickle
from workbench.io.pickled_tables import MAKERS, Table
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed
from workbench.text import plural

_HISTORY = "history"
_PETA = 1e15
# Their name: ours. D is the width, B examples a step of L tokens, -1 stands for not recorded.
_SETTINGS = {"D": "width", "N": "depth", "lr": "peak_lr", "decay_frac": "decay_fraction"}
_COLUMNS = {
    "test_loss": "eval_loss",
    "lr": "learning_rate",
    "compute": "compute_pflop",
    "tau": "learning_rate_sum",  # not the AdamW timescale of that name
    "Buvar": "noise_trace",
}
_SCHEDULES = {"const": "constant", "cos": "cosine", "quad": "quadratic"}
_IDENTITY = ("D", "schedule", "decay_frac", "lr", "B", "seed")


def sniff(source: Source) -> bool:
    """Tell whether this is a pickle of protocol 2 to 5 that begins with a pandas table."""
    head = source.head[:400]
    return head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and b"DataFrame" in head


def read(source: Source) -> Parsed:
    """Read the runs of a pickled table; rows that repeat another one byte for byte are merged.

    Raises
    ------
    DataError
        If the pickle asks for anything but a table, or the table has no histories.
    """
    if source.path.stat().st_size > LARGEST_FILE:
        content = b""
        with source.path.open("rb") as file:  # one byte too many, for the message of the limit
            content = file.read(LARGEST_FILE + 1)
    else:
        content = source.path.read_bytes()
    table = read_pickle(content, MAKERS, where=str(source))
    rows = _rows(table, source)
    kept = _without_repeats(rows)
    _require_within(kept, len(content), source)
    logs = [_log(row, name, source) for row, name in zip(kept, _names(kept, source), strict=True)]
    if len(kept) < len(rows) and logs:
        logs[0].notes.append(
            f"{len(rows) - len(kept)} of {plural(len(rows), 'row')} repeat a run byte for byte: "
            f"merged into {plural(len(kept), 'run')}"
        )
    return parsed(logs)


def _rows(table: object, source: Source) -> list[dict[str, Any]]:
    columns = table.columns if isinstance(table, Table) else {}
    if not isinstance(columns.get(_HISTORY), list):
        msg = (
            f"{source} is a pickle, but not of runs as the supercollapse repository stores them: a "
            f"table with a column {_HISTORY!r} of tables. Save it as Parquet or CSV."
        )
        raise DataError(msg)
    names = list(columns)
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    for i, row in enumerate(rows):
        history = row[_HISTORY]
        if not isinstance(history, Table) or "step" not in history.columns:
            msg = f"row {i} of {source} has no history with a column 'step'. Save the runs again."
            raise DataError(msg)
    return rows


def _without_repeats(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = {}
    digests: dict[int, str] = {}
    for row in rows:
        history = row[_HISTORY]
        if id(history) not in digests:
            digests[id(history)] = _digest(history)
        head = {name: repr(_plain(value)) for name, value in row.items() if name != _HISTORY}
        kept.setdefault(f"{digests[id(history)]} {head}", row)
    return list(kept.values())


def _digest(history: Table) -> str:
    content = hashlib.sha256()
    for name, values in history.columns.items():
        content.update(f"{name}:{len(values)}\n".encode(errors="replace"))
        content.update(np.ascontiguousarray(_numbers(values)).tobytes())
    return content.hexdigest()


def _require_within(rows: Sequence[dict[str, Any]], size: int, source: Source) -> None:
    """Refuse a small file whose rows share one large history: it would unfold in memory."""
    cells = sum(len(c) for row in rows for c in row[_HISTORY].columns.values())
    if cells > size:
        msg = f"{source} unfolds to {cells} values from {size} bytes. Save the runs again."
        raise DataError(msg)


def _numbers(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(values, list):
        known = [as_number(value) for value in values]
        return np.array([np.nan if n is None else n for n in known], np.float64)
    return np.asarray(values, np.float64)


def _plain(value: Any) -> Any:
    """Return a number or text as Python has it; of others, which may unfold without end, the type.

    See `workbench.io.pickled_tables`.
    """
    value = value.item() if isinstance(value, np.generic) else value
    plain = value is None or isinstance(value, str | bool | int | float)
    return value if plain else type(value)


def _log(row: Mapping[str, Any], name: str, source: Source) -> RunLog:
    log = RunLog(name, source=str(source))
    _take_settings(log, row)
    columns = row[_HISTORY].columns
    steps = _numbers(columns["step"])
    for given, values in columns.items():
        if given != "step":
            log.add_series(_COLUMNS.get(given, given), steps, _numbers(values))
    return log


def _take_settings(log: RunLog, row: Mapping[str, Any]) -> None:
    for name, given in row.items():
        value = _plain(given)
        if isinstance(value, str) and name == "schedule":
            log.settings["schedule"] = _SCHEDULES.get(value, value)
        elif isinstance(value, str) and len(value) <= 500:
            log.settings[name] = value
        elif (number := as_number(value)) is not None and number != -1:
            log.settings[_SETTINGS.get(name, name)] = number
    size = log.settings.pop("num_params", None)
    other = log.settings.pop("P", None)
    log.settings["model_size"] = size or other
    examples, length = log.settings.pop("B", None), log.settings.get("L")
    if examples is not None and length is not None:
        log.settings["batch_size"] = examples * length
    _check_batch(log, row[_HISTORY].columns)


def _check_batch(log: RunLog, columns: Mapping[str, Any]) -> None:
    """Take the batch size from the compute, which is 6·N·B·steps, where ``B`` contradicts it."""
    size, said = log.settings.get("model_size"), log.settings.get("batch_size")
    if not size or "compute" not in columns:
        return
    steps, compute = _numbers(columns["step"]), _numbers(columns["compute"])
    counted = (steps > 0) & np.isfinite(compute)
    if not counted.any():
        return
    batch = float(np.median(compute[counted] * _PETA / steps[counted])) / (6 * size)
    if batch > 0 and (said is None or abs(batch / said - 1) > 0.01):
        log.settings["batch_size"] = float(round(batch))
        log.notes.append(
            f"batch size {batch:.0f} taken from the compute, 6·N·B a step; columns B and L say "
            f"{'nothing' if said is None else f'{said:g}'}"
        )


def _names(rows: Sequence[Mapping[str, Any]], source: Source) -> list[str]:
    """Name runs by what tells them apart, such as ``mlp_const-D384-const-seed0``."""
    used = [
        name
        for name in _IDENTITY
        if all(name in row for row in rows)
        and (name in ("D", "schedule", "seed") or len({repr(row[name]) for row in rows}) > 1)
    ]
    names: list[str] = []
    counts: dict[str, int] = {}
    for row in rows:
        parts = [source.name]
        for key in used:
            value = _plain(row[key])
            text = f"{value:g}" if isinstance(value, int | float) else str(value)[:40]
            parts.append(text if key == "schedule" else f"{key}{text}")
        name = "-".join(parts)
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return names


FORMAT = Format("supercollapse", sniff, read)
