"""Train families of small models; torch loads in the training processes only."""

from __future__ import annotations

from workbench.training.language import MarkovLanguage
from workbench.training.launch import RunOutcome, TrainResult, train_family
from workbench.training.plan import FamilyPlan, RunPlan, plan_family
from workbench.training.progress import TrainEvent
from workbench.training.report import Pace
from workbench.training.shape import ModelShape
from workbench.training.spec import FamilySpec, load_spec, parse_spec, preset_names
from workbench.training.task import Batch, Task
from workbench.training.tasks import FourierTask, FunctionTask, MarkovTask, TextTask, build_task

__all__ = [
    "Batch",
    "FamilyPlan",
    "FamilySpec",
    "FourierTask",
    "FunctionTask",
    "MarkovLanguage",
    "MarkovTask",
    "ModelShape",
    "Pace",
    "RunOutcome",
    "RunPlan",
    "Task",
    "TextTask",
    "TrainEvent",
    "TrainResult",
    "build_task",
    "load_spec",
    "parse_spec",
    "plan_family",
    "preset_names",
    "train_family",
]
