"""The transformer's step with a hand-written backward pass and compiled kernels, on CPU.

Matrix products stay with torch; everything between them is C++ (`workbench.training.kernels`).
Nothing is recorded for autograd: activations go into buffers that are kept from step to step, and
weight gradients straight into the flat gradient. The mathematics is that of
`workbench.training.model`, the rounding is not: a family is computed with one or the other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import torch
from torch import Tensor

from workbench.errors import DataError
from workbench.training.kernels import BuildError, load_kernels
from workbench.training.model import alibi_slopes, named_weights
from workbench.training.precision import DTYPES
from workbench.training.shape import ModelShape
from workbench.training.spec import Optimizer

_OPERANDS = {"float32": "float", "bfloat16": "bfloat16"}
_LANES = (16, 8)


class CompiledTransformer:
    """Losses and gradients of rows of one shape.

    Parameters
    ----------
    shape : ModelShape
        Shape that all rows share.
    precision : {"float32", "bfloat16"}
        Of the operands of matrix products.

    Raises
    ------
    BuildError
        If there are no kernels for the shape, or they cannot be compiled here.
    """

    def __init__(self, shape: ModelShape, *, precision: str) -> None:
        self.shape, self.dtype = shape, DTYPES[precision]
        self._kernels = load_kernels(**_constants(shape), OPERAND=_OPERANDS[precision])
        self._slopes = alibi_slopes(shape.heads)
        self._buffers: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each row and its gradient.

        Parameters
        ----------
        weights : Tensor, float32, shape (run, model_size)
            Flat weights.
        inputs, targets : Tensor of int64, shape (run, sequence, position)
            Tokens and the tokens that follow them, `shape.context` positions.

        Returns
        -------
        losses : Tensor, float32, shape (run,)
            Mean cross-entropy of the counted targets [nats/token].
        gradient : Tensor, shape (run, model_size)
            In the precision of the operands; overwritten by the next call.
        """
        self._check(inputs, targets)
        inputs, targets = inputs.contiguous(), targets.contiguous()
        flat = weights.to(self.dtype)
        gradient = self._buffer("gradient", weights.shape, self.dtype)
        weight, slope = (named_weights(held, self.shape) for held in (flat, gradient))
        self._forward(flat, weight, inputs)
        losses = self._loss(weight, slope, targets)
        self._backward(weight, slope, inputs)
        return losses, gradient

    def adamw(
        self,
        tensors: Mapping[str, Tensor],
        gradient: Tensor,
        columns: Mapping[str, Tensor],
        *,
        settings: Optimizer,
        step: int,
        learning_rate: Tensor,
        decay: Tensor,
    ) -> None:
        """Update rows by AdamW in one pass; see `FusedAdamW`."""
        unbias_mean, unbias_square = 1 - settings.beta1**step, 1 - settings.beta2**step
        self._run(
            "adamw",
            *(tensors[name] for name in ("weights", "mean", "square")),
            gradient,
            *(columns[name] for name in ("rate", "epsilon", "decays")),
            learning_rate / unbias_mean,
            decay,
            settings.beta1,
            settings.beta2,
            unbias_square**-0.5,
            *gradient.shape,
        )

    def _forward(self, flat: Tensor, weight: dict[str, Tensor], inputs: Tensor) -> None:
        """Leave the activations of every block, and the normed residual, in the buffers."""
        rows, sequences, positions = inputs.shape
        tokens, width = sequences * positions, self.shape.width
        scale = self.shape.scaling.residual_multiplier
        residual = self._buffer("residual", (rows, tokens, width), torch.float32)
        normed, scales = self._norm_of(0, rows, tokens)
        self._run("embed", flat, flat.shape[1], inputs, residual, normed, scales, rows, tokens)
        branch = self._buffer("branch", (rows, tokens, width), self.dtype)
        for block in range(self.shape.depth):
            qkv, mixed, softmax, hidden, squared = self._block(block, rows, tokens)
            torch.bmm(normed, weight[f"{block}.qkv"], out=qkv)
            self._run("attend", qkv, self._slopes, mixed, softmax, rows * sequences)
            torch.bmm(mixed, weight[f"{block}.attention_out"], out=branch)
            normed, scales = self._norm_of(2 * block + 1, rows, tokens)
            self._run("add_norm", residual, branch, scale, normed, scales, rows * tokens)
            torch.bmm(normed, weight[f"{block}.up"], out=hidden)
            self._run("squared_relu", hidden, squared, hidden.numel())
            torch.bmm(squared, weight[f"{block}.down"], out=branch)
            normed, scales = self._norm_of(2 * block + 2, rows, tokens)
            self._run("add_norm", residual, branch, scale, normed, scales, rows * tokens)

    def _loss(self, weight: dict[str, Tensor], slope: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return the losses; leave the gradient of the last norm's output in ``from_normed``."""
        rows, tokens = len(targets), targets[0].numel()
        normed, _ = self._norm_of(2 * self.shape.depth, rows, tokens)
        logits = self._buffer("logits", (rows, tokens, self.shape.vocab), self.dtype)
        torch.bmm(normed, weight["readout"], out=logits)
        losses = torch.empty(rows)
        self._run("cross_entropy", logits, targets, losses, rows, tokens)
        torch.bmm(normed.mT, logits, out=slope["readout"])
        given = self._buffer("from_normed", normed.shape, self.dtype)
        torch.bmm(logits, weight["readout"].mT, out=given)
        return losses

    def _backward(
        self, weight: dict[str, Tensor], slope: dict[str, Tensor], inputs: Tensor
    ) -> None:
        """Fill the flat gradient, from the last block down to the embedding."""
        rows, sequences, positions = inputs.shape
        tokens, shape = sequences * positions, (rows, sequences * positions, self.shape.width)
        residual = self._buffer("residual_gradient", shape, torch.float32)
        branch = self._buffer("branch", shape, self.dtype)
        given = self._buffer("from_normed", shape, self.dtype)
        self._norm_backward(2 * self.shape.depth, residual, given, branch, first=True)
        for block in reversed(range(self.shape.depth)):
            qkv, mixed, softmax, hidden, squared = self._block(block, rows, tokens)
            down = self._buffer("hidden_gradient", hidden.shape, self.dtype)
            torch.bmm(squared.mT, branch, out=slope[f"{block}.down"])
            torch.bmm(branch, weight[f"{block}.down"].mT, out=down)
            self._run("squared_relu_backward", hidden, down, hidden.numel())
            normed, _ = self._norm_of(2 * block + 1, rows, tokens)
            torch.bmm(normed.mT, down, out=slope[f"{block}.up"])
            torch.bmm(down, weight[f"{block}.up"].mT, out=given)
            self._norm_backward(2 * block + 1, residual, given, branch)
            torch.bmm(mixed.mT, branch, out=slope[f"{block}.attention_out"])
            torch.bmm(branch, weight[f"{block}.attention_out"].mT, out=given)
            heads = self._buffer("qkv_gradient", qkv.shape, self.dtype)
            self._run(
                "attend_backward", qkv, mixed, given, self._slopes, softmax, heads, rows * sequences
            )
            normed, _ = self._norm_of(2 * block, rows, tokens)
            torch.bmm(normed.mT, heads, out=slope[f"{block}.qkv"])
            torch.bmm(heads, weight[f"{block}.qkv"].mT, out=given)
            self._norm_backward(2 * block, residual, given, branch)
        table, whole = slope["embedding"], self._buffers["gradient"].shape[1]
        sums = self._buffer("sums", table.shape[1:], torch.float32)
        self._run("embed_backward", table, whole, inputs, residual, sums, rows, tokens)

    def _norm_backward(
        self, number: int, residual: Tensor, given: Tensor, branch: Tensor, *, first: bool = False
    ) -> None:
        rows, tokens, _ = given.shape
        normed, scales = self._norm_of(number, rows, tokens)
        multiplier = self.shape.scaling.residual_multiplier
        self._run(
            "norm_backward",
            residual,
            given,
            normed,
            scales,
            multiplier,
            branch,
            rows * tokens,
            int(first),
        )

    def _norm_of(self, number: int, rows: int, tokens: int) -> tuple[Tensor, Tensor]:
        """Return the buffers of one norm: its output, and 1/standard deviation of every token."""
        shape = (rows, tokens, self.shape.width)
        normed = self._buffer(f"normed {number}", shape, self.dtype)
        return normed, self._buffer(f"scales {number}", (rows, tokens), torch.float32)

    def _block(self, block: int, rows: int, tokens: int) -> tuple[Tensor, ...]:
        """Return a block's queries, keys and values; mix; softmax; hidden layer and its square."""
        width, hidden = self.shape.width, self.shape.expansion * self.shape.width
        sizes = {"qkv": 3 * width, "mixed": width, "softmax": 2 * self.shape.heads}
        sizes |= {"hidden": hidden, "squared": hidden}
        return tuple(
            self._buffer(
                f"{name} {block}",
                (rows, tokens, size),
                torch.float32 if name == "softmax" else self.dtype,
            )
            for name, size in sizes.items()
        )

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory that is kept between calls; fewer rows use the front of it."""
        held = self._buffers.get(name)
        if held is None or held.shape[1:] != shape[1:] or len(held) < shape[0]:
            held = self._buffers[name] = torch.empty(shape, dtype=dtype)
        return held[: shape[0]]

    def _run(self, name: str, *given: Tensor | int | float) -> None:
        getattr(self._kernels, name)(*(_as_c(value) for value in given))

    def _check(self, inputs: Tensor, targets: Tensor) -> None:
        # The kernels take addresses: what they would read outside their memory ends here.
        for tokens in (inputs, targets):
            if tokens.dtype != torch.int64 or tokens.shape[2:] != (self.shape.context,):
                msg = (
                    f"Tokens are {tokens.dtype} of shape {tuple(tokens.shape)}; int64 with "
                    f"{self.shape.context} positions were expected. Set context to match the task."
                )
                raise DataError(msg)
            if int(tokens.min()) < 0 or int(tokens.max()) >= self.shape.vocab:
                msg = (
                    f"Tokens run from {int(tokens.min())} to {int(tokens.max())}, the model has "
                    f"{self.shape.vocab}. Set vocab to match the task."
                )
                raise DataError(msg)


def _as_c(value: Tensor | int | float) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_float:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_float(value)


def _constants(shape: ModelShape) -> dict[str, int]:
    sizes = (shape.width, shape.context, shape.vocab)
    lanes = next((n for n in _LANES if not any(size % n for size in sizes)), None)
    if lanes is None or shape.head_size < 2 or shape.head_size & (shape.head_size - 1):
        msg = (
            f"there are kernels for a head size that is a power of two and for width, context and "
            f"vocab divisible by {_LANES[-1]}, found {shape.head_size}, "
            f"{', '.join(map(str, sizes))}"
        )
        raise BuildError(msg)
    names = ("WIDTH", "CONTEXT", "VOCAB")
    return dict(zip(names, sizes, strict=True)) | {"HEAD": shape.head_size, "LANES": lanes}
