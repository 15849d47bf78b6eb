"""Muon over rows: orthogonalised momentum for the hidden matrices, AdamW for the rest.

Jordan et al. 2024 (Muon), with Nesterov momentum. The size of an update follows the spectral
condition of Yang et al. 2023 (arXiv:2310.17813), √(fan_out/fan_in), times the constant for which a
square matrix of the base width moves by 0.2 of the learning rate per entry, about as far as under
AdamW: `peak_lr` keeps its meaning, and one value serves all widths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.training.optimizer import RowAdamW, row_norms
from workbench.training.shape import Parameter
from workbench.training.spec import Optimizer

MOMENTUM = 0.95
# Quintic iteration that takes singular values to about 0.7 to 1.2 in five rounds.
_LINEAR, _CUBIC, _QUINTIC = 3.4445, -4.7750, 2.0315
_ROUNDS = 5
_ENTRY_RMS = 0.2


class RowMuon(RowAdamW):
    """Muon for the parameters of the group "hidden" with two axes, AdamW for all others."""

    def __init__(
        self, weights: Tensor, parameters: Sequence[Parameter], *, settings: Optimizer
    ) -> None:
        super().__init__(weights, parameters, settings=settings)
        ends = torch.tensor([p.size for p in parameters]).cumsum(0).tolist()
        self._columns = [slice(end - p.size, end) for p, end in zip(parameters, ends, strict=True)]

    def step(
        self, rows: slice, gradient: Tensor, *, step: int, learning_rate: Tensor, decay: Tensor
    ) -> None:
        """Update some rows; see `RowOptimizer.step`."""
        for parameter, columns in zip(self.parameters, self._columns, strict=True):
            part, slope = (rows, columns), gradient[:, columns]
            if parameter.group == "hidden" and len(parameter.shape) == 2:
                self._turn(part, slope, parameter, learning_rate=learning_rate, decay=decay)
            else:
                self.update_columns(
                    part, slope, step=step, learning_rate=learning_rate, decay=decay
                )

    @torch.no_grad()
    def _turn(
        self,
        part: tuple[slice, slice],
        gradient: Tensor,
        parameter: Parameter,
        *,
        learning_rate: Tensor,
        decay: Tensor,
    ) -> None:
        weights, momentum = self.weights[part], self.tensors["mean"][part]
        momentum.mul_(MOMENTUM).add_(gradient)
        ahead = gradient + MOMENTUM * momentum
        update = orthogonalised(ahead.view(-1, *parameter.shape)).flatten(1)
        if parameter.decays:
            weights.addcmul_(weights, decay[:, None], value=-1)
        weights.addcmul_(update, learning_rate[:, None], value=-_length(parameter))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return matrices with the same singular vectors and singular values of about 1.

    Parameters
    ----------
    matrices : Tensor, shape (run, fan_in, fan_out)
        Each is treated alone.

    Returns
    -------
    Tensor, of the same shape
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.transpose(1, 2)
    x = x / (row_norms(matrices.flatten(1)) + torch.finfo(x.dtype).tiny)[:, None, None]
    for _ in range(_ROUNDS):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = _LINEAR * x + torch.bmm(_CUBIC * gram + _QUINTIC * torch.bmm(gram, gram), x)
    return x if wide else x.transpose(1, 2)


def _length(parameter: Parameter) -> float:
    """Return the singular value of an update at learning rate 1."""
    fan_in, fan_out = parameter.shape
    # The learning-rate multiplier is base over own width: their product is the base width.
    base = min(fan_in, fan_out) * parameter.learning_rate
    return _ENTRY_RMS * math.sqrt(base * fan_out / fan_in)
