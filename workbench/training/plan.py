"""From a family spec to the runs it stands for, with everything that follows from the controls."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from workbench.errors import ArgumentError
from workbench.recipes import (
    NamedSchedule,
    Parameterisation,
    Schedule,
    find_recipe,
    steps_for_tokens,
)
from workbench.training.fault_section import NO_FAULT
from workbench.training.mlp_shape import MlpShape
from workbench.training.run_plan import CHUNK_TOKENS, FamilyPlan, RunPlan, TrainedShape
from workbench.training.sections import (
    DatasetSection,
    FourierSection,
    Group,
    MarkovSection,
    Mlp,
    OwnSection,
    TextSection,
)
from workbench.training.shape import ModelShape
from workbench.training.spec import FamilySpec
from workbench.training.tasks.tokens import vocab_size

__all__ = ["CHUNK_TOKENS", "FamilyPlan", "RunPlan", "model_shape", "plan_family"]

_BATCH_POWER = {"fixed": 0.0, "sqrt": 0.5, "linear": 1.0}


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


def model_shape(
    spec: FamilySpec,
    width: int,
    *,
    depth: int | None = None,
    parameterisation: Parameterisation | None = None,
) -> TrainedShape:
    """Return the model of one width; what is not given comes from the [model] section.

    Raises
    ------
    ArgumentError
        If `width` is not a multiple of the head size, or an mlp is asked to scale with its depth.
    """
    model = spec.model
    rule = parameterisation or model.parameterisation
    task = spec.task
    if isinstance(model, Mlp) or isinstance(task, FourierSection):
        if rule == "completep":
            msg = "parameterisation 'completep' is for transformers. Use 'mup' or 'standard'."
            raise ArgumentError(msg)
        # The spec pairs the mlp with tasks that have points only.
        assert isinstance(task, FourierSection | OwnSection)
        inputs = task.dimensions
        return MlpShape(width, depth or model.depth, inputs, model.base_width, rule)
    if width % model.head_size:
        near = max(1, round(width / model.head_size)) * model.head_size
        msg = (
            f"width {width} is not a multiple of head_size {model.head_size}. "
            f"Use width {near}, or change head_size in [model]."
        )
        raise ArgumentError(msg)
    return ModelShape(
        width=width,
        depth=depth or model.depth,
        head_size=model.head_size,
        expansion=model.expansion,
        vocab=_vocab(task),
        context=model.context,
        base_width=model.base_width,
        base_depth=model.base_depth,
        parameterisation=rule,
    )


def _vocab(task: MarkovSection | TextSection | DatasetSection | OwnSection) -> int:
    if isinstance(task, TextSection | DatasetSection):
        return vocab_size(task.tokenizer)
    return task.vocab


@dataclass(frozen=True)
class _Cell:
    """One combination of a group's values; None where the sections decide."""

    seed: int
    schedule: Schedule
    tau: float | str | None
    weight_decay: float | None
    tpp: float
    width: int
    depth: int | None
    sequences: int | None
    peak_lr: float | None
    beta1: float | None
    beta2: float | None
    parameterisation: Parameterisation | None
    fault: str


def _cells(group: Group) -> Iterator[_Cell]:
    names = [field.name for field in fields(_Cell)]
    axes: list[tuple[Any, ...]] = [getattr(group, name) or (None,) for name in names]
    return (_Cell(*values) for values in product(*axes))


def _runs_of(spec: FamilySpec, group: Group, number: int) -> list[RunPlan]:
    where = f"[[group]] number {number + 1} of family {spec.family!r}"
    try:
        return [_plan_run(spec, group, cell) for cell in _cells(group)]
    except ArgumentError as error:
        msg = f"{where}: {error}"
        raise ArgumentError(msg) from error


