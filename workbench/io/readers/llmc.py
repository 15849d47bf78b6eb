"""llm.c: ``main.log``, with lines ``s:250 tel:4.9`` and ``s:250 trl:5.1 lr:0.0006 norm:1.2``."""

from __future__ import annotations

import re

from workbench.io.lines import Columns, has_line, read_lines
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed

_LINE = re.compile(r"s:([0-9]+) (tel|trl|eval):(\S+)(?: lr:(\S+))?(?: norm:(\S+))?\s*")
_STARTS = re.compile(r"^s:[0-9]+ (?:tel|trl|eval):", re.MULTILINE)
_COLUMNS = {
    "tel": "eval_loss",
    "trl": "train_loss",
    "eval": "hellaswag_accuracy",
    "lr": "learning_rate",
    "norm": "grad_norm",
}


def sniff(source: Source) -> bool:
    """Tell whether there is a line such as ``s:0 tel:10.97``."""
    return has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read a ``main.log``; it states no settings and no planned end.

    Parameters
    ----------
    source : Source
        A run that was resumed appends to its log, so that steps go back.

    Raises
    ------
    DataError
        If it holds no record.
    """
    log = RunLog(source.name, source=str(source))
    columns = Columns(log, _COLUMNS)
    for line in read_lines(source.path, log):
        found = _LINE.fullmatch(line)
        if found:
            step, kind, value, rate, norm = found.groups()
            log.add(float(step), columns.take([(kind, value), ("lr", rate), ("norm", norm)]))
        elif line.strip():
            log.leave_out("line without a record of llm.c")
    return parsed([log])


FORMAT = Format("llmc", sniff, read)
