"""What the settings of common training programs mean in the schema.

Trainers name the same thing differently, and the same name differently: ``batch_size`` is a number
of sequences a process takes in one forward pass in most of them, while the schema counts tokens
an optimiser step. What cannot be told is left alone and said.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from workbench.io.runlog import RunLog, usable_name
from workbench.schema import RUN_FIELDS, canonical_run_name

_SEQUENCE = [
    "sequence_length",
    "seq_length",
    "seq_len",
    "block_size",
    "context_length",
    "context_size",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "n_ctx",
    "ctx_len",
]
_STEP_TOKENS = ["total_batch_size", "tokens_per_iter", "tokens_per_batch", "tokens_per_step"]
_STEP_SEQUENCES = ["global_batch_size", "global_train_batch_size", "total_train_batch_size"]
_PROCESS_SEQUENCES = [
    "per_device_train_batch_size",
    "micro_batch_size",
    "device_batch_size",
    "local_batch_size",
    "train_micro_batch_size_per_gpu",
    "train_batch_size",
    "batch_size",
]
_ACCUMULATION = [
    "gradient_accumulation_steps",
    "grad_accum_steps",
    "acc_steps",
    "accumulate_grad_batches",
    "accumulation_steps",
]
_WORLD = [
    "world_size",
    "ddp_world_size",
    "num_processes",
    "data_parallel_size",
    "dp_size",
    "num_gpus",
    "n_gpus",
]
_OTHER_NAMES = {
    "total_steps": [
        "train_iters",
        "num_training_steps",
        "max_train_steps",
        "n_steps",
        "training_steps",
    ],
    "peak_lr": ["base_lr", "optimizer_lr"],
    "schedule": ["lr_scheduler_type", "lr_decay_style", "scheduler_type", "lr_scheduler"],
    "warmup_steps": ["warmup_iters", "lr_warmup_iters", "lr_warmup_steps", "num_warmup_steps"],
    "decay_fraction": ["wsd_fract_decay", "decay_frac", "cooldown_fraction"],
    "warmup_fraction": ["warmup_ratio", "lr_warmup_fraction", "warmup_frac"],
    "beta1": ["adam_beta1"],
    "beta2": ["adam_beta2"],
    "depth": ["n_layers", "num_hidden_layers"],
    "width": ["dim", "model_dim"],
    "model_size": ["num_parameters", "model_parameters", "total_params", "n_parameters"],
}
_SCHEDULES = {
    "cos": "cosine",
    "cosine": "cosine",
    "constant_with_warmup": "constant",
    "warmup_stable_decay": "wsd",
    "wsd": "wsd",
    "trapezoidal": "wsd",
    "trapezoid": "wsd",
    "inverse_square_root": "inverse_sqrt",
    "inverse-square-root": "inverse_sqrt",
    "none": "constant",
}
_SECRET = re.compile(
    r"(api_?key|password|passwd|secret|(auth|access|hf|hub)_token)$", re.IGNORECASE
)
_LONGEST_TEXT, _LONGEST_NAME = 500, 200
_DEEPEST = 32
_MOST = 2000


def take_config(log: RunLog, config: Mapping[str, Any]) -> None:
    """Put the settings of a run's config into its log.

    Parameters
    ----------
    log : RunLog
        Receives run coordinates and notes; what it has already stays.
    config : mapping
        As the trainer wrote it, nested or flat; values that are neither number nor short text are
        left out, as is what looks like a password or key.
    """
    flat = dict(islice(flatten(config), _MOST + 1))
    if len(flat) > _MOST:
        flat.popitem()
        log.notes.append(f"only the first {_MOST} settings of its config were taken")
    found = _meanings(flat, log.notes)
    plain = {name: value for name, value in flat.items() if not _SECRET.search(name)}
    for name, value in {**_known(plain), **found, **_own(plain, found)}.items():
        log.settings.setdefault(name, value)


def flatten(
    config: Mapping[str, Any], prefix: str = "", *, joint: str = ".", depth: int = 0
) -> Iterator[tuple[str, float | str]]:
    """Yield names and plain values of a nested config; levels are joined by `joint`.

    What lies deeper than 32 levels, or has a name of over 200 characters, is left out.
    """
    for key, value in config.items():
        name = f"{prefix}{key}"
        if len(name) > _LONGEST_NAME:
            continue
        match value:
            case bool() | int() | float():
                if _finite(value):
                    yield name, value
            case str() if value and len(value) <= _LONGEST_TEXT:
                yield name, value
            case Mapping() if depth < _DEEPEST:
                yield from flatten(value, f"{name}{joint}", joint=joint, depth=depth + 1)
            case list() | tuple() if value and all(isinstance(v, int | float | str) for v in value):
                text = json.dumps(list(value))
                if len(text) <= _LONGEST_TEXT:
                    yield name, text


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int too large for a float
        return False


def _known(flat: Mapping[str, float | str]) -> dict[str, float | str]:
    """Return what stands under a name or alias of the schema; the batch size needs more thought."""
    out: dict[str, float | str] = {}
    for name, value in flat.items():
        field = RUN_FIELDS.get(canonical_run_name(_last(name)))
        if field is None or field.name in ("run_id", "status", "source", "source_sha256", "family"):
            continue
        if field.name == "batch_size" and _last(name) == "batch_size":
            continue
        number = _number(value)
        if field.kind == "text":
            out.setdefault(field.name, str(value))
        elif number is not None and (number > 0 or field.name not in ("total_steps", "model_size")):
            out.setdefault(field.name, number)
    return out


def _meanings(flat: Mapping[str, float | str], notes: list[str]) -> dict[str, float | str]:
    """Return the run coordinates that follow from other names than the schema's."""
    by_last: dict[str, float | str] = {}
    for name, value in flat.items():
        by_last.setdefault(_last(name).lower(), value)
    out: dict[str, float | str] = {}
    for name, others in _OTHER_NAMES.items():
        other = _first(by_last, others)
        if other is not None and (RUN_FIELDS[name].kind == "text" or _positive(other)):
            out[name] = other
    schedule = out.get("schedule", _first(by_last, ("schedule", "lr_schedule", "scheduler")))
    if schedule is not None:
        plain = str(schedule).rpartition(".")[2].lower()
        out["schedule"] = _SCHEDULES.get(plain, plain)
    elif (decays := by_last.get("decay_lr")) is not None and "lr_decay_iters" in by_last:
        out["schedule"] = "cosine" if decays else "constant"  # nanoGPT
    if out.get("schedule") != "wsd" and "wsd_fract_decay" in by_last:
        out.pop("decay_fraction", None)  # that of a schedule which this run does not follow
    peak = _number(_first(by_last, ("lr", "learning_rate", "max_lr", "peak_lr")))
    lowest = _number(_first(by_last, ("min_lr",)))
    if peak and lowest is not None:
        out["final_lr_fraction"] = lowest / peak
    batch = _batch_tokens(by_last, notes)
    return out if batch is None else out | {"batch_size": batch}


