"""modded-nanogpt: ``step:125/5100 val_loss:4.5 train_time:21ms step_avg:179.31ms``.

A listing of the training script stands before the log, ended by a rule of equals signs. Its lines
are no records, but the settings in its class ``Hyperparameters`` are those of the run.
"""

from __future__ import annotations

import re
from typing import Any

from workbench.io.configs import take_config
from workbench.io.lines import Columns, has_line, literal, opening, read_lines
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed

_LINE = re.compile(r"step:([0-9]+)/([0-9]+)((?: +[a-z]\w{0,40}:\S+)+)\s*")
_STARTS = re.compile(r"^step:[0-9]+/[0-9]+ +(?:val_loss|train_loss|train_time):", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import \w|from \w[\w.]* import )", re.MULTILINE)
_RULE = re.compile(r"^={40,}\s*$", re.MULTILINE)
_SETTINGS = re.compile(r"^class Hyperparameters\b[^\n]*\n((?:[ \t][^\n]*\n|\n)*)", re.MULTILINE)
_SETTING = re.compile(r"^[ \t]+([a-z]\w{0,60}) *: *\w+ *= *(\S[^\n]{0,300})$", re.MULTILINE)
_COLUMNS = {"train_time": "train_time_ms", "step_avg": "step_avg_ms"}


def sniff(source: Source) -> bool:
    """Tell whether there is a line such as ``step:0/5100 val_loss:16.0``."""
    return has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read a log; the planned end is the number after the slash.

    Parameters
    ----------
    source : Source
        The log file, with or without the listing, or what was printed on the console.

    Raises
    ------
    DataError
        If it holds no record.
    """
    log = RunLog(source.name, source=str(source))
    listing = _listing(source)
    inside = False
    ends: dict[float, None] = {}
    columns = Columns(log, _COLUMNS, {name: "ms" for name in _COLUMNS})
    for line in read_lines(source.path, log):
        found = _LINE.fullmatch(line) if line.startswith("step:") else None
        if listing and _IMPORT.match(line):
            inside = True
        elif inside and found:
            log.leave_out("line in the listing of the training script, written like a record")
        elif inside:
            inside = _RULE.match(line) is None
        elif found:
            ends[float(found[2])] = None
            log.add(float(found[1]), _values(columns, found[3]))
    if ends:
        log.settings["total_steps"] = list(ends)[-1]
    if len(ends) > 1:
        log.notes.append(f"the planned end changes between {len(ends)} values; the last is kept")
    _take_listing(log, listing)
    return parsed([log])


def _values(columns: Columns, text: str) -> dict[str, float]:
    fields = (field.partition(":") for field in text.split())
    values = columns.take((name, value) for name, _, value in fields)
    if "val_loss" not in values:
        return values
    # The line of the training step has times of its own.
    return {f"{name}_at_eval" if name.endswith("_ms") else name: values[name] for name in values}


def _listing(source: Source) -> str:
    """Return the listing of the training script up to its rule, empty when there is none."""
    text = opening(source)
    first = _IMPORT.search(text)
    rule = _RULE.search(text, first.end()) if first else None
    return text[first.start() : rule.start()] if first and rule else ""


def _take_listing(log: RunLog, listing: str) -> None:
    block = _SETTINGS.search(listing)
    if block is None:
        return
    found: dict[str, Any] = {
        name: value
        for name, text in _SETTING.findall(block[1])
        if (value := literal(text)) is not None
    }
    total = log.settings.get("total_steps") or 0.0
    decay = found.get("warmdown_iters", found.get("cooldown_iters"))
    share = found.get("cooldown_frac")
    if isinstance(decay, float) and total:
        share = decay / total
    if isinstance(share, float) and 0 < share <= 1:
        log.settings |= {"decay_fraction": share, "schedule": "wsd"}
    # Its batch_size counts sequences over all devices; train_batch_size counts tokens.
    if "batch_size" in found and "sequence_length" in found:
        found["global_batch_size"] = found.pop("batch_size")
    elif "train_batch_size" in found and "train_bs_schedule" not in found:
        found["total_batch_size"] = found.pop("train_batch_size")
    take_config(log, found)


FORMAT = Format("modded-nanogpt", sniff, read)
