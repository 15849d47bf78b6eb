"""From a size and a horizon to a recipe: batch, steps, learning rate, decay, warm-up, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.errors import ArgumentError
from workbench.recipes.architecture import FlopCount, TransformerShape
from workbench.recipes.controls import Controls, solve_controls
from workbench.recipes.parameterisation import ParameterGroup, Parameterisation, Scaling
from workbench.recipes.plan import GroupPlan, Plan
from workbench.recipes.plan_notes import batch_notes, ladder_notes, rate_notes, size_notes
from workbench.recipes.presets import Recipe, RecipeName, find_recipe
from workbench.recipes.schedules import NamedSchedule, Schedule
from workbench.recipes.timescale import steps_for_tokens, tokens_for_tpp, training_compute

_POSITIVE = (
    "tau",
    "batch_size",
    "base_lr",
    "peak_lr",
    "weight_decay",
    "context",
    "width",
    "depth",
    "base_width",
    "base_depth",
)


@dataclass(frozen=True)
class Overrides:
    """What the user fixes instead of the recipe; None leaves it to the recipe.

    Parameters
    ----------
    tau : float
        Timescale of the hidden matrices, share of the run.
    batch_size : float, tokens
        Kept to the nearest whole sequence.
    base_lr : float
        Peak learning rate at the proxy.
    peak_lr, weight_decay : float
        η and λ of the hidden matrices; with both, τ follows.
    warmup_fraction : float
        Share of the run.
    schedule : str
        Name of the schedule.
    decay_fraction, final_lr_fraction : float
        See `NamedSchedule`.
    context : int
        Tokens in a sequence.
    width, depth : int
        Shape of the model, for its learning rates.
    base_width, base_depth : int
        Shape of the proxy.
    rule : str
        Parameterisation.

    Raises
    ------
    ArgumentError
        If a number that must be positive is not.
    """

    tau: float | None = None
    batch_size: float | None = None
    base_lr: float | None = None
    peak_lr: float | None = None
    weight_decay: float | None = None
    warmup_fraction: float | None = None
    schedule: Schedule | None = None
    decay_fraction: float | None = None
    final_lr_fraction: float = 0.0
    context: int | None = None
    width: int | None = None
    depth: int | None = None
    base_width: int | None = None
    base_depth: int | None = None
    rule: Parameterisation | None = None

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None:
                _require_positive(name, value)


def plan_run(
    model_size: float,
    *,
    tpp: float,
    recipe: RecipeName | Recipe = "celerity",
    overrides: Overrides | None = None,
    shape: TransformerShape | None = None,
    flops_count: FlopCount | None = None,
) -> Plan:
    """Work out a recipe for one model size and horizon.

    Parameters
    ----------
    model_size : float, parameters
        N, embeddings counted as in the laws.
    tpp : float, tokens per parameter
        Horizon D/N.
    recipe : {"celerity", "power-lines"} or Recipe
        Where what is not given comes from.
    overrides : Overrides, optional
        What is given.
    shape : TransformerShape, optional
        For the detailed FLOP count and, where not overridden, width, depth and context.
    flops_count : {"6ND", "table9", "matmul"}, optional
        ``matmul`` by default with a shape, else 6ND.

    Returns
    -------
    Plan

    Raises
    ------
    ArgumentError
        If a number is not positive, the values contradict one another, a batch holds more tokens
        than the run, or τ is at most one step.
    """
    preset = find_recipe(recipe) if isinstance(recipe, str) else recipe
    given = _with_shape(overrides or Overrides(), shape)
    context = given.context or preset.context
    _require_positive("model_size", model_size)
    _require_positive("tpp", tpp)
    wanted = tokens_for_tpp(float(tpp), model_size=float(model_size))
    _require_positive("tokens_total", wanted)
    law_batch = preset.batch(model_size=model_size, tokens_total=wanted)
    batch = context * _sequences(preset, given.batch_size, law_batch, context)
    steps = steps_for_tokens(wanted, batch_size=batch)
    tokens = float(steps * batch)
    scaling = _scaling(preset, given)
    found, at_proxy = _rates(preset, given, scaling, tpp=tpp, batch=batch, steps=steps)
    schedule, warmup_steps = _schedule(preset, given, tokens=tokens, steps=steps)
    critical = preset.critical_batch(tokens_total=tokens)
    count = flops_count or ("matmul" if shape else "6ND")
    notes = [
        *size_notes(preset, model_size, tpp, given_tau=given.tau, shape=shape),
        *batch_notes(batch, critical, law_batch, given_batch=given.batch_size),
        *rate_notes(preset, found, tpp, at_proxy=at_proxy, scaling=scaling),
        *ladder_notes(preset, [(model_size, warmup_steps / steps)], given.warmup_fraction),
    ]
    return Plan(
        recipe=preset.name,
        model_size=float(model_size),
        tau=float(found.value("tau")),
        tokens_total=steps * batch,
        batch_size=batch,
        context=context,
        total_steps=steps,
        warmup_steps=warmup_steps,
        peak_lr=float(found.value("peak_lr")),
        weight_decay=float(found.value("weight_decay")),
        schedule=schedule,
        flops=_flops(shape, model_size, tokens, count),
        flops_count=count,
        critical_batch=critical,
        groups=None if scaling is None else _groups(scaling, found),
        notes=tuple(notes),
    )


def plan_ladder(
    model_sizes: Sequence[float],
    *,
    tpp: float,
    recipe: RecipeName | Recipe = "celerity",
    overrides: Overrides | None = None,
) -> tuple[tuple[Plan, ...], tuple[str, ...]]:
    """Work out a recipe for several sizes, and say what will keep their curves apart.

    Returns
    -------
    plans : tuple of Plan
        One a size, in the order given.
    notes : tuple of str
        About the sizes together.

    Raises
    ------
    ArgumentError
        As `plan_run`, or if a width is given: it cannot hold for all sizes.
    """
    preset = find_recipe(recipe) if isinstance(recipe, str) else recipe
    given = overrides or Overrides()
    if len(model_sizes) > 1 and (given.width or given.depth):
        msg = "width and depth belong to one model; leave them out, or plan one size at a time."
        raise ArgumentError(msg)
    plans = tuple(plan_run(n, tpp=tpp, recipe=preset, overrides=given) for n in model_sizes)
    shares = [(plan.model_size, plan.warmup_fraction) for plan in plans]
    return plans, tuple(ladder_notes(preset, shares, given.warmup_fraction))


def _with_shape(given: Overrides, shape: TransformerShape | None) -> Overrides:
    if shape is None:
        return given
    filled = {name: getattr(given, name) or getattr(shape, name) for name in ("width", "depth")}
    return Overrides(**(vars(given) | filled | {"context": given.context or shape.context}))


def _scaling(preset: Recipe, given: Overrides) -> Scaling | None:
    base_width = given.base_width or preset.base_width
    if given.width is None or base_width is None:
        return None
    base_depth = given.base_depth or preset.base_depth
    depth = given.depth if base_depth else None
    return Scaling(
        given.rule or preset.rule,
        width=given.width,
        base_width=base_width,
        depth=depth or base_depth or 1,
        base_depth=base_depth or 1,
    )


def _sequences(preset: Recipe, given: float | None, law: float, context: int) -> int:
    """Return whole sequences: the nearest to a batch that is given, a round number for the law."""
    if given is None:
        return preset.sequences(law, context=context)
    return max(1, round(given / context))


def _rates(
    preset: Recipe,
    given: Overrides,
    scaling: Scaling | None,
    *,
    tpp: float,
    batch: int,
    steps: int,
) -> tuple[Controls, bool]:
    """Return η, λ and τ of the hidden matrices, and whether η is the one at the proxy."""
    if given.base_lr is not None and given.peak_lr is not None:
        msg = "Give peak_lr (of the hidden matrices) or base_lr (at the proxy), not both."
        raise ArgumentError(msg)
    tau, peak_lr, weight_decay = given.tau, given.peak_lr, given.weight_decay
    at_proxy = False
    if peak_lr is None and (tau is None or weight_decay is None):
        factor = scaling.groups()["hidden"].learning_rate if scaling else 1.0
        peak_lr = (given.base_lr or preset.base_lr) * factor
        at_proxy = scaling is None
    if tau is None and weight_decay is None:
        tau = preset.tau(tpp=tpp)
    found = solve_controls(
        tau=tau,
        peak_lr=peak_lr,
        weight_decay=weight_decay,
        batch_size=float(batch),
        total_steps=float(steps),
    )
    tau_steps = float(found.value("tau_steps"))
    if tau_steps <= 1:
        msg = (
            f"tau {float(found.value('tau')):.4g} of {steps} steps is at most one step: weights "
            "would decay away at once. Raise tau or tpp, or lower the batch size."
        )
        raise ArgumentError(msg)
    return found, at_proxy


def _schedule(
    preset: Recipe, given: Overrides, *, tokens: float, steps: int
) -> tuple[NamedSchedule, int]:
    share = given.warmup_fraction
    share = preset.warmup_share(tokens) if share is None else share
    if not 0 <= share < 1:
        msg = f"warmup_fraction must be in [0, 1), found {share!r}. 0.1 is usual."
        raise ArgumentError(msg)
    warmup_steps = max(1, round(share * steps))
    if warmup_steps == steps > 1:
        msg = f"warmup_fraction {share!r} leaves no step after the warm-up of {steps}. Lower it."
        raise ArgumentError(msg)
    schedule = NamedSchedule(
        given.schedule or preset.schedule,
        warmup_fraction=min(warmup_steps / steps, 1 - 1 / (steps + 1)),
        decay_fraction=given.decay_fraction,
        final_lr_fraction=given.final_lr_fraction,
    )
    return schedule, warmup_steps


def _flops(
    shape: TransformerShape | None, model_size: float, tokens: float, count: FlopCount
) -> float:
    if shape is None:
        if count != "6ND":
            msg = (
                f"flops_count {count!r} needs the shape of the model. Give width, depth and vocab."
            )
            raise ArgumentError(msg)
        return training_compute(model_size=model_size, tokens_total=tokens)
    return shape.flops(tokens, count)


def _groups(scaling: Scaling, found: Controls) -> dict[ParameterGroup, GroupPlan]:
    rules = scaling.groups()
    hidden = rules["hidden"]
    base_lr = float(found.value("peak_lr")) / hidden.learning_rate
    base_decay = float(found.value("weight_decay")) / hidden.weight_decay
    taus = scaling.group_timescales(float(found.value("tau")))
    return {
        name: GroupPlan(
            peak_lr=base_lr * rule.learning_rate,
            weight_decay=base_decay * rule.weight_decay,
            tau=taus[name] if rule.weight_decay else math.inf,
            init_multiplier=rule.init_std,
            epsilon_multiplier=rule.epsilon,
        )
        for name, rule in rules.items()
    }


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        msg = f"{name} must be positive and finite, found {value!r}."
        raise ArgumentError(msg)
