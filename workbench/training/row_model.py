"""What the engine needs of a model: flat rows of weights in, one loss per row out.

Anything with these members trains as rows of one batch; nothing needs to be derived from. Row k of
the result may depend on row k of the weights and of the data only: then the gradient of the sum of
the losses holds each row's own gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from workbench.training.shape import Parameter

if TYPE_CHECKING:
    from torch import Tensor


class RowModel(Protocol):
    """A model of which many copies train at once, each a row of one flat tensor."""

    @property
    def model_size(self) -> int:
        """Parameters N of a row."""

    @property
    def flops_per_token(self) -> int:
        """Training FLOP per token, or per example where there are no tokens."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Layout of a row: every weight in order, with how it starts and is trained."""

    def initial_rows(self, seeds: Sequence[int]) -> Tensor:
        """Draw fresh weights, one row per seed.

        Returns
        -------
        Tensor, float32, shape (run, model_size)
        """

    def row_losses(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of every row, differentiable in the weights.

        Parameters
        ----------
        weights : Tensor, shape (run, model_size)
            Flat weights, in the precision to compute in.
        inputs, targets : Tensor, shape (run, sequence, ...)
            Each row's own batch.

        Returns
        -------
        Tensor, float32, shape (run,)
        """


class Shape(Protocol):
    """The model as a plan knows it: sizes only, free of torch."""

    @property
    def model_size(self) -> int:
        """Parameters N."""

    @property
    def flops_per_token(self) -> int:
        """Training FLOP per token or example."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Layout of a row."""

    def row_model(self) -> RowModel:
        """Return the model that trains rows of this shape."""


def normal_rows(parameters: Sequence[Parameter], seeds: Sequence[int]) -> Tensor:
    """Draw rows whose parameters are normal with their own standard deviation.

    Parameters
    ----------
    parameters : sequence of Parameter
        Layout of a row.
    seeds : sequence of int
        Seed of each row.

    Returns
    -------
    Tensor, float32, shape (run, model_size)
    """
    import torch

    scale = np.concatenate([np.full(p.size, p.init_std, np.float32) for p in parameters])
    rows = [
        np.random.default_rng([2, seed]).standard_normal(len(scale), dtype=np.float32)
        for seed in seeds
    ]
    return torch.from_numpy(np.stack(rows) * scale)
