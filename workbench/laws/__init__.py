"""Laws fitted to curves and end points, each with intervals."""

from __future__ import annotations

from workbench.laws.annealing import fit_annealing
from workbench.laws.chinchilla import ChinchillaFit, fit_chinchilla
from workbench.laws.cooldown_transfer import TransferredEnd, transfer_cooldowns
from workbench.laws.curve_fit import CurveFit, Score
from workbench.laws.estimate import Estimate, FittedLaw
from workbench.laws.frontier import FrontierFit, fit_frontier
from workbench.laws.horizon import Horizon, at_horizon
from workbench.laws.isoflop import IsoflopFit, fit_isoflop
from workbench.laws.learning_rates import ScheduledRun, scheduled_runs
from workbench.laws.multi_power import fit_multi_power, published_multi_power
from workbench.laws.noise import NoiseFit, fit_noise
from workbench.laws.noisy_quadratic import noisy_quadratic
from workbench.laws.optimum import OptimumFit, fit_optimum
from workbench.laws.overtraining import OvertrainingFit, fit_overtraining
from workbench.laws.power_law import PFLOP, PowerLawFit, fit_power_law
from workbench.laws.power_sum import PowerSumFit, fit_power_sum
from workbench.laws.schedule_choice import ScheduleChoice, choose_schedule_law
from workbench.laws.schedule_design import ScheduleDesign, design_schedule

__all__ = [
    "PFLOP",
    "ChinchillaFit",
    "CurveFit",
    "Estimate",
    "FittedLaw",
    "FrontierFit",
    "Horizon",
    "IsoflopFit",
    "NoiseFit",
    "OptimumFit",
    "OvertrainingFit",
    "PowerLawFit",
    "PowerSumFit",
    "ScheduleChoice",
    "ScheduleDesign",
    "ScheduledRun",
    "Score",
    "TransferredEnd",
    "at_horizon",
    "choose_schedule_law",
    "design_schedule",
    "fit_annealing",
    "fit_chinchilla",
    "fit_frontier",
    "fit_isoflop",
    "fit_multi_power",
    "fit_noise",
    "fit_optimum",
    "fit_overtraining",
    "fit_power_law",
    "fit_power_sum",
    "noisy_quadratic",
    "published_multi_power",
    "scheduled_runs",
    "transfer_cooldowns",
]
