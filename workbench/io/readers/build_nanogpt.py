"""build-nanogpt: its console (``step  250 | loss: 6.1 | lr 6e-04 | …``) and its ``log.txt``.

On the console an evaluation does not name its step: it is printed before the line of the step it
belongs to. In ``log.txt`` every line does: ``250 val 6.54``, ``250 hella 0.25``, ``250 train 6.6``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.io.configs import take_config
from workbench.io.lines import Columns, has_line, number, read_lines
from workbench.io.readers.nanogpt import PARAMETERS
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed

_STEP = re.compile(r"step +([0-9]+) \| (loss: .*)")
_EVAL = re.compile(r"(validation loss|HellaSwag accuracy): (?:[0-9]+/[0-9]+=)?(\S+)\s*")
_FILE = re.compile(r"([0-9]+) (val|train|hella) (\S+)\s*")
_STARTS = re.compile(r"^step +[0-9]+ \| loss: \S+ \| ", re.MULTILINE)
_FILE_STARTS = re.compile(r"\A(?:[0-9]+ (?:val|train|hella) [0-9.a-z]+\n)+")
_BATCH = re.compile(r"total desired batch size: ([0-9,]+)\s*")
_COLUMNS = {
    "loss": "train_loss",
    "lr": "learning_rate",
    "norm": "grad_norm",
    "dt": "step_time_ms",
    "tok/sec": "tokens_per_second",
    "validation loss": "eval_loss",
    "HellaSwag accuracy": "hellaswag_accuracy",
    "val": "eval_loss",
    "train": "train_loss",
    "hella": "hellaswag_accuracy",
}


def sniff(source: Source) -> bool:
    """Tell whether there is a line of a training step, or the file starts like ``log.txt``."""
    return bool(_FILE_STARTS.match(source.head_text)) or has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read the console output or ``log.txt``; neither states the planned end.

    Parameters
    ----------
    source : Source
        The console also says the batch in tokens and the number of parameters.

    Raises
    ------
    DataError
        If it holds no record.
    """
    log = RunLog(source.name, source=str(source))
    columns = Columns(log, _COLUMNS, {"dt": "ms"})
    waiting: dict[str, float] = {}
    config: dict[str, float] = {}
    sizes: dict[str, float] = {}
    last = -1.0
    for line in read_lines(source.path, log):
        if line.startswith("step ") and (found := _STEP.fullmatch(line)):
            last = float(found[1])
            log.add(last, waiting | columns.take(_fields(found[2])))
            waiting = {}
        elif found := _EVAL.fullmatch(line):
            waiting |= columns.take([(found[1], found[2])])
        elif found := _FILE.fullmatch(line):
            log.add(float(found[1]), columns.take([(found[2], found[3])]))
        elif found := PARAMETERS.match(line):
            sizes["decayed" if line.startswith("num d") else "other"] = number(found[1]) or 0.0
        elif found := _BATCH.fullmatch(line):
            config["total_batch_size"] = number(found[1]) or 0.0
            _settle(log, waiting, last)  # the run was started again
    _settle(log, waiting, last)
    if len(sizes) == 2:
        log.settings["model_size"] = sum(sizes.values())
    take_config(log, {name: value for name, value in config.items() if value})
    return parsed([log])


def _settle(log: RunLog, waiting: dict[str, float], last: float) -> None:
    """Put an evaluation that no line of a step follows after the last step."""
    if waiting:
        log.add(last + 1, waiting)
        log.notes.append(
            f"an evaluation that no step follows names no step; taken as {last + 1:.0f}"
        )
        waiting.clear()


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for field in text.split(" | "):
        name, _, value = field.strip().partition(" ")  # "loss: 6.1", but "lr 6e-04"
        yield name.removesuffix(":"), value


FORMAT = Format("build-nanogpt", sniff, read)
