"""What models can be trained on."""

from __future__ import annotations

from workbench.training.language import MarkovLanguage
from workbench.training.spec import FamilySpec
from workbench.training.task import Task
from workbench.training.tasks.markov import MarkovTask

__all__ = ["MarkovTask", "build_task"]


def build_task(spec: FamilySpec) -> Task:
    """Return the task that a family is trained on."""
    return MarkovTask(MarkovLanguage(**spec.task.effects()), context=spec.model.context)
