"""Megatron-LM and Megatron-DeepSpeed: `` iteration  200/ 1000 | consumed samples: … | lm loss: …``.

The loss of a line is the mean over the iterations since the line before. Skipped iterations count
as iterations; a line without any other has no loss. Perplexities are left out: they are exp(loss).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.io.configs import take_config
from workbench.io.lines import Columns, has_line, number, read_lines
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed, usable_name

_LINE = re.compile(r"(?:^|[ \]])iteration +([0-9]+)/ *([0-9]+) \|(.*)")
_STARTS = re.compile(
    r"^(?:\[[^\]\n]{0,40}\])? {0,4}iteration +[0-9]+/ *[0-9]+ \| consumed samples:"
    r"|^-{4,} arguments -{4,}$",
    re.MULTILINE,
)
_EVAL = re.compile(
    r"(?:^|[ \]])(?P<set>\w[\w.-]{0,60}) loss at"
    r" (?:iteration +(?P<step>[0-9]+)|the end of training)(?P<where>[^|]{0,80})\|(?P<values>.*)"
)
_ARGUMENT = re.compile(r" *([A-Za-z_]\w{0,80}) \.{2,} ?(.*)")
_TRAIN_ITERATIONS = re.compile(r" *setting training iterations to ([0-9]+)\s*")
_RANK_SIZE = re.compile(
    r"number of parameters on \(tensor, pipeline\) [a-z ]{0,40}\(([0-9, ]+)\): ([0-9]+)"
)
_UNIQUE_SIZE = re.compile(r"\bUNIQUE_PARAMS=([0-9]+)\b")
_SECONDS = "elapsed time per iteration (s)"
_COLUMNS = {
    "lm loss": "train_loss",
    "consumed samples": "samples",
    "consumed tokens": "tokens",
    "learning rate": "learning_rate",
    "global batch size": "batch_sequences",
    "grad norm": "grad_norm",
    "elapsed time per iteration (ms)": "step_time_ms",
    _SECONDS: "step_time_ms",
    "number of skipped iterations": "skipped_iterations",
    "number of nan iterations": "nan_iterations",
}
_COUNTED = ("global_batch_size", "seq_length", "lr", "weight_decay", "train_iters", "train_samples")


def sniff(source: Source) -> bool:
    """Tell whether there is a line of an iteration, or the list of arguments."""
    return has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read the output of a job, or of several of one run, one after the other.

    Parameters
    ----------
    source : Source
        Settings come from the list of arguments, of the last job where they change; the planned
        end is the number after the slash.

    Raises
    ------
    DataError
        If it holds no record.
    """
    log = RunLog(source.name, source=str(source))
    job = _Job(log)
    for line in read_lines(source.path, log):
        job.take(line)
    job.finish()
    return parsed([log])


