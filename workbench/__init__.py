"""Loss-curve collapse, from logs to a verdict.

Public names load on first use, so that the import itself stays light. ``ds.collapse`` becomes
available as soon as xarray and this package have both been imported, in either order.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from workbench.collapse import (
        CollapseReport,
        collapse_quality,
        collapse_report,
        fit_offset,
        normalize,
    )
    from workbench.curves import on_progress, smooth, to_cube
    from workbench.errors import ArgumentError, CollapseWarning, DataError, WorkbenchError
    from workbench.forecast import FinalForecast, fit_surrogate, predict_final
    from workbench.io import read
    from workbench.laws import (
        at_horizon,
        choose_schedule_law,
        design_schedule,
        fit_annealing,
        fit_chinchilla,
        fit_frontier,
        fit_isoflop,
        fit_multi_power,
        fit_noise,
        fit_optimum,
        fit_overtraining,
        fit_power_law,
        fit_power_sum,
    )
    from workbench.recipes import plan_ladder, plan_run
    from workbench.schema import concat_runs, conform, make_runs, select_runs
    from workbench.store import Recorder, open_store
    from workbench.training import FunctionTask, load_spec, parse_spec, train_family
    from workbench.tree import open
    from workbench.views import Explorer, notebook
    from workbench.watch import Monitor, Reference, monitor_run

__version__ = "0.1.0"

_HOME = {
    "ArgumentError": "errors",
    "CollapseReport": "collapse",
    "CollapseWarning": "errors",
    "DataError": "errors",
    "Explorer": "views",
    "FinalForecast": "forecast",
    "FunctionTask": "training",
    "Monitor": "watch",
    "Recorder": "store",
    "Reference": "watch",
    "WorkbenchError": "errors",
    "at_horizon": "laws",
    "choose_schedule_law": "laws",
    "collapse_quality": "collapse",
    "collapse_report": "collapse",
    "concat_runs": "schema",
    "conform": "schema",
    "design_schedule": "laws",
    "fit_annealing": "laws",
    "fit_chinchilla": "laws",
    "fit_frontier": "laws",
    "fit_isoflop": "laws",
    "fit_multi_power": "laws",
    "fit_noise": "laws",
    "fit_offset": "collapse",
    "fit_optimum": "laws",
    "fit_overtraining": "laws",
    "fit_power_law": "laws",
    "fit_power_sum": "laws",
    "fit_surrogate": "forecast",
    "load_spec": "training",
    "make_runs": "schema",
    "monitor_run": "watch",
    "normalize": "collapse",
    "notebook": "views",
    "on_progress": "curves",
    "open": "tree",
    "open_store": "store",
    "plan_ladder": "recipes",
    "plan_run": "recipes",
    "parse_spec": "training",
    "predict_final": "forecast",
    "read": "io",
    "select_runs": "schema",
    "smooth": "curves",
    "to_cube": "curves",
    "train_family": "training",
}

__all__ = [
    "ArgumentError",
    "CollapseReport",
    "CollapseWarning",
    "DataError",
    "Explorer",
    "FinalForecast",
    "FunctionTask",
    "Monitor",
    "Recorder",
    "Reference",
    "WorkbenchError",
    "__version__",
    "at_horizon",
    "choose_schedule_law",
    "collapse_quality",
    "collapse_report",
    "concat_runs",
    "conform",
    "design_schedule",
    "fit_annealing",
    "fit_chinchilla",
    "fit_frontier",
    "fit_isoflop",
    "fit_multi_power",
    "fit_noise",
    "fit_offset",
    "fit_optimum",
    "fit_overtraining",
    "fit_power_law",
    "fit_power_sum",
    "fit_surrogate",
    "load_spec",
    "make_runs",
    "monitor_run",
    "normalize",
    "notebook",
    "on_progress",
    "open",
    "open_store",
    "parse_spec",
    "plan_ladder",
    "plan_run",
    "predict_final",
    "read",
    "select_runs",
    "smooth",
    "to_cube",
    "train_family",
]


def __getattr__(name: str) -> Any:
    if name == "callbacks":  # a room of its own: what is in it needs transformers or lightning
        return import_module("workbench.callbacks")
    if name not in _HOME:
        msg = f"module 'workbench' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"workbench.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


@wrapt.when_imported("xarray")
def _register_accessor(xarray: ModuleType) -> None:
    def collapse(ds: Any) -> Any:
        """Give the verbs of the workbench on these runs or this cube."""
        return import_module("workbench.accessor").CollapseAccessor(ds)

    xarray.register_dataset_accessor("collapse")(collapse)