def _plan_run(spec: FamilySpec, group: Group, cell: _Cell) -> RunPlan:
    shape = model_shape(spec, cell.width, depth=cell.depth, parameterisation=cell.parameterisation)
    tokens = _tokens(spec, shape, cell.tpp)
    sequences = cell.sequences or _sequences(spec, shape, tokens)
    try:
        total_steps = steps_for_tokens(tokens, batch_size=sequences * shape.context)
    except ArgumentError as error:
        msg = f"width {cell.width} at tpp {cell.tpp:g}: {error}"
        raise ArgumentError(msg) from error
    base_lr = _base_lr(spec, cell, sequences)
    tau = _tau(cell, shape, base_lr=base_lr, total_steps=total_steps)
    course = NamedSchedule(
        cell.schedule, group.warmup_fraction, group.decay_fraction, group.final_lr_fraction
    )
    faults = {fault.name: fault for fault in spec.fault}
    optimizer = spec.optimizer
    return RunPlan(
        run_id=f"{spec.family}-{_label(cell, group)}-s{cell.seed}",
        shape=shape,
        sequences=sequences,
        total_steps=total_steps,
        tau=tau,
        tpp=cell.tpp if spec.horizon.exponent == 1 else tokens / shape.model_size,
        base_lr=base_lr,
        schedule=cell.schedule,
        warmup_fraction=group.warmup_fraction,
        decay_fraction=course.decay_share,
        final_lr_fraction=course.end_factor,
        seed=cell.seed,
        data_seed=cell.seed if group.data_seed is None else group.data_seed,
        beta1=optimizer.beta1 if cell.beta1 is None else cell.beta1,
        beta2=optimizer.beta2 if cell.beta2 is None else cell.beta2,
        fault=faults.get(cell.fault),
        task=spec.task.label if isinstance(spec.task, OwnSection) else spec.task.name,
        optimizer=optimizer.name,
    )


def _tokens(spec: FamilySpec, shape: TrainedShape, tpp: float) -> float:
    horizon = spec.horizon
    if horizon.exponent == 1:
        return tpp * shape.model_size
    reference = _reference(spec, horizon.at_width, "horizon").model_size
    return float(tpp * reference * (shape.model_size / reference) ** horizon.exponent)


def _sequences(spec: FamilySpec, shape: TrainedShape, tokens: float) -> int:
    batch = spec.batch
    if batch.rule == "fixed":
        return batch.sequences
    reference = _reference(spec, batch.at_width, "batch")
    if batch.rule == "model_size":
        amount, usual = float(shape.model_size), float(reference.model_size)
    else:
        amount, usual = tokens, _tokens(spec, reference, batch.at_tpp)
    # Exact where the exponent is one: 8·N/N₀ may end in a half.
    power = batch.power
    ideal = (
        batch.sequences * amount / usual
        if power == 1
        else batch.sequences * (amount / usual) ** power
    )
    return max(1, math.floor(ideal + 0.5))


def _reference(spec: FamilySpec, width: int, section: str) -> TrainedShape:
    try:
        return model_shape(spec, width)
    except ArgumentError as error:
        msg = f"at_width of [{section}]: {error}"
        raise ArgumentError(msg) from error


def _base_lr(spec: FamilySpec, cell: _Cell, sequences: int) -> float:
    if cell.peak_lr is not None:
        return cell.peak_lr
    power = _BATCH_POWER[spec.optimizer.batch_rule]
    return float(spec.optimizer.peak_lr * (sequences / spec.batch.sequences) ** power)


def _tau(cell: _Cell, shape: TrainedShape, *, base_lr: float, total_steps: int) -> float:
    if cell.weight_decay is not None:
        # ηλ is that of the base width at every width, as the engine's decay has it.
        tau = 1 / (base_lr * cell.weight_decay * total_steps) if cell.weight_decay else math.inf
    elif isinstance(cell.tau, str):
        recipe = find_recipe(cell.tau)
        tau = float(recipe.tau(tpp=cell.tpp, model_size=shape.model_size))
    else:
        tau = float(cell.tau or math.inf)
    if tau * total_steps <= 1:
        msg = (
            f"tau {tau:g} of {total_steps} steps is at most one step at width {cell.width}: "
            "weights would decay away at once. Raise tau or tpp, or lower the batch size or the "
            "weight decay."
        )
        raise ArgumentError(msg)
    return tau


def _label(cell: _Cell, group: Group) -> str:
    """Name a run by its controls, and by whatever else is not what the sections say."""
    horizon = f"tau{cell.tau}" if isinstance(cell.tau, str) else f"tau{cell.tau or 0:g}"
    if cell.weight_decay is not None:
        horizon = f"wd{cell.weight_decay:g}"
    parts = [f"w{cell.width}"]
    if cell.depth is not None:
        parts.append(f"d{cell.depth}")
    parts += [_schedule_label(cell.schedule, group), horizon, f"tpp{cell.tpp:g}"]
    others = {"b": cell.sequences, "lr": cell.peak_lr, "beta1-": cell.beta1, "beta2-": cell.beta2}
    parts += [f"{name}{value:g}" for name, value in others.items() if value is not None]
    if cell.parameterisation is not None:
        parts.append(cell.parameterisation)
    if cell.fault != NO_FAULT:
        parts.append(cell.fault)
    return "-".join(parts)


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
