"""From a family spec to the runs it stands for, with everything that follows from the controls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError
from workbench.recipes import (
    NamedSchedule,
    Schedule,
    schedule_factors,
    steps_for_tokens,
    weight_decay_for_tau,
)
from workbench.training.shape import ModelShape
from workbench.training.spec import FamilySpec, Group

TASK_NAME = "markov-2"
OPTIMIZER_NAME = "adamw"
# Rows are trained together in chunks of about this many tokens, so that they stay in the cache.
CHUNK_TOKENS = 4096
# A token costs its FLOP plus a fixed part (attention, norms, data), measured on widths 16 to 48.
_FIXED_FLOP_PER_TOKEN = 330_000


@dataclass(frozen=True)
class RunPlan:
    """One run, fully determined.

    Parameters
    ----------
    run_id : str
        Unique within the family.
    shape : ModelShape
        Model.
    sequences : int
        Sequences per step.
    total_steps : int
        Planned steps T.
    tau, tpp : float
        Designed timescale (share of the run) and tokens per parameter. ``tau`` is met exactly;
        whole steps move D/N away from ``tpp`` by at most half a step.
    base_lr : float
        Peak learning rate at ``shape.base_width``.
    schedule : str
        Name, with its fractions below.
    warmup_fraction, decay_fraction, final_lr_fraction : float
        See `workbench.recipes.schedule_factors`.
    seed, data_seed : int
        Of the weights and of the data order.
    """

    run_id: str
    shape: ModelShape
    sequences: int
    total_steps: int
    tau: float
    tpp: float
    base_lr: float
    schedule: Schedule
    warmup_fraction: float
    decay_fraction: float
    final_lr_fraction: float
    seed: int
    data_seed: int

    @property
    def width(self) -> int:
        """Model width."""
        return self.shape.width

    @property
    def model_size(self) -> int:
        """Parameters N."""
        return self.shape.model_size

    @property
    def batch_size(self) -> int:
        """Tokens per step B."""
        return self.sequences * self.shape.context

    @property
    def tokens_total(self) -> int:
        """Planned tokens D."""
        return self.batch_size * self.total_steps

    @property
    def peak_lr(self) -> float:
        """Peak learning rate η of the hidden matrices."""
        return self.base_lr * self.shape.learning_rate_multiplier

    @property
    def weight_decay(self) -> float:
        """Decay λ that gives ``tau``."""
        return weight_decay_for_tau(
            self.tau,
            peak_lr=self.peak_lr,
            batch_size=float(self.batch_size),
            tokens_total=float(self.tokens_total),
        )

    @property
    def flops(self) -> float:
        """Training FLOP, attention included."""
        return float(self.shape.flops_per_token) * self.tokens_total

    @property
    def cost(self) -> float:
        """Time the run takes, in arbitrary units: to order jobs and to estimate what is left."""
        return float(self.shape.flops_per_token + _FIXED_FLOP_PER_TOKEN) * self.tokens_total

    def factors(self) -> NDArray[np.float64]:
        """Learning-rate factors, ndarray of float64 of shape (total_steps,)."""
        return schedule_factors(
            self.schedule,
            total_steps=self.total_steps,
            warmup_fraction=self.warmup_fraction,
            decay_fraction=self.decay_fraction,
            final_lr_fraction=self.final_lr_fraction,
        )

    def coordinates(self) -> dict[str, float | str]:
        """Return the run coordinates of the schema that are known before training."""
        return {
            "model_size": float(self.model_size),
            "width": float(self.width),
            "depth": float(self.shape.depth),
            "tau": self.tau,
            "tpp": self.tpp,
            "schedule": self.schedule,
            "seed": float(self.seed),
            "data_seed": float(self.data_seed),
            "tokens_total": float(self.tokens_total),
            "total_steps": float(self.total_steps),
            "batch_size": float(self.batch_size),
            "peak_lr": self.peak_lr,
            "weight_decay": self.weight_decay,
            "warmup_fraction": self.warmup_fraction,
            "decay_fraction": self.decay_fraction,
            "final_lr_fraction": self.final_lr_fraction,
            "optimizer": OPTIMIZER_NAME,
            "task": TASK_NAME,
        }


@dataclass(frozen=True)
class FamilyPlan:
    """The runs of a family, in the order of the spec."""

    spec: FamilySpec
    runs: tuple[RunPlan, ...]

    @property
    def flops(self) -> float:
        """Training FLOP of all runs."""
        return sum(run.flops for run in self.runs)

    @property
    def run_steps(self) -> int:
        """Steps of all runs."""
        return sum(run.total_steps for run in self.runs)


def plan_family(spec: FamilySpec) -> FamilyPlan:
    """Work out every run of a family.

    Parameters
    ----------
    spec : FamilySpec
        Checked spec, from `load_spec`.

    Returns
    -------
    FamilyPlan

    Raises
    ------
    ArgumentError
        If a width does not divide into heads, a batch holds more tokens than its run, τ is
        shorter than one step, or two groups plan the same run.
    """
    runs = [run for number, group in enumerate(spec.group) for run in _runs_of(spec, group, number)]
    seen: set[str] = set()
    for run in runs:
        if run.run_id in seen:
            msg = (
                f"group plans the run {run.run_id!r} twice. Give every combination of width, "
                "schedule, tau, tpp and seed once over all [[group]] blocks."
            )
            raise ArgumentError(msg)
        seen.add(run.run_id)
    return FamilyPlan(spec, tuple(runs))


def _runs_of(spec: FamilySpec, group: Group, number: int) -> list[RunPlan]:
    grid = product(group.seed, group.schedule, group.tau, group.tpp, group.width)
    where = f"[[group]] number {number + 1} of family {spec.family!r}"
    try:
        return [
            _plan_run(spec, group, seed=seed, schedule=schedule, tau=tau, tpp=tpp, width=width)
            for seed, schedule, tau, tpp, width in grid
        ]
    except ArgumentError as error:
        msg = f"{where}: {error}"
        raise ArgumentError(msg) from error


def _plan_run(
    spec: FamilySpec,
    group: Group,
    *,
    seed: int,
    schedule: Schedule,
    tau: float,
    tpp: float,
    width: int,
) -> RunPlan:
    shape = model_shape(spec, width)
    sequences = _sequences(spec, shape)
    tokens = tpp * shape.model_size
    try:
        total_steps = steps_for_tokens(tokens, batch_size=sequences * shape.context)
    except ArgumentError as error:
        msg = f"width {width} at tpp {tpp:g}: {error}"
        raise ArgumentError(msg) from error
    if tau * total_steps <= 1:
        msg = (
            f"tau {tau:g} of {total_steps} steps is at most one step at width {width}: weights "
            "would decay away at once. Raise tau or tpp, or lower the batch size."
        )
        raise ArgumentError(msg)
    course = NamedSchedule(
        schedule, group.warmup_fraction, group.decay_fraction, group.final_lr_fraction
    )
    run_id = f"{spec.family}-w{width}-{_schedule_label(schedule, group)}-tau{tau:g}-tpp{tpp:g}"
    return RunPlan(
        run_id=f"{run_id}-s{seed}",
        shape=shape,
        sequences=sequences,
        total_steps=total_steps,
        tau=tau,
        tpp=tpp,
        base_lr=spec.optimizer.peak_lr,
        schedule=schedule,
        warmup_fraction=group.warmup_fraction,
        decay_fraction=course.decay_share,
        final_lr_fraction=course.end_factor,
        seed=seed,
        data_seed=seed if group.data_seed is None else group.data_seed,
    )


def model_shape(spec: FamilySpec, width: int) -> ModelShape:
    """Return the model of one width.

    Raises
    ------
    ArgumentError
        If `width` is not a multiple of the head size.
    """
    model = spec.model
    if width % model.head_size:
        near = max(1, round(width / model.head_size)) * model.head_size
        msg = (
            f"width {width} is not a multiple of head_size {model.head_size}. "
            f"Use width {near}, or change head_size in [model]."
        )
        raise ArgumentError(msg)
    return ModelShape(
        width=width,
        depth=model.depth,
        head_size=model.head_size,
        expansion=model.expansion,
        vocab=spec.task.vocab,
        context=model.context,
        base_width=model.base_width,
        base_depth=model.base_depth,
        parameterisation=model.parameterisation,
    )


def _sequences(spec: FamilySpec, shape: ModelShape) -> int:
    batch = spec.batch
    if batch.rule == "fixed":
        return batch.sequences
    reference = model_shape(spec, batch.at_width).model_size
    return max(1, math.floor(batch.sequences * shape.model_size / reference + 0.5))


def _schedule_label(schedule: Schedule, group: Group) -> str:
    """Name the schedule with whatever of it is not the usual, so that run identifiers differ."""
    parts = [str(schedule)]
    if group.decay_fraction is not None:
        parts.append(f"decay{group.decay_fraction:g}")
    if group.final_lr_fraction:
        parts.append(f"to{group.final_lr_fraction:g}")
    if group.warmup_fraction != Group.model_fields["warmup_fraction"].default:
        parts.append(f"warmup{group.warmup_fraction:g}")
    if group.data_seed is not None:
        parts.append(f"data{group.data_seed}")
    return "-".join(parts)
