"""Shape of the residual MLP for regressions; free of torch, like `workbench.training.shape`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from workbench.recipes import ParameterGroup, matrix_init_std
from workbench.training.shape import Parameter

if TYPE_CHECKING:
    from workbench.training.mlp import ResidualMlp


@dataclass(frozen=True)
class MlpShape:
    """Embedding, residual blocks of norm, matrix, GELU, matrix, and a read-out of one number.

    The model of Qiu et al. 2025 (arXiv:2507.02119, appendix): no biases, norms without weights,
    10·D² + 9·D parameters for five blocks on eight inputs. What writes into the residual stream
    and the read-out start at zero.

    Parameters
    ----------
    width, depth : int
        Model width D and number of blocks.
    inputs : int
        Numbers in one example.
    base_width : int
        Width at which the learning rate was chosen.
    parameterisation : {"mup", "standard"}
        ``mup``: the rate of every matrix is ∝ 1/fan-in, so the embedding's is the same at all
        widths; ``standard``: the same rate for all.
    """

    width: int
    depth: int = 5
    inputs: int = 8
    base_width: int = 128
    parameterisation: Literal["mup", "standard"] = "mup"

    context = 1
    """One example is one token (Qiu et al. count it so)."""

    @property
    def learning_rate_multiplier(self) -> float:
        """Factor on the base learning rate of the hidden matrices."""
        return self.base_width / self.width if self.parameterisation == "mup" else 1.0

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every weight, in the order of the flat tensors."""
        width = self.width
        found = [self._parameter("embedding", (self.inputs, width), self.inputs, "embedding")]
        for block in range(self.depth):
            found += [
                self._parameter(f"{block}.up", (width, width), width, "hidden"),
                self._parameter(f"{block}.down", (width, width), 0, "hidden"),
            ]
        return (*found, self._parameter("readout", (width, 1), 0, "readout"))

    def _parameter(
        self, name: str, shape: tuple[int, int], fan_in: int, group: ParameterGroup
    ) -> Parameter:
        return Parameter(
            name,
            shape,
            init_std=matrix_init_std(fan_in) if fan_in else 0.0,
            group=group,
            learning_rate=1.0 if group == "embedding" else self.learning_rate_multiplier,
            decays=group != "embedding",
        )

    @property
    def model_size(self) -> int:
        """Parameters N, the embedding counted."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def flops_per_token(self) -> int:
        """Training FLOP per example: forward and backward of every matrix."""
        return 6 * self.model_size

    def row_model(self) -> ResidualMlp:
        """Return the model that trains rows of this shape; loads torch."""
        from workbench.training.mlp import ResidualMlp

        return ResidualMlp(self)
