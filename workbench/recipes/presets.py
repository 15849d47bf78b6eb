"""Published recipes as one object each: the laws and constants a plan is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from workbench.errors import ArgumentError
from workbench.recipes.horizon import (
    BATCH_CELERITY,
    BATCH_POWER_LINES,
    CRITICAL_BATCH,
    TAU_CELERITY,
    TAU_POWER_LINES,
    HorizonLaw,
)
from workbench.recipes.parameterisation import Parameterisation
from workbench.recipes.schedules import Schedule

RecipeName = Literal["celerity", "power-lines"]
RECIPE_NAMES: tuple[RecipeName, ...] = get_args(RecipeName)


@dataclass(frozen=True)
class Recipe:
    """What a recipe fixes before size and horizon are known.

    Parameters
    ----------
    name : str
        Name of the preset.
    tau, batch, critical_batch : HorizonLaw
        Optimal τ, the batch size to use and the one beyond which more tokens are needed.
    base_lr : float
        Peak learning rate at the proxy.
    rule : str
        Parameterisation that carries it to other shapes.
    base_width, base_depth : int or None
        Shape of the proxy; None where the paper does not print it.
    context : int
        Tokens in a sequence.
    warmup_fraction : float
        Share of the run to warm up.
    warmup_tokens : float or None
        Upper limit on warm-up [tokens].
    schedule : str
        Learning-rate schedule.
    source : str
        Where it comes from.
    """

    name: RecipeName
    tau: HorizonLaw
    batch: HorizonLaw
    critical_batch: HorizonLaw
    base_lr: float
    rule: Parameterisation
    base_width: int | None
    base_depth: int | None
    context: int
    warmup_fraction: float
    warmup_tokens: float | None
    schedule: Schedule
    source: str

    def warmup_share(self, tokens_total: float) -> float:
        """Return the share of a run of `tokens_total` that the recipe warms up."""
        if self.warmup_tokens is None:
            return self.warmup_fraction
        return min(self.warmup_fraction, self.warmup_tokens / tokens_total)

    def sequences(self, tokens: float, *, context: int | None = None) -> int:
        """Return `tokens` in whole sequences: a multiple of 16, 8, 4 or 2 within 5 %, else any."""
        exact = tokens / (context or self.context)
        for multiple in (16, 8, 4, 2):
            near = round(exact / multiple) * multiple
            if near and abs(near / exact - 1) <= 0.05:
                return near
        return max(1, round(exact))


RECIPES: dict[RecipeName, Recipe] = {
    "celerity": Recipe(
        name="celerity",
        tau=TAU_CELERITY,
        batch=BATCH_CELERITY,
        critical_batch=CRITICAL_BATCH,
        base_lr=0.15,
        rule="completep",
        base_width=None,
        base_depth=None,
        context=8192,
        warmup_fraction=0.1,
        warmup_tokens=375e6,
        schedule="linear",
        source="Bergsma et al. 2025, arXiv:2509.25087, appendix C.2",
    ),
    "power-lines": Recipe(
        name="power-lines",
        tau=TAU_POWER_LINES,
        batch=BATCH_POWER_LINES,
        critical_batch=CRITICAL_BATCH,
        base_lr=1.62e-2,
        rule="mup",
        base_width=256,
        base_depth=24,
        context=2048,
        warmup_fraction=0.1,
        warmup_tokens=None,
        schedule="linear",
        source="Bergsma et al. 2025, arXiv:2505.13738, with the proxy of arXiv:2509.25087 table 5",
    ),
}


def find_recipe(name: str) -> Recipe:
    """Return a preset; `ArgumentError` lists the names when there is none."""
    for known, recipe in RECIPES.items():
        if known == name:
            return recipe
    msg = f"recipe must be one of {', '.join(RECIPE_NAMES)}, found {name!r}."
    raise ArgumentError(msg)
