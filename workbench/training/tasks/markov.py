"""The Markov language as a task: fresh text at every step, with its exact entropy."""

from __future__ import annotations

from workbench.training.language import MarkovLanguage, Text, text_generator
from workbench.training.task import Batch, Blocks


class MarkovTask:
    """Sequences of one length from a `MarkovLanguage`.

    Parameters
    ----------
    language : MarkovLanguage
        What is spoken.
    context : int
        Tokens a model is given.
    """

    def __init__(self, language: MarkovLanguage, *, context: int) -> None:
        self.language, self.context = language, context
        self.entropy = language.entropy
        self._blocks = Blocks(self._draw, _cut)

    def batch(self, step: int, *, sequences: int, seed: int) -> Batch:
        """Return the text of one step; see `workbench.training.Task.batch`."""
        return self._blocks.batch(step, sequences=sequences, seed=seed)

    def held_out(self, sequences: int) -> Batch:
        """Return the evaluation text, disjoint in randomness from every training stream."""
        drawn = self.language.sample(sequences, self.context, text_generator("held-out", 0, 0))
        return _cut(drawn, slice(None))

    def _draw(self, seed: int, block: int, sequences: int) -> Text:
        return self.language.sample(sequences, self.context, text_generator("train", seed, block))


def _cut(drawn: Text, rows: slice) -> Batch:
    tokens = drawn.tokens[rows]
    return Batch(tokens[:, :-1], tokens[:, 1:], drawn.nll[rows])
