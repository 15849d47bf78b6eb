"""The verb that works out a recipe before anything trains: plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, Selection
from workbench.errors import ArgumentError
from workbench.forecast.planned import predict_planned
from workbench.recipes import (
    FlopCount,
    Overrides,
    Parameterisation,
    Plan,
    RecipeName,
    Schedule,
    TransformerShape,
    parse_count,
    plan_ladder,
    plan_run,
)
from workbench.schema import LossName
from workbench.text import plain


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
        batch = (
            None if self.batch_size is None else parse_count(self.batch_size, name="--batch-size")
        )
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
    sizes = [parse_count(text, name="--model-size") for text in model_size]
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


def _with_loss(
    plan: Plan, selection: Selection | None, loss: LossName | None
) -> tuple[dict[str, Any], str]:
    data, text = plan.to_dict(), str(plan)
    if selection is None or not (selection.store or selection.where):
        return data, text
    planned = predict_planned(plan, selection.runs(), loss=loss)
    found, source = planned.extrapolation, planned.source
    interval = found.loss.to_dict() | {"level": found.fit.level}
    notes = [*data["notes"], f"predicted_loss: {source}.", *found.fit.warnings]
    data |= {"predicted_loss": found.loss.estimate, "notes": notes}
    data["predicted_loss_interval"] = interval
    text += (
        f"\nfinal loss     {found.loss.estimate:.4f} ({found.loss.lower:.4f} to "
        f"{found.loss.upper:.4f}, {100 * found.fit.level:.0f} %): {source}"
    )
    return plain(data), "\n".join([text, *(f"note: {note}" for note in found.fit.warnings)])
