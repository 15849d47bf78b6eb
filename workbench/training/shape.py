"""Shape of the model: its parameters in order, what each starts from and how it is trained.

Free of torch, so that a family can be planned without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from workbench.recipes import (
    ParameterGroup,
    Parameterisation,
    Scaling,
    matrix_init_std,
)
from workbench.recipes.parameterisation import BASE_DEPTH

if TYPE_CHECKING:
    from workbench.training.model import Transformer


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
    group : {"embedding", "hidden", "hidden_norm", "final_norm", "readout"}
        What it does in the model; an optimiser may treat hidden matrices in its own way.
    learning_rate, epsilon : float
        Factors on the base learning rate and on Adam's ε.
    decays : bool
        Whether weight decay acts on it.
    """

    name: str
    shape: tuple[int, ...]
    init_std: float
    group: ParameterGroup
    learning_rate: float = 1.0
    epsilon: float = 1.0
    decays: bool = True

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
    base_width, base_depth : int
        Width and depth at which the learning rate was chosen.
    parameterisation : {"completep", "mup", "standard"}
        How the learning rate, Adam's ε and the residual branches follow from width and depth, see
        `workbench.recipes.Scaling`: ``completep`` from both, ``mup`` from the width alone,
        ``standard`` from neither.
    """

    width: int
    depth: int = 2
    head_size: int = 8
    expansion: int = 4
    vocab: int = 128
    context: int = 32
    base_width: int = 32
    base_depth: int = BASE_DEPTH
    parameterisation: Parameterisation = "completep"

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // self.head_size

    @property
    def scaling(self) -> Scaling:
        """Rules that carry the settings of the base shape to this one."""
        return Scaling(
            self.parameterisation,
            width=self.width,
            base_width=self.base_width,
            depth=self.depth,
            base_depth=self.base_depth,
        )

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every weight, in the order of the flat tensors.

        What writes into the residual stream and the read-out start at zero: a fresh model
        predicts all tokens alike, and all sizes start from the same loss.
        """
        width, hidden = self.width, self.expansion * self.width
        spread = matrix_init_std(width)
        found = [self._parameter("embedding", (self.vocab, width), 0.5, "embedding")]
        for block in range(self.depth):
            found += [
                self._parameter(f"{block}.qkv", (width, 3 * width), spread, "hidden"),
                self._parameter(f"{block}.attention_out", (width, width), 0.0, "hidden"),
                self._parameter(f"{block}.up", (width, hidden), spread, "hidden"),
                self._parameter(f"{block}.down", (hidden, width), 0.0, "hidden"),
            ]
        return (*found, self._parameter("readout", (width, self.vocab), 0.0, "readout"))

    def _parameter(
        self, name: str, shape: tuple[int, int], spread: float, group: ParameterGroup
    ) -> Parameter:
        rule = self.scaling.groups()[group]
        # The read-out's multiplier 1/m is kept in its weights: gradients are m times as large,
        # updates have to be m times smaller.
        within = self.scaling.logit_multiplier if group == "readout" else 1.0
        return Parameter(
            name,
            shape,
            init_std=spread,
            group=group,
            learning_rate=rule.learning_rate * within,
            epsilon=rule.epsilon / within,
            decays=group != "embedding",
        )

    @property
    def learning_rate_multiplier(self) -> float:
        """Factor on the base learning rate of the hidden matrices."""
        return self.scaling.groups()["hidden"].learning_rate

    @property
    def model_size(self) -> int:
        """Parameters N, embeddings counted."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def flops_per_token(self) -> int:
        """Training FLOP per token: forward and backward of every matrix and of attention."""
        matrices = sum(p.size for p in self.parameters if p.group != "embedding")
        return 6 * matrices + 12 * self.depth * self.context * self.width

    def row_model(self) -> Transformer:
        """Return the model that trains rows of this shape; loads torch."""
        from workbench.training.model import Transformer

        return Transformer(self)
