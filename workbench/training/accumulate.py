"""Gradients of a batch in parts, for batches whose activations a device cannot hold at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from workbench.training.graphed import Gradients


class AccumulatedGradients:
    """Losses and gradients as the mean over parts of every row's batch.

    Parameters
    ----------
    gradients : callable
        Losses and gradients of the sequences it is given.
    sequences : int
        The most of one run that it is given at once; parts differ by one sequence at most.
    """

    def __init__(self, gradients: Gradients, sequences: int) -> None:
        self._gradients, self._sequences = gradients, sequences

    def __call__(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and gradient of each row."""
        total = inputs.shape[1]
        parts = math.ceil(total / self._sequences)
        if parts == 1:
            return self._gradients(weights, inputs, targets)
        losses = torch.zeros(len(weights), device=weights.device)
        gradient = torch.zeros_like(weights)
        for part in range(parts):
            rows = slice(total * part // parts, total * (part + 1) // parts)
            share = (rows.stop - rows.start) / total
            found = self._gradients(
                weights, inputs[:, rows].contiguous(), targets[:, rows].contiguous()
            )
            losses.add_(found[0].float(), alpha=share)
            gradient.add_(found[1].float(), alpha=share)
        return losses, gradient


def in_parts(gradients: Gradients, sequences: int | None) -> Gradients:
    """Return gradients in parts of so many sequences, or as they are when that is None."""
    return gradients if sequences is None else AccumulatedGradients(gradients, sequences)
