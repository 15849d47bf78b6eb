"""nanochat: ``step 00250/21400 (1.17%) | loss: 4.1 | lrm: 1.00 | dt: …`` and ``Step 00250 | …``.

Its loss is smoothed: a moving average over steps with weight 0.9. It validates in bits per byte,
which become nats per token only with the bytes per token of its tokenizer, so they stay as they
are. One log often holds the pretraining and what follows it, each from step 0: these become runs
of their own.
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
    literal,
    number,
    read_lines,
)
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed

_STEP = re.compile(r"step ([0-9]+)(?:/([0-9]+))? \([0-9.]+%\) \| (.+)")
_TUNING = re.compile(r"Step ([0-9]+)/([0-9]+) \| Training loss: (\S+?) ?\|(.*)")
_EVAL = re.compile(r"Step ([0-9]+) \| (Validation bpb|Validation loss|CORE metric): (\S+)\s*")
_STARTS = re.compile(
    r"^(?:step [0-9]+(?:/[0-9]+)? \([0-9.]+%\) \| loss: |Step [0-9]+ \| Validation bpb: )",
    re.MULTILINE,
)
_TEXT_FIELDS = ("eta", "epoch")  # time left, and a position in the data
_COLUMNS = {
    "loss": "train_loss",
    "grad norm": "grad_norm",
    "lrm": "lr_multiplier",
    "dt": "step_time_ms",
    "tok/sec": "tokens_per_second",
    "bf16_mfu": "mfu",
    "total time": "training_minutes",
    "Validation bpb": "val_bpb",
    "Validation loss": "eval_loss",
    "CORE metric": "core_metric",
}
_UNITS = {"dt": "ms", "total time": "m"}
_HEADERS = {
    "num_layers": "depth",
    "model_dim": "width",
    "Vocab size": "vocab_size",
    "Number of parameters": "model_size",
    "Total number of training tokens": "tokens_total",
    "Total training FLOPs estimate": "compute_total",
}
_HEADER = re.compile(rf"({'|'.join(_HEADERS)}) *: ([0-9][0-9.,e+]*)\s*")
_PARAMETERS = re.compile(r"([a-z_]{1,24}) *: ([0-9][0-9,]*)\s*")
_DECAY = re.compile(r"Scaling weight decay from \S+ to (\S+) for depth [0-9]+\s*")
_BATCH = re.compile(r"Total batch size ([0-9,]+) => gradient accumulation steps: [0-9]+\s*")
_OVERRIDE = re.compile(r"Overriding: ([a-z]\w{0,60}) = (\S.{0,300})")


def sniff(source: Source) -> bool:
    """Tell whether there is a line of a training step, or of a validation in bits per byte."""
    return has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read what the training scripts print; the planned end is the number after the slash.

    Parameters
    ----------
    source : Source
        What follows the pretraining in the same log becomes ``NAME-mid`` (steps without a planned
        end) and ``NAME-sft``.

    Raises
    ------
    DataError
        If it holds no record.
    """
    stages = _Stages(source)
    for line in read_lines(source.path, stages.log):
        stages.take(line)
    return parsed(stages.finish())


class _Stages:
    """The runs in one log, told apart by how their lines look."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kind = ""
        self._logs: dict[str, RunLog] = {}
        self._last = -1.0
        self._waiting: list[tuple[float, dict[str, float]]] = []
        self._config: dict[str, Any] = {}
        self._block = JsonBlock()
        self.log = RunLog(source.name, source=str(source))
        self._columns = Columns(self.log, _COLUMNS, _UNITS)

    def take(self, line: str) -> None:
        """Take in one line."""
        if line.startswith("step ") and (found := _STEP.fullmatch(line)):
            self._enter("base" if found[2] else "mid", float(found[1]), found[2])
            self.log.add(float(found[1]), self._columns.take(_fields(found[3])))
        elif line.startswith("Step ") and (found := _EVAL.fullmatch(line)):
            values = self._columns.take([(found[2], found[3])])
            # A step before the last one belongs to what starts with the next training step.
            if float(found[1]) >= self._last >= 0:
                self.log.add(float(found[1]), values)
            else:
                self._waiting.append((float(found[1]), values))
        elif line.startswith("Step ") and (found := _TUNING.fullmatch(line)):
            self._enter("sft", float(found[1]), found[2])
            self.log.add(
                float(found[1]), self._columns.take(_fields(f"loss: {found[3]} |{found[4]}"))
            )
        else:
            self._take_header(line)

    def finish(self) -> list[RunLog]:
        """Return the runs, their settings taken."""
        if self._last < 0:
            self._settle()
        elif self._waiting:
            self.log.leave_out("validation that no training step follows", len(self._waiting))
        if not self._logs:
            return [self.log]
        for kind, log in self._logs.items():
            if kind != "sft":
                log.notes.append("its train_loss is a moving average over steps with weight 0.9")
        return list(self._logs.values())

    def _enter(self, kind: str, step: float, end: str | None) -> None:
        """Go on with the run that a training step belongs to."""
        if kind != self._kind:
            self._kind = kind
            if kind not in self._logs:
                name = f"{self._source.name}-{kind}" if self._logs else self._source.name
                self._logs[kind] = (
                    RunLog(name, source=str(self._source)) if self._logs else self.log
                )
            self.log = self._columns.log = self._logs[kind]
        if self._config:
            take_config(self.log, self._config)
            self._config = {}
        if end is not None:
            self.log.settings["total_steps"] = float(end)
        self._settle()
        self._last = step

    def _settle(self) -> None:
        for step, values in self._waiting:
            self.log.add(step, values)
        self._waiting.clear()

    def _take_header(self, line: str) -> None:
        if (block := self._block.take(line)) is not None:
            self._config |= block
        elif found := _HEADER.fullmatch(line):
            value = number(found[2])
            if value:
                self._config[_HEADERS[found[1]]] = value
        elif found := _PARAMETERS.fullmatch(line):
            name = "model_size" if found[1] == "total" else f"params_{found[1]}"
            self._config[name] = number(found[2])
        elif found := _DECAY.fullmatch(line):
            self._config["muon_weight_decay"] = number(found[1])
        elif found := _BATCH.fullmatch(line):
            self._config["total_batch_size"] = number(found[1])
        elif found := _OVERRIDE.fullmatch(line):
            self._config[found[1]] = literal(found[2])


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for field in text.split("|"):
        name, mark, value = field.strip().partition(": ")
        if mark and name not in _TEXT_FIELDS:
            yield name, value


FORMAT = Format("nanochat", sniff, read)
