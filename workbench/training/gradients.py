"""Where a step's losses and gradients come from: autograd, a graph of it, or compiled kernels."""

from __future__ import annotations

import warnings
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from workbench.errors import CollapseWarning
from workbench.training.compiled import CompiledTransformer
from workbench.training.graphed import Gradients, GraphedGradients
from workbench.training.kernels import BuildError
from workbench.training.precision import DTYPES
from workbench.training.row_model import RowModel
from workbench.training.spec import Compute


@runtime_checkable
class Compilable(Protocol):
    """A row model that compiled kernels exist for."""

    def compiled(self, precision: str) -> CompiledTransformer:
        """Return its losses and gradients; raise `BuildError` when that cannot be done here."""


def choose_gradients(model: RowModel, compute: Compute, device: torch.device) -> Gradients:
    """Return the losses and gradients that `compute` asks for.

    Compiled kernels on CPU are a `CompiledTransformer`; on CUDA, where torch's own kernels are
    compiled already, a graph of them. Where there are none torch computes, with a warning.
    """
    gradients = autograd_gradients(model, compute.precision)
    if compute.kernels == "torch":
        return gradients
    if device.type == "cuda":
        return GraphedGradients(gradients)
    try:
        if isinstance(model, Compilable):
            return model.compiled(compute.precision)
        why = f"there are none for {type(model).__name__}"
    except BuildError as error:
        why = str(error)
    msg = (
        f"Compiled kernels are not used: {why}. torch computes instead, more slowly and with other "
        "rounding: train every size of a family in the same way."
    )
    warnings.warn(msg, CollapseWarning, stacklevel=3)
    return gradients


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
