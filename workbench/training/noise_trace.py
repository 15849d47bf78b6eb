"""How noisy a run's gradients are: the trace of their preconditioned covariance.

What the gradient-noise law reads (Qiu et al. 2025, arXiv:2507.02119, Eqs. 16 to 18): Tr P^½ Σ P^½
with Σ the covariance of the gradient of one training batch and P Adam's own preconditioner,
peak learning rate over (√v̂ + ε), so that it compares over widths and learning rates.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from workbench.training.optimizer import RowOptimizer

# Fresh data of their own: the seed of a stream that no run is trained on.
NOISE_STREAM = 1 << 40


def preconditioner(optimizer: RowOptimizer, row: int, *, step: int, peak_lr: float) -> Tensor:
    """Return Adam's P of one row, Tensor of shape (parameter,).

    Parameters
    ----------
    optimizer : RowOptimizer
        With a second moment ``square``.
    row : int
        Which row.
    step : int
        Updates made.
    peak_lr : float
        Peak learning rate of the run at the base shape; the schedule is not part of P.
    """
    unbiased = optimizer.tensors["square"][row] / (1 - optimizer.settings.beta2**step)
    return peak_lr * optimizer.rate / (unbiased.sqrt() + optimizer.epsilon)


def noise_trace(gradients: Iterable[Tensor], preconditioner: Tensor) -> float:
    """Return the trace of the preconditioned gradient covariance, without bias.

    Parameters
    ----------
    gradients : iterable of Tensor, each of shape (parameter,)
        Of two or more independent batches at the same weights; only one is held at a time.
    preconditioner : Tensor, shape (parameter,)
        Diagonal of P.
    """
    mean = torch.zeros_like(preconditioner, dtype=torch.float64)
    squares = torch.zeros_like(mean)
    count = 0
    for gradient in gradients:
        count += 1
        apart = gradient.double() - mean
        mean += apart / count
        squares += apart * (gradient.double() - mean)
    return float((squares / (count - 1) * preconditioner.double()).sum())
