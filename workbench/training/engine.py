"""Train many runs of one shape as rows of one batch, a step at a time.

Everything that varies between runs is a vector over rows: learning rate, decay, length, seed.
Rows are sorted by length and leave by slicing when they finish. Row k of a batch equals the same
run alone, bit for bit, whatever the other rows and the chunk size (same CPU, same library).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.errors import ArgumentError
from workbench.training.language import Batch, MarkovLanguage
from workbench.training.model import initial_rows, token_losses
from workbench.training.optimizer import RowAdamW
from workbench.training.plan import CHUNK_TOKENS, RunPlan
from workbench.training.shape import ModelShape
from workbench.training.spec import Evaluation, Optimizer


@dataclass(frozen=True)
class StepRecord:
    """What one step of the batch showed, in the order the runs were given.

    Parameters
    ----------
    step : int
        Updates made so far, from 1.
    train_loss : ndarray of float64, shape (run,), nats/token
        Loss of the step's own batch, before its update; NaN for runs that have finished.
    eval_loss : ndarray of float64, shape (run,), nats/token
        Held-out loss after the update; NaN where none was planned.
    """

    step: int
    train_loss: NDArray[np.float64]
    eval_loss: NDArray[np.float64]


def evaluation_steps(total_steps: int, *, points: int) -> NDArray[np.int64]:
    """Return the steps after which held-out loss is measured, evenly spaced, the last included."""
    planned = np.round(total_steps * np.arange(1, points + 1) / points)
    return np.unique(np.maximum(planned, 1)).astype(np.int64)


def train_rows(
    plans: Sequence[RunPlan],
    language: MarkovLanguage,
    *,
    optimizer: Optimizer | None = None,
    evaluation: Evaluation | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Iterator[StepRecord]:
    """Train runs together and yield after every step; stop consuming to stop training.

    Parameters
    ----------
    plans : sequence of RunPlan
        Runs of one shape and batch size.
    language : MarkovLanguage
        Task.
    optimizer, evaluation : Optimizer, Evaluation, optional
        Sections of the family spec.
    chunk_tokens : int
        Rows are worked through in chunks of about this many tokens, to stay in the cache. It does
        not change any result.

    Yields
    ------
    StepRecord
        Both losses are reported as H + mean(cross-entropy − true surprise): same expectation as
        the cross-entropy, without the sampling noise of the text (a control variate).

    Raises
    ------
    ArgumentError
        If the plans differ in shape or batch size.
    """
    if len({(plan.shape, plan.sequences) for plan in plans}) != 1:
        msg = "plans must share one model shape and one batch size. Train them in separate calls."
        raise ArgumentError(msg)
    batch = _RowBatch(
        plans, language, optimizer or Optimizer(), evaluation or Evaluation(), chunk_tokens
    )
    while batch.active:
        yield batch.advance()


class _RowBatch:
    """Weights, optimiser state, data streams and schedules of the rows still training."""

    def __init__(
        self,
        plans: Sequence[RunPlan],
        language: MarkovLanguage,
        optimizer: Optimizer,
        evaluation: Evaluation,
        chunk_tokens: int,
    ) -> None:
        self.order = sorted(range(len(plans)), key=lambda i: -plans[i].total_steps)
        self.plans = [plans[i] for i in self.order]
        first = self.plans[0]
        self.shape, self.language = first.shape, language
        self.rows_per_chunk = max(1, chunk_tokens // first.batch_size)
        self.optimizer = RowAdamW(
            initial_rows(self.shape, [plan.seed for plan in self.plans]),
            self.shape,
            beta1=optimizer.beta1,
            beta2=optimizer.beta2,
            epsilon=optimizer.epsilon,
        )
        self.learning_rate, self.decay = _controls(self.plans)
        self.streams = {
            seed: language.batches(first.sequences, self.shape.context, seed=seed)
            for seed in {plan.data_seed for plan in self.plans}
        }
        held_out = language.held_out(evaluation.sequences, self.shape.context)
        self.held_out = _tensors([held_out])[0]
        self.held_out_nll = float(held_out.nll.mean())
        self.eval_steps = [
            set(evaluation_steps(plan.total_steps, points=evaluation.points).tolist())
            for plan in self.plans
        ]
        # Not from chunk_tokens: how the mean is summed must not depend on it.
        self.eval_sequences = max(1, CHUNK_TOKENS // self.shape.context)
        self.step = 0
        self.active = len(self.plans)

    def advance(self) -> StepRecord:
        """Make one update of every active row, then let finished rows leave."""
        seeds = [plan.data_seed for plan in self.plans[: self.active]]
        drawn = {seed: next(self.streams[seed]) for seed in set(seeds)}
        batches = [drawn[seed] for seed in seeds]
        tokens = _tensors(batches)
        train = np.full(len(self.order), np.nan)
        held_out = train.copy()
        self.step += 1
        for start in range(0, self.active, self.rows_per_chunk):
            rows = slice(start, min(start + self.rows_per_chunk, self.active))
            losses = self._update(rows, tokens[rows])
            for row, loss in zip(range(rows.start, rows.stop), losses, strict=True):
                train[self.order[row]] = self._controlled(loss, float(batches[row].nll.mean()))
                if self.step in self.eval_steps[row]:
                    held_out[self.order[row]] = self._evaluate(row)
        self._leave()
        return StepRecord(self.step, train, held_out)

    def _update(self, rows: slice, tokens: Tensor) -> list[float]:
        weights = self.optimizer.weights[rows].detach().requires_grad_()
        losses = _row_losses(weights, tokens, shape=self.shape)
        # Rows share no weight, so the gradient of the sum holds each row's own gradient.
        (gradient,) = torch.autograd.grad(losses.sum(), weights)
        self.optimizer.step(
            rows,
            gradient,
            step=self.step,
            learning_rate=self.learning_rate[self.step - 1, rows],
            decay=self.decay[self.step - 1, rows],
        )
        return [float(loss) for loss in losses.tolist()]

    @torch.no_grad()
    def _evaluate(self, row: int) -> float:
        weights = self.optimizer.weights[row : row + 1]
        total = 0.0
        for part in torch.split(self.held_out, self.eval_sequences):
            total += float(_row_losses(weights, part[None], shape=self.shape)) * len(part)
        return self._controlled(total / len(self.held_out), self.held_out_nll)

    def _controlled(self, cross_entropy: float, nll: float) -> float:
        return self.language.entropy + (cross_entropy - nll)

    def _leave(self) -> None:
        staying = sum(plan.total_steps > self.step for plan in self.plans[: self.active])
        if staying < self.active:
            self.active = staying
            self.optimizer.keep(staying)


def _row_losses(weights: Tensor, tokens: Tensor, *, shape: ModelShape) -> Tensor:
    """Return the mean loss of each row; the first target has too little context to count."""
    losses = token_losses(weights, tokens[..., :-1], tokens[..., 1:], shape=shape)
    return losses[:, :, 1:].mean((1, 2))


def _tensors(batches: Sequence[Batch]) -> Tensor:
    return torch.from_numpy(np.stack([batch.tokens for batch in batches]))


def _controls(plans: Sequence[RunPlan]) -> tuple[Tensor, Tensor]:
    """Return base learning rate and decay per step, each of shape (step, run)."""
    steps = max(plan.total_steps for plan in plans)
    rate, decay = np.zeros((2, steps, len(plans)), np.float32)
    for row, plan in enumerate(plans):
        factors = plan.factors()
        rate[: plan.total_steps, row] = plan.base_lr * factors
        decay[: plan.total_steps, row] = factors / (plan.tau * plan.total_steps)
    return torch.from_numpy(rate), torch.from_numpy(decay)
