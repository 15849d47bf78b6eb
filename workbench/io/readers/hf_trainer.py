"""Hugging Face Trainer: ``trainer_state.json``, alone or in an output or checkpoint folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.io.configs import take_config
from workbench.io.json_text import as_number, read_json
from workbench.io.result import Format, Parsed, SkippedSource, Source
from workbench.io.runlog import RunLog, parsed

STATE = "trainer_state.json"
_CONFIGS = ("training_args.json", "config.json")
_PICKLED = "training_args.bin"
_LABELS = ("id2label", "label2id", "task_specific_params")
_OF_STATE = (
    "max_steps",
    "train_batch_size",
    "num_train_epochs",
    "logging_steps",
    "eval_steps",
    "save_steps",
    "total_flos",
    "best_metric",
)


def sniff(source: Source) -> bool:
    """Tell whether this is a trainer state, or the folder of one run with its states."""
    if source.path.is_dir():
        return bool(_states(source.path))
    head = source.head_text
    return (
        head.lstrip("\ufeff \r\n\t").startswith("{")
        and '"log_history"' in head
        and ('"global_step"' in head or '"max_steps"' in head)
    )


def _states(folder: Path) -> list[Path]:
    found = [folder / STATE, *sorted(folder.glob(f"checkpoint-*/{STATE}"))]
    return [path for path in found if path.is_file()]


def read(source: Source) -> Parsed:
    """Read the run of a trainer state; of several checkpoints the newest holds the history.

    Raises
    ------
    DataError
        If a state is not JSON, has no list ``log_history``, or there is nothing in it.
    """
    paths = _states(source.path) if source.path.is_dir() else [source.path]
    if not paths:
        msg = f"{source} holds no {STATE}. Give the output folder of a Trainer, or the file."
        raise DataError(msg)
    log = RunLog(source.name, source=str(source))
    states = [(path, _state(path)) for path in paths]
    # The state of the whole run, saved last in the output folder, comes first in `paths`.
    newest = max(range(len(states)), key=lambda i: (_steps_done(states[i][1]), -i))
    path, state = states.pop(newest)
    if states:
        _take_older(log, states, state)
    for entry in state["log_history"]:
        _take_entry(log, entry)
    _take_settings(log, state, path)
    return parsed([log], skipped=_beside(source.path) if source.path.is_dir() else ())


def _beside(folder: Path) -> list[SkippedSource]:
    """Return the other folders of an output folder, such as the events of the same run."""
    return [
        SkippedSource(source=str(path), reason=f"beside {STATE}, which holds the run's history")
        for path in sorted(folder.glob("[!.]*"))
        if path.is_dir() and not path.name.startswith("checkpoint-")
    ]


def _state(path: Path) -> Mapping[str, Any]:
    state = read_json(path)
    if not isinstance(state, dict) or not isinstance(state.get("log_history"), list):
        msg = f"{path} has no list 'log_history', so it is not a Trainer's state. Export it again."
        raise DataError(msg)
    return state


def _steps_done(state: Mapping[str, Any]) -> float:
    return as_number(state.get("global_step")) or 0.0


def _take_older(
    log: RunLog, states: list[tuple[Path, Mapping[str, Any]]], newest: Mapping[str, Any]
) -> None:
    """Add what the newest state does not hold: left by an attempt that another one replaced."""
    known = {json.dumps(entry, sort_keys=True) for entry in newest["log_history"]}
    for path, state in sorted(states, key=lambda part: _steps_done(part[1])):
        own = [e for e in state["log_history"] if json.dumps(e, sort_keys=True) not in known]
        known.update(json.dumps(entry, sort_keys=True) for entry in own)
        for entry in own:
            _take_entry(log, entry)
        if own:
            log.notes.append(
                f"{len(own)} entries of {path.parent.name}/{path.name} are not in the newest "
                "state; taken as an earlier attempt"
            )


def _take_entry(log: RunLog, entry: object) -> None:
    if not isinstance(entry, dict):
        log.leave_out("entry that is no record")
        return
    if "train_runtime" in entry:  # the summary of the whole run: its train_loss is a mean
        for name, value in entry.items():
            if name not in ("step", "epoch") and (number := as_number(value)) is not None:
                log.settings["mean_train_loss" if name == "train_loss" else name] = number
        return
    values = {}
    for name, value in entry.items():
        number = as_number(value)
        if number is not None and name != "step":
            values["tokens" if name == "num_input_tokens_seen" else name] = number
        elif value is not None and name != "step":
            log.leave_out("value that is no number")
    if values.get("tokens") == 0:  # not counted, unless include_num_input_tokens_seen is set
        del values["tokens"]
    log.add(as_number(entry.get("step")), values)


def _take_settings(log: RunLog, state: Mapping[str, Any], path: Path) -> None:
    own: dict[str, Any] = {name: state[name] for name in _OF_STATE if name in state}
    if (as_number(own.get("max_steps")) or 0) <= 0:  # -1: as many as the epochs take
        own.pop("max_steps", None)
    if path.name != STATE:
        take_config(log, own)
        return
    configs: dict[str, Any] = {}
    for name in _CONFIGS:
        beside = path.parent / name
        if beside.is_file() and isinstance(config := read_json(beside), dict):
            configs |= {key: value for key, value in config.items() if key not in _LABELS}
    if (path.parent / _PICKLED).is_file():
        log.notes.append(f"{_PICKLED} beside it is a pickle, which could run code, and is not read")
    if configs.get("max_steps") is not None and (as_number(configs["max_steps"]) or 0) <= 0:
        del configs["max_steps"]
    take_config(log, own | configs | {k: own[k] for k in ("max_steps",) if k in own})


FORMAT = Format("hf-trainer", sniff, read)
