"""Recipes: what the controls of a run imply for one another."""

from __future__ import annotations

from workbench.recipes.architecture import (
    FLOP_COUNTS,
    SIZE_CONVENTIONS,
    FlopCount,
    SizeConvention,
    TransformerShape,
)
from workbench.recipes.averaging import (
    UpdateWeights,
    initial_weight,
    update_density,
    update_weights,
)
from workbench.recipes.controls import Controls, solve_controls
from workbench.recipes.counts import parse_count
from workbench.recipes.course import Course, TabulatedSchedule
from workbench.recipes.decay import DECAY_SHAPES, DecayShape, decay_factor, decay_integral
from workbench.recipes.hardware import ACCELERATORS, Accelerator, training_days
from workbench.recipes.horizon import LAWS, HorizonLaw, tokens_to_same_loss
from workbench.recipes.parameterisation import (
    PARAMETER_GROUPS,
    PARAMETERISATIONS,
    GroupRule,
    ParameterGroup,
    Parameterisation,
    ParameterKind,
    Scaling,
    learning_rate_multiplier,
    matrix_init_std,
    residual_multiplier,
)
from workbench.recipes.plan import GroupPlan, Plan, plans_to_dataset
from workbench.recipes.planner import Overrides, plan_ladder, plan_run
from workbench.recipes.presets import RECIPE_NAMES, RECIPES, Recipe, RecipeName, find_recipe
from workbench.recipes.recorded import schedule_from_coordinates
from workbench.recipes.schedules import (
    SCHEDULES,
    NamedSchedule,
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
from workbench.recipes.tradeoff import Allocation, CompressionTradeoff, compute_optimal

__all__ = [
    "ACCELERATORS",
    "DECAY_SHAPES",
    "FLOP_COUNTS",
    "LAWS",
    "PARAMETERISATIONS",
    "PARAMETER_GROUPS",
    "RECIPES",
    "RECIPE_NAMES",
    "SCHEDULES",
    "SIZE_CONVENTIONS",
    "Accelerator",
    "Allocation",
    "CompressionTradeoff",
    "Controls",
    "Course",
    "DecayShape",
    "FlopCount",
    "GroupPlan",
    "GroupRule",
    "HorizonLaw",
    "NamedSchedule",
    "Overrides",
    "ParameterGroup",
    "ParameterKind",
    "Parameterisation",
    "Plan",
    "Recipe",
    "RecipeName",
    "Scaling",
    "Schedule",
    "SizeConvention",
    "TabulatedSchedule",
    "TransformerShape",
    "UpdateWeights",
    "batch_size_for_tau",
    "compute_optimal",
    "decay_factor",
    "decay_fraction_of",
    "decay_integral",
    "find_recipe",
    "initial_weight",
    "learning_rate_multiplier",
    "matrix_init_std",
    "parse_count",
    "peak_lr_for_tau",
    "plan_ladder",
    "plan_run",
    "plans_to_dataset",
    "residual_multiplier",
    "schedule_factors",
    "schedule_from_coordinates",
    "solve_controls",
    "steps_for_tokens",
    "timescale",
    "tokens_for_tpp",
    "tokens_per_parameter",
    "tokens_to_same_loss",
    "training_compute",
    "training_days",
    "update_density",
    "update_weights",
    "weight_decay_for_tau",
]