def _batch_tokens(flat: Mapping[str, float | str], notes: list[str]) -> float | None:
    """Return tokens an optimiser step, or None with a note when the config does not say."""
    tokens = _number(_first(flat, _STEP_TOKENS))
    length = _number(_first(flat, _SEQUENCE))
    total = _number(_first(flat, _STEP_SEQUENCES))
    if total is not None and total > 0 and length is not None:
        return total * length
    each = _number(_first(flat, _PROCESS_SEQUENCES))
    if tokens is not None and (each is None or tokens >= (length or 0)):
        return tokens
    if each is None:
        return None
    if length is None:
        notes.append(
            f"its batch size {each:g} counts sequences of unknown length; give tokens an optimiser "
            "step with --set batch_size=B"
        )
        return None
    steps = _number(_first(flat, _ACCUMULATION)) or 1.0
    world = _number(_first(flat, _WORLD))
    factors = f"{each:g} sequences × {steps:g} accumulated × {length:g} tokens"
    if world is None:
        notes.append(f"batch size taken as {factors} on 1 process: no world size in the config")
    else:
        notes.append(f"batch size taken as {factors} × {world:g} processes")
    return each * steps * length * (world or 1.0)


def _own(
    flat: Mapping[str, float | str], found: Mapping[str, float | str]
) -> dict[str, float | str]:
    """Return everything else under the name it has, the ambiguous batch size as config_…."""
    out: dict[str, float | str] = {}
    for name, value in flat.items():
        known = canonical_run_name(_last(name))
        if known in RUN_FIELDS and known not in ("batch_size", "run_id", "status", "family"):
            continue
        own = usable_name(name)
        clash = own in RUN_FIELDS or canonical_run_name(own) in RUN_FIELDS or own in found
        out[f"config_{own}" if clash else own] = value
    return out


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _first(flat: Mapping[str, float | str], names: Iterable[str]) -> float | str | None:
    return next((flat[name] for name in names if name in flat), None)


def _number(value: float | str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _positive(value: float | str) -> bool:
    number = _number(value)
    return number is not None and number >= 0
