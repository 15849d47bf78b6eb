"""The forward pass of many runs at once: run k reads row k of a flat tensor and nothing else.

Matrix products are batched over the run axis, so a row's numbers do not depend on which other rows
are in the batch: row k equals the same run alone, bit for bit, on one CPU and one library version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.training.row_model import normal_rows
from workbench.training.shape import ModelShape, Parameter

if TYPE_CHECKING:
    from workbench.training.compiled import CompiledTransformer

_ALIBI_SLOPES = (2.0, 0.5, 0.125, 0.0)


class Transformer:
    """The `RowModel` of a `ModelShape`.

    Parameters
    ----------
    shape : ModelShape
        Shape that all rows share.
    """

    def __init__(self, shape: ModelShape) -> None:
        self.shape = shape

    @property
    def model_size(self) -> int:
        """Parameters N of a row."""
        return self.shape.model_size

    @property
    def flops_per_token(self) -> int:
        """Training FLOP per token."""
        return self.shape.flops_per_token

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Layout of a row."""
        return self.shape.parameters

    def initial_rows(self, seeds: Sequence[int]) -> Tensor:
        """Draw fresh weights, one row per seed; Tensor, float32, shape (run, model_size)."""
        return normal_rows(self.parameters, seeds)

    def row_losses(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return each row's mean cross-entropy [nats/token], Tensor of shape (run,).

        The first target of a sequence has too little context to count.
        """
        losses = token_losses(weights, inputs, targets, shape=self.shape)
        return losses[:, :, 1:].mean((1, 2))

    def compiled(self, precision: str) -> CompiledTransformer:
        """Return losses and gradients by compiled kernels; see `CompiledTransformer`."""
        from workbench.training.compiled import CompiledTransformer

        return CompiledTransformer(self.shape, precision=precision)


def token_losses(weights: Tensor, inputs: Tensor, targets: Tensor, *, shape: ModelShape) -> Tensor:
    """Return the cross-entropy of every token of every run.

    Parameters
    ----------
    weights : Tensor, shape (run, model_size)
        Flat weights.
    inputs, targets : Tensor of int64, shape (run, sequence, position)
        Tokens and the tokens that follow them.
    shape : ModelShape
        Shape that all rows share.

    Returns
    -------
    Tensor, shape (run, sequence, position), nats
    """
    logits = token_logits(weights, inputs, shape=shape)
    losses = F.cross_entropy(logits.view(-1, shape.vocab), targets.reshape(-1), reduction="none")
    return losses.view(inputs.shape)


def token_logits(
    weights: Tensor,
    inputs: Tensor,
    *,
    shape: ModelShape,
    watch: Callable[[str, Tensor], None] | None = None,
) -> Tensor:
    """Return the logits of every token; arguments as for `token_losses`.

    Parameters
    ----------
    watch : callable, optional
        Given every activation by name, of shape (run, token, ...): ``embedding``, the outputs of
        the branches ``{block}.attention`` and ``{block}.mlp`` before their multiplier, and
        ``residual``, what the read-out sees before its norm.

    Returns
    -------
    Tensor, float32, shape (run, token, vocab)
    """
    see = watch or (lambda name, activation: None)
    sequences, scale = inputs.shape[1], shape.scaling.residual_multiplier
    weight = named_weights(weights, shape)
    residual = _embed(weight["embedding"], inputs)
    see("embedding", residual)
    for block in range(shape.depth):
        mixed = torch.bmm(_norm(residual, weights), weight[f"{block}.qkv"])
        attended = _attention(mixed, sequences, shape=shape)
        attended = torch.bmm(attended, weight[f"{block}.attention_out"])
        see(f"{block}.attention", attended)
        residual = torch.add(residual, attended, alpha=scale)
        hidden = _squared_relu(torch.bmm(_norm(residual, weights), weight[f"{block}.up"]))
        lifted = torch.bmm(hidden, weight[f"{block}.down"])
        see(f"{block}.mlp", lifted)
        residual = torch.add(residual, lifted, alpha=scale)
    see("residual", residual)
    return torch.bmm(_norm(residual, weights), weight["readout"]).float()


def named_weights(weights: Tensor, shape: ModelShape) -> dict[str, Tensor]:
    """Return views of flat rows by parameter name, each of shape (run, *parameter)."""
    # One split: its backward is a single concatenation into the flat gradient.
    parts = torch.split(weights, [p.size for p in shape.parameters], dim=1)
    return {
        p.name: part.view(-1, *p.shape) for p, part in zip(shape.parameters, parts, strict=True)
    }


def _embed(tables: Tensor, inputs: Tensor) -> Tensor:
    runs, vocab, width = tables.shape
    offsets = torch.arange(runs, device=tables.device).view(runs, 1, 1) * vocab
    rows = F.embedding(inputs + offsets, tables.reshape(runs * vocab, width))
    return rows.view(runs, -1, width).float()


def _norm(residual: Tensor, weights: Tensor) -> Tensor:
    return F.layer_norm(residual, residual.shape[-1:]).to(weights.dtype)


def _attention(qkv: Tensor, sequences: int, *, shape: ModelShape) -> Tensor:
    # Two products and a softmax: at short context and small heads the fused kernel is slower.
    runs, tokens, _ = qkv.shape
    batch, positions = runs * sequences, tokens // sequences
    split = qkv.view(batch, positions, 3, shape.heads, shape.head_size).permute(2, 0, 3, 1, 4)
    query, key, value = split.reshape(3, batch * shape.heads, positions, shape.head_size)
    scores = torch.bmm(query * shape.head_size**-0.5, key.transpose(1, 2))
    biased = scores.view(batch, shape.heads, positions, positions) + _alibi(
        positions, shape.heads, qkv.dtype, qkv.device
    )
    share = torch.softmax(biased, dim=-1).view(-1, positions, positions)
    mixed = torch.bmm(share, value).view(batch, shape.heads, positions, shape.head_size)
    return mixed.transpose(1, 2).reshape(runs, tokens, shape.width)


def alibi_slopes(heads: int) -> Tensor:
    """Return the penalty per token of distance of every head, Tensor of shape (head,)."""
    return torch.tensor(_ALIBI_SLOPES).repeat(-(-heads // len(_ALIBI_SLOPES)))[:heads].contiguous()


@lru_cache
def _alibi(positions: int, heads: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return distance penalties with the causal mask, shape (head, query, key)."""
    slopes, place = alibi_slopes(heads), torch.arange(positions)
    distance = (place[:, None] - place[None, :]).float()
    return (
        (-slopes[:, None, None] * distance)
        .masked_fill(distance < 0, float("-inf"))
        .to(device, dtype)
    )


class _SquaredRelu(torch.autograd.Function):
    """relu(u)², saving one tensor and reading it twice."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        positive: Tensor = F.relu(inputs[0])
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        positive: Tensor = ctx.saved_tensors[0]
        return (positive * gradients[0]).mul_(2)


def _squared_relu(hidden: Tensor) -> Tensor:
    result: Tensor = _SquaredRelu.apply(hidden)  # type: ignore[no-untyped-call]
    return result
