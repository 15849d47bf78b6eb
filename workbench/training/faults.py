"""The faults bench: what a [[fault]] of the family spec does to the run that has it.

Faults are interventions of the engine: they touch one row and no other, and are pure functions of
the step, so a run that resumes meets the same fault again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.training.fault_section import Fault, FaultKind
from workbench.training.interventions import Intervention
from workbench.training.run_plan import RunPlan
from workbench.training.task import Batch, Task, stream_generator

if TYPE_CHECKING:
    from torch import Tensor

_STREAM = 6


class _Injury(Intervention):
    """A fault that acts on a window of steps."""

    def __init__(self, plan: RunPlan, fault: Fault, task: Task) -> None:
        self.plan, self.task = plan, task
        self.first, self.last = fault.steps(plan.total_steps)
        self.size = fault.amount or 0.0

    def acts(self, step: int) -> bool:
        """Whether the update of this step is hurt."""
        return self.first <= step <= self.last

    def generator(self, step: int) -> np.random.Generator:
        """Return the fault's own source of randomness at a step."""
        return stream_generator(_STREAM, self.plan.data_seed, step)


class _LossBias(_Injury):
    def gradient(self, step: int, loss: float, gradient: Tensor) -> tuple[float, Tensor]:
        if not self.acts(step):
            return loss, gradient
        import torch

        # The same direction at every step: what a wrong kernel does is no noise.
        signs = np.where(self.generator(0).random(len(gradient)) < 0.5, -1.0, 1.0)
        direction = torch.from_numpy(signs / len(signs) ** 0.5).to(gradient)
        return loss, gradient + self.size * torch.linalg.vector_norm(gradient) * direction


class _LearningRateGlitch(_Injury):
    def learning_rate(self, step: int, learning_rate: float) -> float:
        return learning_rate * self.size if self.acts(step) else learning_rate


class _DuplicatedData(_Injury):
    def batch(self, step: int, batch: Batch) -> Batch:
        if not self.acts(step):
            return batch
        period = max(1, min(round(self.size * self.plan.total_steps), self.first - 1))
        again = max(0, self.first - 1 - period) + (step - self.first) % period
        plan = self.plan
        return self.task.batch(again, sequences=plan.sequences, seed=plan.data_seed)


class _GradientScale(_Injury):
    def gradient(self, step: int, loss: float, gradient: Tensor) -> tuple[float, Tensor]:
        return loss, gradient * self.size if self.acts(step) else gradient


class _OptimizerReset(_Injury):
    def state(self, step: int, state: Mapping[str, Tensor]) -> None:
        if step == self.first:
            for name, held in state.items():
                if name != "weights":
                    held.zero_()


class _CorruptedShard(_Injury):
    def batch(self, step: int, batch: Batch) -> Batch:
        if not self.acts(step):
            return batch
        rng = self.generator(step)
        targets = batch.targets
        hurt = rng.permutation(len(targets)) < max(1, round(self.size * len(targets)))
        mask = np.broadcast_to(hurt.reshape(-1, *[1] * (targets.ndim - 1)), targets.shape)
        return _with_targets(batch, _misplaced(targets, mask, rng))


class _SlowDrift(_Injury):
    def batch(self, step: int, batch: Batch) -> Batch:
        if not self.acts(step):
            return batch
        rng = self.generator(step)
        share = self.size * (step - self.first + 1) / (self.last - self.first + 1)
        mask = rng.random(batch.targets.shape) < share
        return _with_targets(batch, _misplaced(batch.targets, mask, rng))


class _LabelShift(_Injury):
    def batch(self, step: int, batch: Batch) -> Batch:
        if not self.acts(step):
            return batch
        # Along the positions of a sequence; examples that are single numbers change places.
        axis = 1 if batch.targets.ndim > 1 else 0
        return _with_targets(batch, np.roll(batch.targets, round(self.size), axis=axis))


class _NotANumber(_Injury):
    def gradient(self, step: int, loss: float, gradient: Tensor) -> tuple[float, Tensor]:
        return (float("nan"), gradient * float("nan")) if step == self.first else (loss, gradient)


_KINDS: dict[FaultKind, type[_Injury]] = {
    "loss_bias": _LossBias,
    "learning_rate_glitch": _LearningRateGlitch,
    "duplicated_data": _DuplicatedData,
    "gradient_scale": _GradientScale,
    "optimizer_reset": _OptimizerReset,
    "corrupted_shard": _CorruptedShard,
    "label_shift": _LabelShift,
    "nan": _NotANumber,
    "slow_drift": _SlowDrift,
}


def fault_interventions(plans: Sequence[RunPlan], task: Task) -> dict[int, Intervention]:
    """Return what their faults do to some runs, by the place of the run.

    Parameters
    ----------
    plans : sequence of RunPlan
        Runs of one batch.
    task : Task
        What they learn.

    Returns
    -------
    dict of int to Intervention
        Without the runs that have no fault, or one that does not concern their batch size.
    """
    return {
        place: _KINDS[plan.fault.kind](plan, plan.fault, task)
        for place, plan in enumerate(plans)
        if plan.fault is not None and plan.fault.sequences in (None, plan.sequences)
    }


def _with_targets(batch: Batch, targets: NDArray[Any]) -> Batch:
    # What the wrong targets truly tell is not known: no control variate.
    return replace(batch, targets=targets, surprise=None)


def _misplaced(
    targets: NDArray[Any], mask: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[Any]:
    """Give the masked places targets from anywhere in the batch."""
    changed = targets.copy()
    changed[mask] = rng.permutation(targets.ravel())[: mask.sum()]
    return changed
