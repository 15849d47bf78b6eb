"""Recipes: what the controls of a run imply for one another."""

from __future__ import annotations

from workbench.recipes.parameterisation import (
    ParameterKind,
    learning_rate_multiplier,
    matrix_init_std,
    residual_multiplier,
)
from workbench.recipes.schedules import (
    SCHEDULES,
    Schedule,
    decay_fraction_of,
    schedule_factors,
)
from workbench.recipes.timescale import (
    batch_size_for_tau,
    peak_lr_for_tau,
    steps_for_tokens,
    timescale,
    tokens_for_tpp,
    tokens_per_parameter,
    training_compute,
    weight_decay_for_tau,
)

__all__ = [
    "SCHEDULES",
    "ParameterKind",
    "Schedule",
    "batch_size_for_tau",
    "decay_fraction_of",
    "learning_rate_multiplier",
    "matrix_init_std",
    "peak_lr_for_tau",
    "residual_multiplier",
    "schedule_factors",
    "steps_for_tokens",
    "timescale",
    "tokens_for_tpp",
    "tokens_per_parameter",
    "training_compute",
    "weight_decay_for_tau",
]
