"""What a step of a batch of rows is given, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.training.plan import RunPlan


@dataclass(frozen=True)
class StepRecord:
    """What one step of the batch showed, in the order the runs were given.

    Parameters
    ----------
    step : int
        Updates made so far, from 1.
    train_loss : ndarray of float64, shape (run,), nats/token
        Loss of the step's own batch, before its update; NaN for runs that have left.
    eval_loss : ndarray of float64, shape (run,), nats/token
        Held-out loss after the update; NaN where none was planned.
    gradient_norm : ndarray of float64, shape (run,)
        Euclidean norm of the run's gradient, before clipping; NaN for runs that have left.
    noise_trace : ndarray of float64, shape (run,)
        Where held-out loss is measured, if asked for: see `workbench.training.noise_trace`.
    """

    step: int
    train_loss: NDArray[np.float64]
    eval_loss: NDArray[np.float64]
    gradient_norm: NDArray[np.float64]
    noise_trace: NDArray[np.float64]


def evaluation_steps(total_steps: int, *, points: int) -> NDArray[np.int64]:
    """Return the steps after which held-out loss is measured, evenly spaced, the last included."""
    planned = np.round(total_steps * np.arange(1, points + 1) / points)
    return np.unique(np.maximum(planned, 1)).astype(np.int64)


def controls(plans: Sequence[RunPlan]) -> tuple[Tensor, Tensor]:
    """Return base learning rate and decay per step, each of shape (step, run)."""
    steps = max(plan.total_steps for plan in plans)
    rate, decay = np.zeros((2, steps, len(plans)), np.float32)
    for run, plan in enumerate(plans):
        factors = plan.factors()
        rate[: plan.total_steps, run] = plan.base_lr * factors
        decay[: plan.total_steps, run] = factors / (plan.tau * plan.total_steps)
    return torch.from_numpy(rate), torch.from_numpy(decay)
