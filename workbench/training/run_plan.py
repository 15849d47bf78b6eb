"""One run, fully determined, and the family it belongs to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.recipes import Schedule, schedule_factors, weight_decay_for_tau
from workbench.training.fault_section import Fault
from workbench.training.row_model import Shape
from workbench.training.spec import FamilySpec

# Rows are trained together in chunks of about this many tokens, so that they stay in the cache.
CHUNK_TOKENS = 4096
# A token costs its FLOP plus a fixed part (attention, norms, data), measured on widths 16 to 48.
_FIXED_FLOP_PER_TOKEN = 330_000


class TrainedShape(Shape, Protocol):
    """A model of one width and depth, as a plan needs it."""

    @property
    def width(self) -> int:
        """Model width."""

    @property
    def depth(self) -> int:
        """Number of blocks."""

    @property
    def context(self) -> int:
        """Tokens in one example."""

    @property
    def parameterisation(self) -> str:
        """What follows from width and depth."""

    @property
    def learning_rate_multiplier(self) -> float:
        """Factor on the base learning rate of the hidden matrices."""


@dataclass(frozen=True)
class RunPlan:
    """One run, fully determined.

    Parameters
    ----------
    run_id : str
        Unique within the family.
    shape : TrainedShape
        Model.
    sequences : int
        Sequences per step.
    total_steps : int
        Planned steps T.
    tau, tpp : float
        Designed timescale (share of the run; infinite without decay) and tokens per parameter.
        ``tau`` is met exactly; whole steps move D/N away from ``tpp`` by at most half a step.
    base_lr : float
        Peak learning rate at the base width and depth.
    schedule : str
        Name, with its fractions below.
    warmup_fraction, decay_fraction, final_lr_fraction : float
        See `workbench.recipes.schedule_factors`.
    seed, data_seed : int
        Of the weights and of the data order.
    beta1, beta2 : float
        Of Adam.
    fault : Fault or None
        What goes wrong in this run.
    task, optimizer : str
        Names of both.
    """

    run_id: str
    shape: TrainedShape
    sequences: int
    total_steps: int
    tau: float
    tpp: float
    base_lr: float
    schedule: Schedule
    warmup_fraction: float
    decay_fraction: float
    final_lr_fraction: float
    seed: int
    data_seed: int
    beta1: float = 0.9
    beta2: float = 0.95
    fault: Fault | None = None
    task: str = "markov-2"
    optimizer: str = "adamw"

    @property
    def batch_key(self) -> tuple[object, ...]:
        """What runs must share to be rows of one batch."""
        return (self.shape, self.sequences, self.beta1, self.beta2)

    @property
    def width(self) -> int:
        """Model width."""
        return self.shape.width

    @property
    def model_size(self) -> int:
        """Parameters N."""
        return self.shape.model_size

    @property
    def batch_size(self) -> int:
        """Tokens per step B."""
        return self.sequences * self.shape.context

    @property
    def tokens_total(self) -> int:
        """Planned tokens D."""
        return self.batch_size * self.total_steps

    @property
    def peak_lr(self) -> float:
        """Peak learning rate η of the hidden matrices."""
        return self.base_lr * self.shape.learning_rate_multiplier

    @property
    def weight_decay(self) -> float:
        """Decay λ that gives ``tau``; 0 without decay."""
        if math.isinf(self.tau):
            return 0.0
        return weight_decay_for_tau(
            self.tau,
            peak_lr=self.peak_lr,
            batch_size=float(self.batch_size),
            tokens_total=float(self.tokens_total),
        )

    @property
    def flops(self) -> float:
        """Training FLOP, attention included."""
        return float(self.shape.flops_per_token) * self.tokens_total

    @property
    def cost(self) -> float:
        """Time the run takes, in arbitrary units: to order jobs and to estimate what is left."""
        return float(self.shape.flops_per_token + _FIXED_FLOP_PER_TOKEN) * self.tokens_total

    def factors(self) -> NDArray[np.float64]:
        """Learning-rate factors, ndarray of float64 of shape (total_steps,)."""
        return schedule_factors(
            self.schedule,
            total_steps=self.total_steps,
            warmup_fraction=self.warmup_fraction,
            decay_fraction=self.decay_fraction,
            final_lr_fraction=self.final_lr_fraction,
        )

    def coordinates(self) -> dict[str, float | str]:
        """Return the run coordinates of the schema that are known before training."""
        found: dict[str, float | str] = {
            "model_size": float(self.model_size),
            "width": float(self.width),
            "depth": float(self.shape.depth),
            "tpp": self.tpp,
            "schedule": self.schedule,
            "seed": float(self.seed),
            "data_seed": float(self.data_seed),
            "tokens_total": float(self.tokens_total),
            "total_steps": float(self.total_steps),
            "batch_size": float(self.batch_size),
            "peak_lr": self.peak_lr,
            "weight_decay": self.weight_decay,
            "warmup_fraction": self.warmup_fraction,
            "decay_fraction": self.decay_fraction,
            "final_lr_fraction": self.final_lr_fraction,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "parameterisation": self.shape.parameterisation,
            "optimizer": self.optimizer,
            "task": self.task,
        }
        if math.isfinite(self.tau):
            found["tau"] = self.tau
        return found | self._fault_coordinates()

    def _fault_coordinates(self) -> dict[str, float | str]:
        if self.fault is None:
            return {}
        found: dict[str, float | str] = {
            "fault": self.fault.kind,
            "fault_at": self.fault.at,
            "fault_until": self.fault.end,
        }
        return found | ({} if self.fault.amount is None else {"fault_size": self.fault.amount})


@dataclass(frozen=True)
class FamilyPlan:
    """The runs of a family, in the order of the spec."""

    spec: FamilySpec
    runs: tuple[RunPlan, ...]

    @property
    def flops(self) -> float:
        """Training FLOP of all runs."""
        return sum(run.flops for run in self.runs)

    @property
    def run_steps(self) -> int:
        """Steps of all runs."""
        return sum(run.total_steps for run in self.runs)
