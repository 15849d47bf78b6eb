"""The verb that works out a recipe before anything trains: plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, Selection
from workbench.curves import final_loss, is_complete, on_progress
from workbench.errors import ArgumentError, DataError
from workbench.laws import PFLOP
from workbench.laws.extrapolation import Extrapolation, extrapolate_power_law
from workbench.recipes import (
    FlopCount,
    Overrides,
    Parameterisation,
    Plan,
    RecipeName,
    Schedule,
    TransformerShape,
    plan_ladder,
    plan_run,
    training_compute,
)
from workbench.schema import LossName
from workbench.text import plain

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_COUNT = re.compile(r"([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kmbt]?)", re.IGNORECASE)
_SAME_TPP = 0.05


@Parameter(name="*")
@dataclass(frozen=True)
class Fixed:
    """What the user fixes instead of the recipe."""

    tau: Annotated[float | None, Parameter(help="Timescale, share of the run.")] = None
    batch_size: Annotated[str | None, Parameter(help="Tokens a step, as 1e6 or 1M.")] = None
    base_lr: Annotated[float | None, Parameter(help="Peak learning rate at the proxy.")] = None
    peak_lr: Annotated[float | None, Parameter(help="Peak rate of the hidden matrices.")] = None
    weight_decay: Annotated[float | None, Parameter(help="Decay of the hidden matrices.")] = None
    warmup_fraction: Annotated[float | None, Parameter(help="Share of the run.")] = None
    schedule: Annotated[Schedule | None, Parameter(help="Learning-rate schedule.")] = None
    decay_fraction: Annotated[float | None, Parameter(help="Share of the run.")] = None
    final_lr_fraction: Annotated[float, Parameter(help="Last rate over the peak.")] = 0.0
    context: Annotated[int | None, Parameter(help="Tokens in a sequence.")] = None
    base_width: Annotated[int | None, Parameter(help="Width of the proxy.")] = None
    base_depth: Annotated[int | None, Parameter(help="Depth of the proxy.")] = None
    rule: Annotated[
        Parameterisation | None, Parameter(name="--parameterisation", help="How rates scale.")
    ] = None

    def overrides(self, *, width: int | None, depth: int | None) -> Overrides:
        """Return them with the width and depth of the model."""
        batch = None if self.batch_size is None else parse_count(self.batch_size, "--batch-size")
        given: dict[str, Any] = vars(self) | {"batch_size": batch, "width": width, "depth": depth}
        return Overrides(**given)


@Parameter(name="*")
@dataclass(frozen=True)
class Shape:
    """The model, for its learning rates and its detailed FLOP count."""

    width: Annotated[int | None, Parameter(help="Model width.")] = None
    depth: Annotated[int | None, Parameter(help="Blocks.")] = None
    vocab: Annotated[int | None, Parameter(help="Vocabulary; with it FLOP are detailed.")] = None
    ffn_width: Annotated[int | None, Parameter(help="Inner width; default as the recipe.")] = None
    flops_count: Annotated[FlopCount | None, Parameter(help="How to count FLOP.")] = None

    def transformer(self, recipe: RecipeName, context: int | None) -> TransformerShape | None:
        """Return the shape when width, depth and vocabulary are all given."""
        if self.vocab is None:
            return None
        if self.width is None or self.depth is None:
            msg = "--vocab asks for a detailed FLOP count, which also needs --width and --depth."
            raise ArgumentError(msg)
        gated = recipe == "power-lines"
        usual = round(8 * self.width / 3) if gated else 8 * self.width
        return TransformerShape(
            self.width,
            self.depth,
            vocab=self.vocab,
            ffn_width=self.ffn_width or usual,
            context=context or (2048 if gated else 8192),
            gated=gated,
            tied=gated,
        )


@app.command
def plan(
    *,
    model_size: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="Parameters, as 1e9 or 300M. Repeat for a ladder of sizes."),
    ],
    tpp: Annotated[float, Parameter(help="Tokens per parameter.")],
    recipe: Annotated[RecipeName, Parameter(help="Published recipe to follow.")] = "celerity",
    fixed: Fixed | None = None,
    shape: Shape | None = None,
    selection: Selection | None = None,
    loss: Annotated[
        LossName | None, Parameter(help="Loss to predict from the selected runs.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Work out batch, steps, learning rate, decay and warm-up of a run, with what to watch.

    With --store or --where the final loss is predicted by a power law through the selected runs.
    """
    fixed, shape = fixed or Fixed(), shape or Shape()
    sizes = [parse_count(text, "--model-size") for text in model_size]
    if not sizes:
        msg = "--model-size is missing. Give the number of parameters, as 1e9 or 300M."
        raise ArgumentError(msg)
    overrides = fixed.overrides(width=shape.width, depth=shape.depth)
    transformer = shape.transformer(recipe, fixed.context)
    if len(sizes) > 1:
        if transformer is not None:
            msg = "--vocab describes one model; give one --model-size with it."
            raise ArgumentError(msg)
        plans, notes = plan_ladder(sizes, tpp=tpp, recipe=recipe, overrides=overrides)
    else:
        one = plan_run(
            sizes[0],
            tpp=tpp,
            recipe=recipe,
            overrides=overrides,
            shape=transformer,
            flops_count=shape.flops_count,
        )
        plans, notes = (one,), ()
    told = [_with_loss(p, selection, loss) for p in plans]
    if len(told) == 1:
        emit(told[0][0], told[0][1], as_json=json)
        return
    text = "\n\n".join([text for _, text in told] + [f"note: {note}" for note in notes])
    emit({"plans": [data for data, _ in told], "notes": list(notes)}, text, as_json=json)


