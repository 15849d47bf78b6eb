"""What a plan has to say about itself: limits of the laws, and what will keep curves apart."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.recipes.architecture import TransformerShape
from workbench.recipes.controls import Controls
from workbench.recipes.horizon import tokens_to_same_loss
from workbench.recipes.parameterisation import Scaling
from workbench.recipes.presets import Recipe
from workbench.text import percent, short_count

_UNEQUAL = 0.05
_OFF_OPTIMUM = 1.5


def size_notes(
    preset: Recipe,
    model_size: float,
    tpp: float,
    *,
    given_tau: float | None,
    shape: TransformerShape | None,
) -> list[str]:
    """Say where the τ law is extrapolated and where shape and size disagree."""
    notes = [] if given_tau else preset.tau.beyond(tpp=tpp, model_size=model_size)
    if shape is not None and abs(shape.model_size() / model_size - 1) > 0.01:
        notes.append(
            f"The shape has {short_count(shape.model_size())} parameters, embeddings counted, but "
            f"model_size is {short_count(model_size)}: tokens and batch follow model_size, FLOP "
            "the shape."
        )
    return notes


def batch_notes(
    batch: int,
    critical: float,
    law_batch: float,
    *,
    given_batch: float | None,
) -> list[str]:
    """Warn of a batch above B_crit, and of whole sequences that moved it."""
    notes = []
    if batch > critical:
        more = tokens_to_same_loss(batch, critical=critical) / tokens_to_same_loss(
            min(law_batch, critical), critical=critical
        )
        notes.append(
            f"The batch of {short_count(batch)} tokens is above the critical batch of about "
            f"{short_count(critical)}: it needs about {percent(float(more) - 1)} more tokens for "
            "the same loss, and the τ law no longer holds there."
        )
    aimed = given_batch or law_batch
    if abs(batch / aimed - 1) > 0.05:
        notes.append(
            f"Whole sequences turn the batch of {short_count(aimed)} tokens into "
            f"{short_count(batch)}."
        )
    return notes


def rate_notes(
    preset: Recipe,
    found: Controls,
    tpp: float,
    *,
    at_proxy: bool,
    scaling: Scaling | None,
) -> list[str]:
    """Say what η and λ refer to, and how far τ is from its law."""
    notes = []
    tau, best = float(found.value("tau")), preset.tau(tpp=tpp)
    if not 1 / _OFF_OPTIMUM <= tau / best <= _OFF_OPTIMUM:
        notes.append(
            f"τ {tau:.3g} is {tau / best:.2g} times the {best:.3g} of the {preset.name} law at "
            f"{tpp:g} tokens per parameter: curves will collapse only with runs at the same τ."
        )
    if at_proxy and preset.base_width is not None:
        notes.append(
            f"peak_lr and weight_decay are those at the μP proxy of width {preset.base_width}. At "
            f"width w the hidden matrices take peak_lr·{preset.base_width}/w, and weight_decay·w/"
            f"{preset.base_width} keeps τ. Give width to have them worked out."
        )
    elif at_proxy:
        notes.append(
            f"peak_lr is the {preset.name} rate at its proxy, whose shape is not published, and "
            "weight_decay belongs to it; the recipe's CompleteP keeps their product, and with it "
            "τ, at every shape. Give peak_lr, or width and base_width of a proxy of your own."
        )
    if scaling is not None and scaling.rule == "mup" and scaling.width_ratio != 1:
        embedding = scaling.group_timescales(tau)["embedding"]
        notes.append(
            f"Under μP the embeddings keep the base rate, so their own τ is {embedding:.3g}: it "
            "changes with the width where that of the hidden matrices does not."
        )
    return notes


def ladder_notes(
    preset: Recipe, shares: Sequence[tuple[float, float]], given: float | None
) -> list[str]:
    """Warn of warm-up fractions that differ over sizes, or would."""
    if given is not None or preset.warmup_tokens is None:
        return []
    limit = short_count(preset.warmup_tokens)
    low, high = min(shares, key=lambda pair: pair[1]), max(shares, key=lambda pair: pair[1])
    fix = f"Give warmup_fraction, for instance {low[1]:.2g}, to all sizes."
    if len(shares) > 1 and high[1] > low[1] * (1 + _UNEQUAL):
        return [
            f"Warm-up takes {percent(high[1])} of the run at {short_count(high[0])} parameters but "
            f"{percent(low[1])} at {short_count(low[0])}: the curves will stand apart early. {fix}"
        ]
    if len(shares) == 1 and low[1] < preset.warmup_fraction * (1 - _UNEQUAL):
        return [
            f"Warm-up stops at {limit} tokens, {percent(low[1])} of this run; other sizes get "
            f"another share at the same tokens per parameter and stand apart early. {fix}"
        ]
    return []
