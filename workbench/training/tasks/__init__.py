"""What models can be trained on."""

from __future__ import annotations

from workbench.errors import ArgumentError
from workbench.training.language import MarkovLanguage
from workbench.training.sections import FourierSection, MarkovSection, Mlp, OwnSection, TextSection
from workbench.training.spec import FamilySpec
from workbench.training.task import Task
from workbench.training.tasks.dataset import stream_text
from workbench.training.tasks.fourier import FourierTask
from workbench.training.tasks.markov import MarkovTask
from workbench.training.tasks.own import FunctionTask, check_own_task
from workbench.training.tasks.text import TextTask, read_text
from workbench.training.tasks.tokens import as_tokens

__all__ = [
    "FourierTask",
    "FunctionTask",
    "MarkovTask",
    "TextTask",
    "build_task",
    "check_own_task",
]


def build_task(spec: FamilySpec) -> Task:
    """Return the task that a family is trained on.

    Raises
    ------
    ArgumentError
        If it is one that only Python can give.
    DataError
        If its text or dataset is not there or too short.
    """
    section = spec.task
    if isinstance(section, FourierSection):
        return FourierTask(**section.model_dump(exclude={"name"}))
    if isinstance(section, OwnSection):
        msg = (
            f"Family {spec.family!r} has a task of its own, which only Python can give: "
            "train_family(spec, store, task=...)."
        )
        raise ArgumentError(msg)
    # The spec pairs the MLP with the wave sum only, so there is a context here.
    assert not isinstance(spec.model, Mlp)
    context = spec.model.context
    if isinstance(section, MarkovSection):
        return MarkovTask(MarkovLanguage(**section.effects()), context=context)
    text, name = (
        read_text(section.path) if isinstance(section, TextSection) else stream_text(section)
    )
    held_out = section.held_out_fraction
    tokens = as_tokens(text, section.tokenizer)
    return TextTask(tokens, context=context, held_out_fraction=held_out, name=name)
