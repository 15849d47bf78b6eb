"""Laws fitted to curves and end points, each with intervals."""

from __future__ import annotations

from workbench.laws.chinchilla import ChinchillaFit, fit_chinchilla
from workbench.laws.estimate import Estimate, FittedLaw
from workbench.laws.frontier import FrontierFit, fit_frontier
from workbench.laws.horizon import Horizon, at_horizon
from workbench.laws.isoflop import IsoflopFit, fit_isoflop
from workbench.laws.optimum import OptimumFit, fit_optimum
from workbench.laws.overtraining import OvertrainingFit, fit_overtraining
from workbench.laws.power_law import PFLOP, PowerLawFit, fit_power_law
from workbench.laws.power_sum import PowerSumFit, fit_power_sum

__all__ = [
    "PFLOP",
    "ChinchillaFit",
    "Estimate",
    "FittedLaw",
    "FrontierFit",
    "Horizon",
    "IsoflopFit",
    "OptimumFit",
    "OvertrainingFit",
    "PowerLawFit",
    "PowerSumFit",
    "at_horizon",
    "fit_chinchilla",
    "fit_frontier",
    "fit_isoflop",
    "fit_optimum",
    "fit_overtraining",
    "fit_power_law",
    "fit_power_sum",
]
