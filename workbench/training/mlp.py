"""The residual MLP over rows: run k reads row k of a flat tensor and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.training.mlp_shape import MlpShape
from workbench.training.row_model import normal_rows
from workbench.training.shape import Parameter

_BASE_DEPTH = 5
_EPSILON = 1e-6


class ResidualMlp:
    """`MlpShape` as a model of which many copies train at once; see `RowModel`.

    Parameters
    ----------
    shape : MlpShape
        Shape that all rows share.
    """

    def __init__(self, shape: MlpShape) -> None:
        self.shape = shape

    @property
    def model_size(self) -> int:
        """Parameters N of a row."""
        return self.shape.model_size

    @property
    def flops_per_token(self) -> int:
        """Training FLOP per example."""
        return self.shape.flops_per_token

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Layout of a row."""
        return self.shape.parameters

    def initial_rows(self, seeds: Sequence[int]) -> Tensor:
        """Draw fresh weights, one row per seed."""
        return normal_rows(self.parameters, seeds)

    def row_losses(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ½(f − y)² of every row, averaged over its examples.

        Parameters
        ----------
        weights : Tensor, shape (run, model_size)
            Flat weights.
        inputs : Tensor, shape (run, example, input)
            Points.
        targets : Tensor, shape (run, example)
            Values there.

        Returns
        -------
        Tensor, float32, shape (run,)
        """
        parts = torch.split(weights, [p.size for p in self.parameters], dim=1)
        weight = {
            p.name: part.view(-1, *p.shape) for p, part in zip(self.parameters, parts, strict=True)
        }
        residual = torch.bmm(inputs.to(weights.dtype), weight["embedding"])
        scale = _BASE_DEPTH / self.shape.depth
        for block in range(self.shape.depth):
            hidden = F.gelu(torch.bmm(_norm(residual), weight[f"{block}.up"]))
            residual = torch.add(residual, torch.bmm(hidden, weight[f"{block}.down"]), alpha=scale)
        # A product with one column takes another path alone than in a batch, a sum does not.
        said = (residual * weight["readout"].transpose(1, 2)).sum(-1).float()
        return 0.5 * (said - targets).square().mean(1)


def _norm(residual: Tensor) -> Tensor:
    return residual * torch.rsqrt(residual.square().mean(-1, keepdim=True) + _EPSILON)
