"""Names, units and meanings of everything a run may record.

One table for run coordinates (one value per run) and one for records (one value per logged step).
A name that is not in a table is kept as it is and can be filtered on like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SCHEMA = "collapse-runs"
VERSION = 1

Kind = Literal["number", "text"]
LossName = Literal["eval_loss", "train_loss"]
LOSSES: tuple[LossName, ...] = ("eval_loss", "train_loss")
STATUSES = ("planned", "running", "done", "stopped", "failed")
OPEN_STATUSES = ("planned", "running")


@dataclass(frozen=True)
class Field:
    """Meaning of one variable.

    Parameters
    ----------
    name : str
        Name in the dataset.
    units : str
        Units as written to ``attrs["units"]``; empty for text.
    long_name : str
        What it is, for axis labels and tables.
    kind : {"number", "text"}
        Numbers are stored as float64 with NaN for "not recorded", text with "".
    aliases : tuple of str
        Names other tools use for the same thing; readers map them to `name`.
    formula : str
        How `derive` fills it where it was not recorded; empty when it never does.
    """

    name: str
    units: str
    long_name: str
    kind: Kind = "number"
    aliases: tuple[str, ...] = ()
    formula: str = ""


def _table(*fields: Field) -> dict[str, Field]:
    return {field.name: field for field in fields}


RUN_FIELDS = _table(
    Field("run_id", "", "unique name of the run", "text", ("run", "run_name", "name", "id")),
    Field("family", "", "runs that share a recipe", "text"),
    Field("status", "", "planned, running, done, stopped or failed", "text", ("state",)),
    Field(
        "model_size",
        "parameters",
        "parameters N",
        aliases=("n_params", "num_params", "params", "parameters", "model_params", "N"),
        formula="tokens_total / tpp",
    ),
    Field(
        "tau",
        "1",
        "AdamW timescale B/(ηλD), fraction of the run",
        aliases=("timescale",),
        formula="tau_steps / total_steps = batch_size / (peak_lr * weight_decay * tokens_total)",
    ),
    Field(
        "tau_steps",
        "steps",
        "AdamW timescale 1/(ηλ)",
        aliases=("timescale_steps",),
        formula="1 / (peak_lr * weight_decay)",
    ),
    Field(
        "tpp",
        "tokens/parameter",
        "tokens per parameter D/N",
        aliases=("tokens_per_param",),
        formula="tokens_total / model_size",
    ),
    Field("schedule", "", "learning-rate schedule", "text", ("lr_schedule", "scheduler")),
    Field("seed", "1", "random seed"),
    Field("data_seed", "1", "seed of the data order"),
    Field(
        "tokens_total",
        "tokens",
        "planned training tokens D",
        aliases=("train_tokens", "total_tokens", "D"),
        formula="batch_size * total_steps, else tpp * model_size",
    ),
    Field(
        "total_steps",
        "steps",
        "planned optimiser steps",
        aliases=("max_steps", "num_steps", "iterations", "num_iterations", "max_iters"),
        formula="tokens_total / batch_size, rounded",
    ),
    Field(
        "batch_size",
        "tokens",
        "batch size B per optimiser step",
        aliases=("batch_tokens", "B"),
        formula="tokens_total / total_steps",
    ),
    Field("peak_lr", "1", "peak learning rate η", aliases=("lr", "learning_rate", "max_lr")),
    Field("weight_decay", "1", "AdamW weight decay λ", aliases=("wd",)),
    Field("warmup_steps", "steps", "linear warm-up", aliases=("warmup",)),
    Field("warmup_fraction", "1", "share of the run spent warming up"),
    Field("decay_fraction", "1", "share of the run over which the learning rate decays"),
    Field("final_lr_fraction", "1", "last learning rate as a share of the peak"),
    Field("beta1", "1", "Adam β1"),
    Field("beta2", "1", "Adam β2"),
    Field("width", "1", "model width", aliases=("d_model", "n_embd", "hidden_size")),
    Field("depth", "1", "layers", aliases=("n_layer", "num_layers", "layers")),
    Field(
        "compute_total",
        "FLOP",
        "training compute, 6ND unless recorded",
        formula="6 * model_size * tokens_total",
    ),
    Field(
        "irreducible_loss",
        "nats/token",
        "irreducible loss where it is known exactly (entropy of the data)",
        aliases=("entropy",),
    ),
    Field("source", "", "where the curve came from", "text"),
    Field("source_sha256", "", "sha256 of that source", "text"),
)

RECORD_FIELDS = _table(
    Field("step", "steps", "optimiser step", aliases=("_step", "iter", "iteration", "global_step")),
    Field("tokens", "tokens", "tokens seen", aliases=("tokens_seen", "n_tokens", "num_tokens")),
    Field(
        "train_loss",
        "nats/token",
        "training loss",
        aliases=("loss", "train/loss", "training_loss", "trainloss"),
    ),
    Field(
        "eval_loss",
        "nats/token",
        "held-out loss",
        aliases=("val_loss", "val/loss", "eval/loss", "valid_loss", "validation_loss", "test_loss"),
    ),
    Field("learning_rate", "1", "learning rate at the step", aliases=("lr", "train/lr")),
    Field("grad_norm", "1", "gradient norm", aliases=("grad/norm", "train/grad_norm")),
    Field("noise_trace", "1", "trace of the preconditioned mini-batch gradient covariance"),
    Field("wall_time", "seconds since 1970-01-01", "wall time", aliases=("_timestamp",)),
)


def canonical_run_name(name: str) -> str:
    """Return the run-coordinate name an alias stands for, or `name` itself."""
    return _canonical(name, RUN_FIELDS)


def canonical_record_name(name: str) -> str:
    """Return the record-variable name an alias stands for, or `name` itself."""
    return _canonical(name, RECORD_FIELDS)


def _canonical(name: str, fields: dict[str, Field]) -> str:
    if name in fields:
        return name
    folded = name.strip().casefold()
    for field in fields.values():
        if folded == field.name or folded in (alias.casefold() for alias in field.aliases):
            return field.name
    return name


def field_attrs(name: str) -> dict[str, str]:
    """Return ``long_name``, ``units`` and ``formula`` of a known variable; an empty dict else."""
    field = RUN_FIELDS.get(name) or RECORD_FIELDS.get(name)
    if field is None:
        return {}
    attrs = {"long_name": field.long_name}
    if field.units:
        attrs["units"] = field.units
    if field.formula:
        attrs["formula"] = field.formula
    return attrs
