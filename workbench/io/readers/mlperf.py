"""MLPerf training: ``:::MLLOG {json}`` lines among others, one event each.

Events count samples, not steps: a step is what is logged over the batch. The GPT-3 benchmark calls
the count ``epoch_num`` and counts tokens. Its ``eval_accuracy`` is a loss for language models only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from workbench.io.configs import take_config
from workbench.io.lines import MOST_COLUMNS, has_line, read_lines
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed

_MARK = ":::MLLOG"
_STARTS = re.compile(rf"{_MARK} *\{{\s*\"")
_LOSS_IS_LOGGED = ("gpt", "llama", "deepseek")  # how the names of these benchmarks start
_EVENTS = {"eval_accuracy": "eval_accuracy", "train_loss": "train_loss", "eval_loss": "eval_loss"}
_NAMES = {
    "opt_base_learning_rate": "peak_lr",
    "opt_weight_decay": "weight_decay",
    "opt_adamw_weight_decay": "weight_decay",
    "opt_learning_rate_warmup_steps": "warmup_steps",
    "opt_adam_beta_1": "beta1",
    "opt_adam_beta_2": "beta2",
    "opt_adamw_beta_1": "beta1",
    "opt_adamw_beta_2": "beta2",
}


def sniff(source: Source) -> bool:
    """Tell whether there is a ``:::MLLOG`` line."""
    return has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read the events of one run.

    Parameters
    ----------
    source : Source
        The planned end is not stated: a run stops when it reaches the target.

    Raises
    ------
    DataError
        If it holds no record.
    """
    log = RunLog(source.name, source=str(source))
    reading = _Reading(log)
    for line in read_lines(source.path, log):
        start = line.find(_MARK)
        if start >= 0:
            event = _event(line[start + len(_MARK) :])
            if event is None:
                log.leave_out("event without a JSON object")
            else:
                reading.take(event)
    reading.finish()
    return parsed([log])


def _event(text: str) -> dict[str, Any] | None:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("key"), str) else None


class _Reading:
    """What the events so far say of the run."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._config: dict[str, Any] = {}
        self._columns: set[str] = set()
        self._note = ""
        self._timed = -1.0

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        key, value = event["key"], event.get("value")
        metadata = event.get("metadata")
        about: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
        if key in _EVENTS:
            name = "eval_loss" if key == "eval_accuracy" and self._logs_loss() else _EVENTS[key]
            rate = _float(about.get("lr"))
            values = {name: _float(value)}
            self._add(event, about, values if rate is None else values | {"learning_rate": rate})
        elif key == "tracked_stats" and isinstance(value, dict):
            stats = {str(name): _float(stat) for name, stat in value.items()}
            if any(name.startswith("validation_") for name in stats):
                self._log.leave_out("timing of a validation")
            else:
                self._add(event, about, {f"stat_{name}": stat for name, stat in stats.items()})
        elif event.get("event_type") == "POINT_IN_TIME" and value is not None:
            self._config.setdefault(key, value)

    def finish(self) -> None:
        """Take the settings."""
        config = dict(self._config)
        base = _float(config.get("opt_base_learning_rate"))
        last = _float(config.get("opt_end_learning_rate"))
        if base and last is not None:
            self._log.settings["final_lr_fraction"] = last / base
        decay = config.get("opt_learning_rate_decay_schedule")
        if isinstance(decay, str):
            self._log.settings["schedule"] = decay.partition(" with ")[0]
        for key, name in _NAMES.items():
            if (number := _float(config.pop(key, None))) is not None:
                self._log.settings.setdefault(name, number)
        if self._note:
            self._log.notes.append(self._note)
        start = _float(config.get("init_checkpoint_step"))
        if start:
            self._log.notes.append(f"its steps count from the checkpoint of step {start:.0f}")
        take_config(self._log, config)

    def _logs_loss(self) -> bool:
        return str(self._config.get("submission_benchmark")).startswith(_LOSS_IS_LOGGED)

    def _add(
        self, event: Mapping[str, Any], about: Mapping[str, Any], values: dict[str, float | None]
    ) -> None:
        step = self._step(about)
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) < len(values):
            self._log.leave_out("value that no number can be read from")
        if len(self._columns | known.keys()) > MOST_COLUMNS:
            self._log.leave_out(f"event beyond the first {MOST_COLUMNS} columns")
            return
        self._columns |= known.keys()
        if step is None:
            self._log.leave_out("event without a count of samples, or before the batch is known")
            return
        if step != self._timed:  # of several events at a step the first gives the time
            known |= self._where(event, step)
            self._timed = step
        self._log.add(step, known)

    def _where(self, event: Mapping[str, Any], step: float) -> dict[str, float]:
        out: dict[str, float] = {}
        length = _float(self._config.get("max_sequence_length"))
        batch = _float(self._config.get("global_batch_size"))
        time = _float(event.get("time_ms"))
        if length and batch:
            out["tokens"] = step * length * batch
        if time is not None:
            out["wall_time"] = time / 1000
        return out

    def _step(self, about: Mapping[str, Any]) -> float | None:
        """Return the step of an event, from what it says of the samples seen."""
        batch = _float(self._config.get("global_batch_size"))
        length = _float(self._config.get("max_sequence_length"))
        in_tokens = str(self._config.get("submission_benchmark")) == "gpt3"
        samples = _float(about.get("samples_count"))
        if samples is None and in_tokens and length:
            tokens = _float(about.get("epoch_num", about.get("step")))
            samples = None if tokens is None else tokens / length
        if not batch or samples is None:
            return None
        unit = "tokens, over the sequence length and" if in_tokens else "samples, over"
        self._note = f"its steps are derived: the count of {unit} the batch of {batch:g} sequences"
        return samples / batch


def _float(value: object) -> float | None:
    """Return a number, also one in quotes; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


FORMAT = Format("mlperf", sniff, read)
