"""torchtitan: ``step: 10  loss: 10.7  grad_norm: 1.9  memory: 31.0GiB(32.6%)  tps: 7,034``.

The lines carry a prefix of the logger, colours, and the rank; a validation is a line
``validate step: 10  loss: 9.8``. Ranks of a pipeline's other stages print a loss of -1 or -2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from workbench.io.configs import take_config
from workbench.io.lines import (
    Columns,
    JsonBlock,
    has_line,
    number,
    read_ranked_lines,
)
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed

_LINE = re.compile(r"(?:^| )(validate )?step: *([0-9]+) +(loss: .*)")
_STARTS = re.compile(
    r"(?: - INFO - |^)(?:validate )?step: *[0-9]+ +loss: +\S+ +(?:\w+: *\S+ +){0,4}m?memory: ",
    re.MULTILINE,
)
_FIELD = re.compile(r"\b([a-zA-Z]\w{0,40}): *(\S+)")
_PLAN = re.compile(
    r"local batch size ([0-9]+), global batch size ([0-9]+),"
    r"(?: gradient accumulation steps ([0-9]+),)?"
    r" sequence length ([0-9]+), total steps ([0-9]+) \(warmup ([0-9]+)\)"
)
_SIZE = re.compile(r"Model (\S+) (\S+) size: ([0-9,]+) total parameters")
_COLUMNS = {
    "loss": "train_loss",
    "memory": "memory_gib",
    "mmemory": "memory_gib",  # as printed by versions of early 2025
    "tps": "tokens_per_second_per_device",
    "wps": "tokens_per_second_per_device",
    "validation_loss": "eval_loss",
    "validation_memory": "validation_memory_gib",
}
_UNITS = {"mfu": "%"}


def sniff(source: Source) -> bool:
    """Tell whether there is a line of a training step or of a validation."""
    return has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read the console output of any rank; of several ranks, the first that prints a loss counts.

    Parameters
    ----------
    source : Source
        The planned end, the batch and the warm-up are in the line that says that the trainer is
        initialised, the rest of the settings in the config where it was printed.

    Raises
    ------
    DataError
        If it holds no record.
    """
    log = RunLog(source.name, source=str(source))
    block, columns = JsonBlock(), Columns(log, _COLUMNS, _UNITS)
    config: dict[str, Any] = {}
    only: tuple[int | None] | None = None
    for rank, line in read_ranked_lines(source.path, log):
        found = _LINE.search(line) if "step:" in line else None
        if found is None:
            _take_header(log, line, block, config)
            continue
        if only is not None and only[0] != rank:
            log.leave_out("line of another rank")
            continue
        values = columns.take(_fields(found))
        if (values.get("train_loss", 0.0) < 0) or (values.get("eval_loss", 0.0) < 0):
            log.leave_out("line of a pipeline stage that does not know the loss")
            continue
        only = (rank,)
        log.add(float(found[2]), values)
    take_config(log, config)
    return parsed([log])


def _fields(found: re.Match[str]) -> Iterator[tuple[str, str]]:
    prefix = "validation_" if found[1] else ""
    for name, text in _FIELD.findall(found[3]):
        yield f"{prefix}{name}", text.partition("GiB(")[0]


def _take_header(log: RunLog, line: str, block: JsonBlock, config: dict[str, Any]) -> None:
    if found := _PLAN.search(line):
        local, total, accumulated, length, steps, warmup = (
            None if text is None else float(text) for text in found.groups()
        )
        log.settings |= {"total_steps": steps, "warmup_steps": warmup}
        if total and length:
            log.settings["batch_size"] = total * length
        log.settings |= {"local_batch_size": local, "gradient_accumulation_steps": accumulated}
        log.settings |= {"global_batch_size": total, "seq_len": length}
    elif found := _SIZE.search(line):
        log.settings |= {"model_size": number(found[3]), "model": f"{found[1]} {found[2]}"}
    elif (settings := block.take(line)) is not None:
        config |= settings


FORMAT = Format("torchtitan", sniff, read)
