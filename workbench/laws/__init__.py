"""Laws fitted to curves and end points, each with intervals."""

from __future__ import annotations

from workbench.laws.chinchilla import ChinchillaFit, fit_chinchilla
from workbench.laws.estimate import Estimate, FittedLaw
from workbench.laws.frontier import FrontierFit, fit_frontier
from workbench.laws.power_law import PFLOP, PowerLawFit, fit_power_law

__all__ = [
    "PFLOP",
    "ChinchillaFit",
    "Estimate",
    "FittedLaw",
    "FrontierFit",
    "PowerLawFit",
    "fit_chinchilla",
    "fit_frontier",
    "fit_power_law",
]