class _Job:
    """What the lines so far say of the run."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._arguments: dict[str, Any] = {}
        self._sizes: dict[str, float] = {}
        self._listing = False
        self._ends: dict[float, None] = {}
        self._columns = Columns(log, _COLUMNS)
        self._last = 0.0

    def take(self, line: str) -> None:
        """Take in one line."""
        if self._listing:
            self._listing = "end of arguments" not in line
            self._take_argument(line)
        elif "iteration" in line and (found := _LINE.search(line)):
            self._last = float(found[1])
            self._ends[float(found[2])] = None
            self._log.add(self._last, self._record(found[3]))
        elif " loss at " in line and (found := _EVAL.search(line)):
            self._take_evaluation(found)
        elif "- arguments -" in line:
            self._listing = True
        else:
            self._take_header(line)

    def _record(self, text: str) -> dict[str, float]:
        # Ranks write to the same stream: what another one says may follow on the same line.
        values = self._columns.take(_fields(text.partition("[Rank")[0]))
        if _SECONDS in text and "step_time_ms" in values:
            values["step_time_ms"] *= 1000
        length = self._arguments.get("seq_length")
        if "samples" in values and "tokens" not in values and isinstance(length, float):
            values["tokens"] = values["samples"] * length
        return values

    def _take_evaluation(self, found: re.Match[str]) -> None:
        """Add a validation: the periodic one, or one after training, which is kept apart."""
        step = self._last if found["step"] is None else float(found["step"])
        where = found["where"].strip()
        on_test = found["set"] == "test" or "test" in where.split()
        known = found["set"] in ("validation", "valid", "test")
        name = "test_set_loss" if on_test else "eval_loss" if known else f"{found['set']}_loss"
        if found["step"] is None or where.startswith("on "):
            name = f"final_{name}"
        elif where:
            name = f"{name}_{usable_name(where)}"
        texts = {}
        for given, value in _fields(found["values"]):
            if not given.endswith("PPL"):
                kind = given.removesuffix(" value")
                texts[name if kind == "lm loss" else f"{name}_{usable_name(kind)}"] = value
        self._log.add(step, self._columns.take(texts.items()))

    def _take_argument(self, line: str) -> None:
        found = _ARGUMENT.fullmatch(line)
        if found is None:
            return
        name, value = found[1], _value(found[2].strip())
        before = self._arguments.get(name)
        if name in _COUNTED and before is not None and value != before:
            self._log.notes.append(
                f"{name} changes from {before} to {value} when the run is started again; the last "
                "one is kept"
            )
        if value is None:
            self._arguments.pop(name, None)
        else:
            self._arguments[name] = value

    def _take_header(self, line: str) -> None:
        if found := _RANK_SIZE.search(line):
            self._sizes[found[1]] = number(found[2]) or 0.0
        elif found := _UNIQUE_SIZE.search(line):
            self._sizes["unique"] = number(found[1]) or 0.0
        elif found := _TRAIN_ITERATIONS.fullmatch(line):
            self._ends[float(found[1])] = None

    def finish(self) -> None:
        """Take the settings."""
        if self._ends:
            self._log.settings["total_steps"] = list(self._ends)[-1]
        if len(self._ends) > 1:
            ends = " to ".join(f"{end:.0f}" for end in list(self._ends)[:5])
            self._log.notes.append(f"its planned end changes from {ends}; the last is kept")
        self._take_size()
        config = dict(self._arguments)
        if "rampup_batch_size" in config:
            self._log.notes.append(
                f"its batch ramps up by {config['rampup_batch_size']} (start, step, samples); "
                "batch_size is the one it ends with"
            )
        self._log.settings |= _horizon(config)
        take_config(self._log, config)

    def _take_size(self) -> None:
        unique, ranks = self._sizes.pop("unique", None), self._sizes
        if unique is not None and self._arguments.get("tensor_model_parallel_size") == 1:
            self._log.settings["model_size"] = unique
        elif len(ranks) == 1 and self._arguments.get("world_size") is not None:
            self._log.settings["model_size"] = next(iter(ranks.values()))
        elif ranks:
            self._log.settings["params_of_all_ranks"] = sum(ranks.values())
            self._log.notes.append(
                f"its {len(ranks)} model-parallel ranks hold {sum(ranks.values()):.0f} parameters, "
                "shared ones counted more than once; give --set model_size=N"
            )


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for field in text.split("|"):
        name, mark, value = field.partition(": ")
        if mark and name.strip():
            yield name.strip(), value.strip()


def _value(text: str) -> float | str | bool | None:
    if text in ("", "None"):
        return None
    if text in ("True", "False"):
        return text == "True"
    value = number(text) if "," not in text else None
    return text if value is None else value


def _horizon(config: dict[str, Any]) -> Mapping[str, float]:
    """Return tokens and warm-up, which Megatron gives in iterations, samples or a share of decay.

    Parameters
    ----------
    config : dict of str to value
        Arguments; those whose names mean something else in other trainers are taken out.
    """
    got = {name: value for name, value in config.items() if isinstance(value, float)}
    out: dict[str, float] = {}
    samples, length = got.get("train_samples"), got.get("seq_length")
    if samples and length:
        out["tokens_total"] = samples * length
    share = got.get("lr_warmup_fraction")
    warm_samples = got.get("lr_warmup_samples") or 0.0
    config.pop("lr_warmup_fraction", None)
    if share is not None:
        out["lr_warmup_share_of_decay"] = share
        warm_samples = share * got.get("lr_decay_samples", samples or 0.0)
        iterations = share * got.get("lr_decay_iters", got.get("train_iters", 0.0))
        if iterations and not samples:
            out["warmup_steps"] = iterations
    if samples and warm_samples:
        out["warmup_fraction"] = warm_samples / samples
    if share is not None or warm_samples:
        config.pop("lr_warmup_iters", None)
    return out


FORMAT = Format("megatron", sniff, read)
