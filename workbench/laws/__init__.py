"""Laws fitted to curves and end points, each with intervals."""

from __future__ import annotations

from workbench.laws.power_law import PFLOP, Estimate, PowerLawFit, fit_power_law

__all__ = ["PFLOP", "Estimate", "PowerLawFit", "fit_power_law"]
