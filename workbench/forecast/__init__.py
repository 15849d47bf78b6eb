"""Where a run will end, from its beginning and from the runs that ended before it."""

from __future__ import annotations

from workbench.forecast.combine import BackTest
from workbench.forecast.constants import SLIMPAJAMA_LLAMA
from workbench.forecast.final import LEVEL, forecast_track, predict_final
from workbench.forecast.kernels_prefix import ALIGNERS, Aligner, align_scale
from workbench.forecast.learning_rate import learning_rate_factors
from workbench.forecast.members import Member
from workbench.forecast.members_asked import METHODS, Method
from workbench.forecast.own import own_power_law
from workbench.forecast.prefix import describe_prefix, final_levels, truncate
from workbench.forecast.result import FinalForecast
from workbench.forecast.schedule import CurveLaw, CurveLawFitter, SurrogateLaw, surrogate_law
from workbench.forecast.schedule_laws import ScheduleLaw, annealing_law, multi_power_law
from workbench.forecast.selection import replay_sweep
from workbench.forecast.surrogate import SurrogateFit, fit_surrogate

__all__ = [
    "ALIGNERS",
    "LEVEL",
    "METHODS",
    "SLIMPAJAMA_LLAMA",
    "Aligner",
    "BackTest",
    "CurveLaw",
    "CurveLawFitter",
    "FinalForecast",
    "Member",
    "Method",
    "ScheduleLaw",
    "SurrogateFit",
    "SurrogateLaw",
    "align_scale",
    "annealing_law",
    "describe_prefix",
    "final_levels",
    "fit_surrogate",
    "forecast_track",
    "learning_rate_factors",
    "multi_power_law",
    "own_power_law",
    "predict_final",
    "replay_sweep",
    "surrogate_law",
    "truncate",
]