def parse_count(text: str, option: str) -> float:
    """Read a count with an optional unit letter: 1e9, 300M, 1.8B."""
    match = _COUNT.fullmatch(text.strip())
    try:
        value = float(match[1]) * _UNITS[match[2].lower()] if match else float("nan")
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        msg = f"{option} takes a positive count such as 1e9, 300M or 1.8B, found {text!r}."
        raise ArgumentError(msg)
    return value


def _with_loss(
    plan: Plan, selection: Selection | None, loss: LossName | None
) -> tuple[dict[str, Any], str]:
    data, text = plan.to_dict(), str(plan)
    if selection is None or not (selection.store or selection.where):
        return data, text
    name, found = _predict(plan, selection, loss)
    interval = found.loss.to_dict() | {"level": found.fit.level}
    source = (
        f"power law of {name} through {found.fit.n_points} sizes at {plan.tpp:.3g} tokens per "
        f"parameter, read at {found.beyond:.2g} times their largest compute (6ND); the interval is "
        "that of the law's mean"
    )
    notes = [*data["notes"], f"predicted_loss: {source}.", *found.fit.warnings]
    data |= {"predicted_loss": found.loss.estimate, "notes": notes}
    data["predicted_loss_interval"] = interval
    text += (
        f"\nfinal loss     {found.loss.estimate:.4f} ({found.loss.lower:.4f} to "
        f"{found.loss.upper:.4f}, {100 * found.fit.level:.0f} %): {source}"
    )
    return plain(data), "\n".join([text, *(f"note: {note}" for note in found.fit.warnings)])


def _predict(plan: Plan, selection: Selection, loss: LossName | None) -> tuple[str, Extrapolation]:
    curves = on_progress(selection.runs(), loss=loss)
    done = curves.isel(run=np.flatnonzero(is_complete(curves)))
    tpp = done["tpp"].to_numpy()
    if not done.sizes["run"] or not np.all(np.abs(tpp / plan.tpp - 1) <= _SAME_TPP):
        found = (
            "no finished runs" if not tpp.size else f"tpp from {tpp.min():.3g} to {tpp.max():.3g}"
        )
        msg = (
            f"A loss at {plan.tpp:.3g} tokens per parameter can only be predicted from finished "
            f"runs at the same, and the selection has {found}. Narrow it with --where 'tpp>=...' "
            "--where 'tpp<=...'."
        )
        raise DataError(msg)
    size, compute = done["model_size"].to_numpy(), done["compute_total"].to_numpy()
    final = final_loss(done).to_numpy()
    rows = [size == value for value in np.unique(size)]
    at = training_compute(model_size=plan.model_size, tokens_total=float(plan.tokens_total))
    prediction = extrapolate_power_law(
        [compute[row].mean() / PFLOP for row in rows],
        [final[row].mean() for row in rows],
        at=at / PFLOP,
    )
    return str(curves.name), prediction
