"""Tasks of the user: any object with the three members of a task, or a function that draws data.

They come from Python only; a family spec says no more than their name and the size of their data.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError
from workbench.training.sections import Mlp, OwnSection
from workbench.training.spec import FamilySpec
from workbench.training.task import Batch, Task, stream_generator

Draw = Callable[[np.random.Generator, int], tuple[NDArray[Any], NDArray[Any]]]
_TRAIN, _HELD_OUT = 7, 8


class FunctionTask:
    """A task from a function that draws examples.

    Parameters
    ----------
    draw : callable
        ``draw(rng, sequences)`` returns inputs and targets, see `Batch`. All its randomness must
        come from `rng`, and it must be defined in a module: worker processes import it.
    entropy : float
        Loss that no model can beat; NaN when unknown.

    Examples
    --------
    >>> def coins(rng, sequences):
    ...     tokens = rng.integers(0, 2, (sequences, 17))
    ...     return tokens[:, :-1], tokens[:, 1:]
    >>> task = FunctionTask(coins, entropy=0.6931)
    >>> task.batch(3, sequences=2, seed=0).inputs.shape
    (2, 16)
    """

    def __init__(self, draw: Draw, *, entropy: float = math.nan) -> None:
        self.draw, self.entropy = draw, entropy

    def batch(self, step: int, *, sequences: int, seed: int) -> Batch:
        """Return the examples of one step; see `workbench.training.Task.batch`."""
        return Batch(*self.draw(stream_generator(_TRAIN, seed, step), sequences))

    def held_out(self, sequences: int) -> Batch:
        """Return the evaluation examples, from randomness that no step has."""
        return Batch(*self.draw(stream_generator(_HELD_OUT, 0, 0), sequences))


def check_own_task(task: object, spec: FamilySpec) -> None:
    """Try out a task of the user before anything trains on it.

    Raises
    ------
    ArgumentError
        If the spec names another task, or the object cannot be handed to a process, its batches
        are not a pure function of step and seed, or they do not fit the model.
    """
    section = spec.task
    if not isinstance(section, OwnSection):
        msg = (
            f"task is given, but [task] of family {spec.family!r} says {section.name!r}. Say "
            "name = 'own' there, with the vocab of the data (or dimensions, for an mlp)."
        )
        raise ArgumentError(msg)
    if not isinstance(task, Task):
        msg = f"task must have entropy, batch and held_out, found a {type(task).__name__}."
        raise ArgumentError(msg)
    try:
        pickle.dumps(task)
    except Exception as error:
        msg = (
            f"task cannot be handed to a training process: {error}. Define its class and its "
            "functions in a module, not inside a function."
        )
        raise ArgumentError(msg) from error
    one, again = (task.batch(3, sequences=2, seed=5) for _ in range(2))
    pairs = ((one.inputs, again.inputs), (one.targets, again.targets))
    if not all(np.array_equal(*pair) for pair in pairs):
        msg = "task.batch gave two different batches for the same step and seed: it must not."
        raise ArgumentError(msg)
    for batch in (one, task.held_out(2)):
        _check_batch(batch, spec, section)


def _check_batch(batch: Batch, spec: FamilySpec, section: OwnSection) -> None:
    expected: tuple[tuple[int, ...], tuple[int, ...], str]
    if isinstance(spec.model, Mlp):
        expected = ((2, section.dimensions), (2,), "f")
    else:
        expected = ((2, spec.model.context), (2, spec.model.context), "i")
    found = (batch.inputs.shape, batch.targets.shape, batch.inputs.dtype.kind)
    if found != expected:
        msg = (
            f"A batch of two of the task has inputs of shape {found[0]}, targets of shape "
            f"{found[1]} and numbers of kind {found[2]!r}; the model of family {spec.family!r} "
            f"takes {expected[0]}, {expected[1]} and {expected[2]!r}."
        )
        raise ArgumentError(msg)
    tokens = (batch.inputs, batch.targets) if expected[2] == "i" else ()
    if any(t.min() < 0 or t.max() >= section.vocab for t in tokens):
        msg = f"The task has tokens outside 0 to {section.vocab - 1}. Set vocab in [task] to fit."
        raise ArgumentError(msg)
