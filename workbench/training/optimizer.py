"""AdamW over rows: every run its own learning rate and decay, every column its own multiplier."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.recipes import ParameterKind, learning_rate_multiplier
from workbench.training.shape import ModelShape


class RowAdamW:
    """AdamW on a flat tensor whose rows are independent runs.

    The decay of a step is given directly, as the share of the weight removed: ηλ at the peak,
    1/(τT) when the run is set by its timescale. It does not scale with the width multiplier.

    Parameters
    ----------
    weights : Tensor, float32, shape (run, parameter)
        Updated in place.
    shape : ModelShape
        Gives the multiplier and whether a column decays (matrices do, embeddings do not).
    beta1, beta2, epsilon : float
        As in Kingma & Ba 2015 (arXiv:1412.6980).
    """

    def __init__(
        self,
        weights: Tensor,
        shape: ModelShape,
        *,
        beta1: float = 0.9,
        beta2: float = 0.95,
        epsilon: float = 1e-12,
    ) -> None:
        self.weights = weights
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self._rate = torch.cat(
            [torch.full((p.size,), _multiplier(p.kind, shape)) for p in shape.parameters]
        )
        self._decays = torch.cat(
            [torch.full((p.size,), float(p.kind == "matrix")) for p in shape.parameters]
        )

    @torch.no_grad()
    def step(
        self, rows: slice, gradient: Tensor, *, step: int, learning_rate: Tensor, decay: Tensor
    ) -> None:
        """Update some rows.

        Parameters
        ----------
        rows : slice
            Rows to update.
        gradient : Tensor, shape (rows, parameter)
            Their gradient.
        step : int
            Number of this update, from 1; all rows of a batch are at the same step.
        learning_rate, decay : Tensor, float32, shape (rows,)
            Base learning rate, and share of each decaying weight to remove.
        """
        weights, mean, square = self.weights[rows], self.mean[rows], self.square[rows]
        mean.lerp_(gradient, 1 - self.beta1)
        square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        unbias_mean, unbias_square = 1 - self.beta1**step, 1 - self.beta2**step
        update = square.sqrt().mul_(unbias_square**-0.5).add_(self.epsilon)
        torch.div(mean, update, out=update)
        update.mul_(self._rate)
        weights.addcmul_(weights * self._decays, decay[:, None], value=-1)
        weights.addcmul_(update, (learning_rate / unbias_mean)[:, None], value=-1)

    def keep(self, count: int) -> None:
        """Drop all rows but the first `count`: finished runs leave."""
        self.weights = self.weights[:count]
        self.mean, self.square = self.mean[:count], self.square[:count]


def _multiplier(kind: ParameterKind, shape: ModelShape) -> float:
    return learning_rate_multiplier(kind, width=shape.width, base_width=shape.base_width)
