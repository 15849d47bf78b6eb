"""A recipe worked out for one run, as numbers, text and run coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import xarray as xr

from workbench.recipes.architecture import FlopCount
from workbench.recipes.parameterisation import ParameterGroup
from workbench.recipes.presets import RecipeName
from workbench.recipes.schedules import NamedSchedule
from workbench.text import plain, short_count


@dataclass(frozen=True)
class GroupPlan:
    """Settings of one parameter group; ``tau`` is infinite where nothing decays."""

    peak_lr: float
    weight_decay: float
    tau: float
    init_multiplier: float
    epsilon_multiplier: float


@dataclass(frozen=True)
class Plan:
    """A recipe worked out for one size and horizon.

    Parameters
    ----------
    recipe : str
        Name of the preset.
    model_size : float, parameters
        N, embeddings counted.
    tau : float, share of the run
        Timescale of the hidden matrices, met exactly by the whole number of steps.
    tokens_total, batch_size : int, tokens
        D and B; D = B·T.
    total_steps, warmup_steps : int
        T, and the steps of it that warm up.
    peak_lr, weight_decay : float
        η and λ of the hidden matrices, or at the proxy where the width is not known (see `notes`).
    schedule : NamedSchedule
        With the warm-up that the whole steps give.
    flops : float, FLOP
        Training compute, counted as `flops_count` says.
    critical_batch : float, tokens
        B_crit for D.
    groups : mapping or None
        Every parameter group, where the width is known.
    notes : tuple of str
        What to know before trusting the numbers.
    """

    recipe: RecipeName
    model_size: float
    tau: float
    tokens_total: int
    batch_size: int
    context: int
    total_steps: int
    warmup_steps: int
    peak_lr: float
    weight_decay: float
    schedule: NamedSchedule
    flops: float
    flops_count: FlopCount
    critical_batch: float
    groups: dict[ParameterGroup, GroupPlan] | None
    notes: tuple[str, ...]

    @property
    def tpp(self) -> float:
        """Tokens per parameter that the whole steps give."""
        return self.tokens_total / self.model_size

    @property
    def warmup_fraction(self) -> float:
        """Share of the run that warms up."""
        return self.warmup_steps / self.total_steps

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain numbers and text, JSON-ready; an infinite τ is null."""
        names = (
            "recipe model_size tpp tau tokens_total batch_size context total_steps warmup_steps "
            "warmup_fraction peak_lr weight_decay flops flops_count critical_batch"
        )
        content: dict[str, Any] = {name: getattr(self, name) for name in names.split()}
        content["schedule"] = self.schedule.name
        content["decay_fraction"] = self.schedule.decay_fraction
        content["final_lr_fraction"] = self.schedule.final_lr_fraction
        content["groups"] = self.groups and {k: vars(group) for k, group in self.groups.items()}
        content["predicted_loss"] = None
        content["notes"] = list(self.notes)
        found: dict[str, Any] = plain(content)
        return found

    def __str__(self) -> str:
        rows = [
            f"{short_count(self.model_size)} parameters, {self.tpp:.4g} tokens per parameter, "
            f"recipe {self.recipe}",
            f"tau            {self.tau:.4g} of the run, {self.tau * self.total_steps:.4g} steps",
            f"tokens         {short_count(self.tokens_total)}",
            f"batch          {short_count(self.batch_size)} tokens, "
            f"{self.batch_size // self.context} sequences of {self.context}",
            f"steps          {self.total_steps}, of which {self.warmup_steps} warm up "
            f"({100 * self.warmup_fraction:.3g} %)",
            f"learning rate  {self.peak_lr:.4g} at the peak, {self.schedule.name}",
            f"weight decay   {self.weight_decay:.4g}",
            f"compute        {self.flops:.4g} FLOP ({self.flops_count})",
        ]
        return "\n".join(rows + [f"note: {text}" for text in self.notes])

    def _repr_html_(self) -> str:
        head, *rows = str(self).split("\n")
        split = [row.partition(" " if row.startswith("note") else "  ") for row in rows]
        body = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(text.strip())}</td></tr>"
            for name, _, text in split
        )
        return f"<b>{escape(head)}</b><table>{body}</table>"


def plans_to_dataset(plans: Sequence[Plan]) -> xr.Dataset:
    """Return plans as a dataset with dims ``run`` and the run coordinates of the schema."""
    names = (
        "model_size tpp tau tokens_total batch_size total_steps warmup_steps warmup_fraction "
        "peak_lr weight_decay"
    )
    columns = {name: ("run", [float(getattr(p, name)) for p in plans]) for name in names.split()}
    columns["compute_total"] = ("run", [plan.flops for plan in plans])
    coords: dict[str, Any] = columns | {
        "schedule": ("run", [str(plan.schedule.name) for plan in plans]),
        "status": ("run", ["planned"] * len(plans)),
    }
    return xr.Dataset(coords=coords, attrs={"recipe": plans[0].recipe if plans else ""})
