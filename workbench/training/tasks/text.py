"""Real text: windows of a corpus in an order that is a pure function of the seed.

Every tenth piece of the corpus (or whatever share is asked for) is held out, so that training and
evaluation text come from all of its parts. An epoch visits every window of the training text once,
in an order of its own and from another starting offset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.training.task import Batch, stream_generator

Bytes = NDArray[np.uint8]
Positions = NDArray[np.int64]
SAMPLE = "us_founding_documents.txt"
_PIECE = 2048
_STREAM = 5


class TextTask:
    """Windows of `context` tokens and the tokens that follow them.

    Parameters
    ----------
    corpus : ndarray of unsigned int, shape (token,)
        All text; may be a memory map.
    context : int
        Tokens a model is given.
    held_out_fraction : float
        Share of the pieces that is never trained on.
    name : str
        What the text is called in messages.

    Attributes
    ----------
    entropy : float
        NaN: nobody knows the entropy of real text.
    windows : int
        Training windows, those of one epoch.

    Raises
    ------
    DataError
        If the corpus is too short for a piece of either kind to hold one window.
    """

    entropy = math.nan

    def __init__(
        self,
        corpus: NDArray[Any],
        *,
        context: int,
        held_out_fraction: float = 0.1,
        name: str = "text",
    ) -> None:
        self.corpus, self.context, self.name = corpus, context, name
        # A piece holds many windows; out of `cycle` pieces in a row, the last is held out.
        self.piece = max(_PIECE, 8 * (context + 1))
        self.cycle = max(2, round(1 / held_out_fraction))
        cycles, rest = divmod(len(corpus), self.cycle * self.piece)
        kept = (self.cycle - 1) * self.piece
        self._training_tokens = cycles * kept + min(rest, kept)
        self._held_out_tokens = cycles * self.piece + max(0, rest - kept)
        if min(self._training_tokens, self._held_out_tokens) <= 2 * context + 1:
            msg = (
                f"{name} has {len(corpus)} tokens: too few to hold out one piece of {self.piece} "
                f"in {self.cycle}. Give at least {self.cycle * self.piece}, or a larger "
                "held_out_fraction."
            )
            raise DataError(msg)
        self.windows = (self._training_tokens - context - 1) // context
        self._orders: dict[tuple[int, int], tuple[Positions, int]] = {}

    def batch(self, step: int, *, sequences: int, seed: int) -> Batch:
        """Return the windows of one step; see `workbench.training.Task.batch`."""
        number = np.arange(step * sequences, (step + 1) * sequences)
        epoch, place = np.divmod(number, self.windows)
        starts = np.empty(sequences, np.int64)
        for which in np.unique(epoch):
            order, offset = self._order(seed, int(which))
            rows = epoch == which
            starts[rows] = order[place[rows]] * self.context + offset
        return self._cut(starts, self._training_positions)

    def held_out(self, sequences: int) -> Batch:
        """Return windows spread evenly over the held-out pieces, as many as asked for."""
        last = self._held_out_tokens - self.context - 1
        starts = np.linspace(0, last, sequences).astype(np.int64)
        return self._cut(starts, self._held_out_positions)

    def _order(self, seed: int, epoch: int) -> tuple[Positions, int]:
        """Return the order of the windows in an epoch, and where the first one starts."""
        if (seed, epoch) not in self._orders:
            # The epoch before is asked for again at most by the batch that straddles both.
            for old in [k for k in self._orders if k[0] == seed and k[1] != epoch - 1]:
                del self._orders[old]
            rng = stream_generator(_STREAM, seed, epoch)
            order = rng.permutation(self.windows), int(rng.integers(self.context))
            self._orders[seed, epoch] = order
        return self._orders[seed, epoch]

    def _cut(self, starts: Positions, positions: Callable[[Positions], Positions]) -> Batch:
        tokens = self.corpus[positions(starts[:, None] + np.arange(self.context + 1))]
        tokens = tokens.astype(np.int64)
        return Batch(tokens[:, :-1], tokens[:, 1:])

    def _training_positions(self, index: Positions) -> Positions:
        kept = (self.cycle - 1) * self.piece
        return index + index // kept * self.piece

    def _held_out_positions(self, index: Positions) -> Positions:
        kept = (self.cycle - 1) * self.piece
        return index + (index // self.piece + 1) * kept


def read_text(path: str | Path | None) -> tuple[Bytes, str]:
    """Return the bytes of a file, of all files in a folder, or of the sample that ships with us.

    Parameters
    ----------
    path : str, Path or None
        A folder is read in the order of its sorted paths, hidden files left out. None takes the
        Constitution and the Declaration of Independence of the United States (public domain).

    Returns
    -------
    ndarray of uint8, and a name for messages

    Raises
    ------
    DataError
        If there is nothing to read.
    """
    if path is None:
        sample = files("workbench.training.tasks") / "texts" / SAMPLE
        return np.frombuffer(sample.read_bytes(), np.uint8), f"the shipped text {SAMPLE}"
    place = Path(path)
    found = _files_of(place)
    if not found:
        msg = (
            f"There is no text at {str(place)!r}: neither a file nor a folder with files. Correct "
            "path in [task], or leave it out for the text that ships with the workbench."
        )
        raise DataError(msg)
    try:
        return _bytes_of(found), f"text {str(place)!r}"
    except OSError as error:
        msg = f"Text {str(place)!r} cannot be read: {error}. Check its permissions."
        raise DataError(msg) from error


def _files_of(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    inside = sorted(found for found in place.rglob("*") if found.is_file())
    hidden = [any(p.startswith(".") for p in found.relative_to(place).parts) for found in inside]
    return [found for found, skip in zip(inside, hidden, strict=True) if not skip]


def _bytes_of(found: Sequence[Path]) -> Bytes:
    full = [path for path in found if path.stat().st_size]
    if not full:
        return np.empty(0, np.uint8)
    if len(full) == 1:
        return np.memmap(full[0], np.uint8, mode="r")
    return np.concatenate([np.fromfile(path, np.uint8) for path in full])
