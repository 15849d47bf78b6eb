"""Where a step's losses and gradients come from: autograd, or kernels compiled for the model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.errors import CollapseWarning
from workbench.training.compiled import CompiledTransformer
from workbench.training.kernels import BuildError
from workbench.training.precision import DTYPES
from workbench.training.row_model import RowModel
from workbench.training.spec import Compute

Gradients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Flat float32 weights, inputs and targets of some rows to their losses and gradients."""


@runtime_checkable
class Compilable(Protocol):
    """A row model that compiled kernels exist for."""

    def compiled(self, precision: str) -> CompiledTransformer:
        """Return its losses and gradients; raise `BuildError` when that cannot be done here."""


def compiled_gradients(
    model: RowModel, compute: Compute, device: torch.device
) -> CompiledTransformer | None:
    """Return the kernels that `compute` asks for; None, with a warning, where there are none."""
    if compute.kernels == "torch":
        return None
    try:
        if device.type == "cpu" and isinstance(model, Compilable):
            return model.compiled(compute.precision)
        why = f"there are none for {type(model).__name__} on {device.type}"
    except BuildError as error:
        why = str(error)
    msg = (
        f"Compiled kernels are not used: {why}. torch computes instead, more slowly and with other "
        "rounding: train every size of a family in the same way."
    )
    warnings.warn(msg, CollapseWarning, stacklevel=3)
    return None


def autograd_gradients(model: RowModel, precision: str) -> Gradients:
    """Return losses and gradients by autograd, with weights rounded to `precision`."""
    dtype = DTYPES[precision]

    def gradients(weights: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        weights = weights.detach().to(dtype).requires_grad_()
        losses = model.row_losses(weights, inputs, targets)
        # Rows share no weight, so the gradient of the sum holds each row's own gradient.
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
        return losses.detach(), gradient

    return gradients
