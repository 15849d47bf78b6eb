"""What a task must be able to do: batches that are a pure function of step and seed.

Anything with these three members is a task; nothing needs to be derived from or registered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Drawn = TypeVar("Drawn")
STEPS_PER_BLOCK = 64
_STREAMS_KEPT = 256
_WORD = 1 << 32


def stream_generator(stream: int, seed: int, number: int) -> np.random.Generator:
    """Return the source of randomness of one part of one stream.

    Parameters
    ----------
    stream : int
        What the numbers are for; 0 to 8 are taken by the tasks and faults of the workbench.
    seed : int
        Below 2^64.
    number : int
        Step or block.
    """
    # SeedSequence hashes all of the words, so neighbouring seeds and blocks share nothing. It cuts
    # large numbers into words without saying where one ends: seed 2^32 would be block 1 of seed 0.
    words = [stream, seed, number]
    if seed >= _WORD:
        words = [stream, seed % _WORD, seed // _WORD, number, 1]
    return np.random.default_rng(words)


@dataclass(frozen=True)
class Batch:
    """Examples of one step.

    Parameters
    ----------
    inputs, targets : ndarray, shape (sequence, ...)
        What the model is given and what it should say: tokens of type int64 with a position axis
        for a transformer, real numbers for a regression.
    surprise : ndarray of float64, shape (sequence, ...), or None
        True −log p of the counted targets [nats], where the task knows it: losses are then
        reported without the sampling noise of the data. A transformer does not count the first
        target of a sequence, so there it has one position less than `targets`.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    surprise: NDArray[np.float64] | None = None

    @property
    def mean_surprise(self) -> float:
        """Mean of `surprise`; NaN where the task does not know it."""
        return float("nan") if self.surprise is None else float(self.surprise.mean())


@runtime_checkable
class Task(Protocol):
    """A source of training batches and of one fixed evaluation set.

    Attributes
    ----------
    entropy : float
        Loss that no model can beat, in the unit of the loss; NaN when unknown.
    """

    entropy: float

    def batch(self, step: int, *, sequences: int, seed: int) -> Batch:
        """Return the batch of one update.

        Must be a pure function of its arguments: a run that resumes asks for any step, and rows
        of one seed are given the same batch.

        Parameters
        ----------
        step : int
            Updates made before this one: the first batch has step 0.
        sequences : int
            Number of examples.
        seed : int
            Of the data order.
        """

    def held_out(self, sequences: int) -> Batch:
        """Return the same evaluation examples at every call, none of them ever trained on."""


class Blocks:
    """Batches cut from blocks of steps, for data that are cheaper to draw in bulk.

    The last block of every stream is kept, so steps in order cost one draw per block and any
    other step costs one draw.

    Parameters
    ----------
    draw : callable
        ``draw(seed, block, examples)`` returns the examples of a whole block.
    cut : callable
        ``cut(drawn, rows)`` returns the batch that these rows are.
    """

    def __init__(
        self, draw: Callable[[int, int, int], Drawn], cut: Callable[[Drawn, slice], Batch]
    ) -> None:
        self._draw: Callable[[int, int, int], Any] = draw
        self._cut: Callable[[Any, slice], Batch] = cut
        self._last: dict[tuple[int, int], tuple[int, Any]] = {}

    def batch(self, step: int, *, sequences: int, seed: int) -> Batch:
        """Return one step's part of its block; see `Task.batch`."""
        block, place = divmod(step, STEPS_PER_BLOCK)
        stream = (seed, sequences)
        number, drawn = self._last.get(stream, (-1, None))
        if number != block:
            drawn = self._draw(seed, block, sequences * STEPS_PER_BLOCK)
            if len(self._last) >= _STREAMS_KEPT and stream not in self._last:
                self._last.pop(next(iter(self._last)))
            self._last[stream] = (block, drawn)
        return self._cut(drawn, slice(place * sequences, (place + 1) * sequences))
