"""Shape of the model: its parameters in order, what each starts from and how it is trained.

Free of torch, so that a family can be planned without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from workbench.recipes import ParameterKind, matrix_init_std


@dataclass(frozen=True)
class Parameter:
    """One weight tensor.

    Parameters
    ----------
    name : str
        Unique name.
    shape : tuple of int
        Shape without the run axis.
    init_std : float
        Standard deviation at the start; 0 starts from zeros.
    kind : {"embedding", "matrix"}
        Decides learning-rate multiplier and decay.
    """

    name: str
    shape: tuple[int, int]
    init_std: float
    kind: ParameterKind

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ModelShape:
    """A small decoder-only transformer: ALiBi attention, squared-ReLU MLP, norms without weights.

    Parameters
    ----------
    width, depth : int
        Model width and number of blocks.
    head_size : int
        Width of an attention head; divides `width`.
    expansion : int
        MLP width as a multiple of `width`.
    vocab, context : int
        Tokens in the vocabulary and length of the input.
    base_width : int
        Width at which the learning rate was chosen.
    """

    width: int
    depth: int = 2
    head_size: int = 8
    expansion: int = 4
    vocab: int = 128
    context: int = 32
    base_width: int = 32

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // self.head_size

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every weight, in the order of the flat tensors.

        What writes into the residual stream and the read-out start at zero: a fresh model
        predicts all tokens alike, and all sizes start from the same loss.
        """
        width, hidden = self.width, self.expansion * self.width
        spread = matrix_init_std(width)
        found = [Parameter("embedding", (self.vocab, width), 0.5, "embedding")]
        for block in range(self.depth):
            found += [
                Parameter(f"{block}.qkv", (width, 3 * width), spread, "matrix"),
                Parameter(f"{block}.attention_out", (width, width), 0.0, "matrix"),
                Parameter(f"{block}.up", (width, hidden), spread, "matrix"),
                Parameter(f"{block}.down", (hidden, width), 0.0, "matrix"),
            ]
        return (*found, Parameter("readout", (width, self.vocab), 0.0, "matrix"))

    @property
    def model_size(self) -> int:
        """Parameters N, embeddings counted."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def flops_per_token(self) -> int:
        """Training FLOP per token: forward and backward of every matrix and of attention."""
        matrices = sum(p.size for p in self.parameters if p.kind == "matrix")
        return 6 * matrices + 12 * self.depth * self.context * self.width
