"""Coordinate check: whether activations change by as much in a large model as in a small one.

Under a parameterisation that transfers, a few updates change every activation by an amount that
does not depend on the size (Yang et al. 2022, arXiv:2203.03466, appendix D.1; in depth, Dey et al.
2025, arXiv:2505.01618). The slope of log change against log size says by how much that fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.errors import ArgumentError
from workbench.training.engine import RowBatch
from workbench.training.model import token_logits
from workbench.training.plan import RunPlan
from workbench.training.shape import ModelShape
from workbench.training.spec import Evaluation, Optimizer
from workbench.training.task import Task

COORDINATES = ("embedding", "attention", "mlp", "residual", "logits")
EARLY = Optimizer(peak_lr=0.004)
"""A quarter of the usual peak: the first steps of a warm-up. Ten steps at the full peak, which no
run takes from a fresh start, leave the regime in which changes are small."""
_SEQUENCES = 16


@dataclass(frozen=True)
class CoordinateCheck:
    """How far activations moved at every size.

    Parameters
    ----------
    axis : {"width", "depth"}
        What was varied.
    sizes : tuple of int
        Its values.
    change : ndarray of float64, shape (coordinate, size, seed)
        Root-mean-square change of every activation in `COORDINATES` after the updates; those of
        branches are means over blocks.
    """

    axis: str
    sizes: tuple[int, ...]
    change: NDArray[np.float64]

    @property
    def slopes(self) -> dict[str, float]:
        """Slope of log change against log size by coordinate, averaged over seeds."""
        return dict(zip(COORDINATES, self._by_seed().mean(1).tolist(), strict=True))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of every slope, from its spread over seeds."""
        found = self._by_seed()
        errors = found.std(1, ddof=1) / np.sqrt(found.shape[1])
        return dict(zip(COORDINATES, errors.tolist(), strict=True))

    def _by_seed(self) -> NDArray[np.float64]:
        logs = np.log(self.sizes)
        place = logs - logs.mean()
        weight = place / (place**2).sum()
        slopes: NDArray[np.float64] = np.einsum("s,csk->ck", weight, np.log(self.change))
        return slopes


def coordinate_check(
    shapes: Sequence[ModelShape],
    task: Task,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 10,
    optimizer: Optimizer = EARLY,
) -> CoordinateCheck:
    """Train models of several sizes for a few steps and compare how far their activations moved.

    Parameters
    ----------
    shapes : sequence of ModelShape
        Models that differ in their width or in their depth.
    task : Task
        What they learn.
    seeds : sequence of int
        Of weights and data, two or more.
    steps : int
        Updates, at a constant learning rate without decay.
    optimizer : Optimizer
        Section of a family spec; its peak learning rate holds at the base shape.

    Returns
    -------
    CoordinateCheck

    Raises
    ------
    ArgumentError
        If not exactly one of width and depth varies, or there are fewer than two seeds.
    """
    varied = [axis for axis in ("width", "depth") if len({getattr(s, axis) for s in shapes}) > 1]
    if len(varied) != 1 or len(seeds) < 2:
        msg = (
            f"A coordinate check varies width or depth and has two seeds or more; found "
            f"{' and '.join(varied) or 'neither'} varied and {len(seeds)} seeds."
        )
        raise ArgumentError(msg)
    change = [_change(shape, task, seeds, steps, optimizer) for shape in shapes]
    sizes = tuple(int(getattr(shape, varied[0])) for shape in shapes)
    return CoordinateCheck(varied[0], sizes, np.stack(change, axis=1))


def _change(
    shape: ModelShape, task: Task, seeds: Sequence[int], steps: int, optimizer: Optimizer
) -> NDArray[np.float64]:
    """Return the change of every coordinate, shape (coordinate, seed)."""
    plans = [_plan(shape, seed, steps, optimizer.peak_lr) for seed in seeds]
    once = Evaluation(points=1, sequences=_SEQUENCES)
    batch = RowBatch(plans, task, optimizer=optimizer, evaluation=once)
    inputs = torch.from_numpy(task.held_out(_SEQUENCES).inputs).expand(len(seeds), -1, -1)
    before = _activations(batch.optimizer.weights, inputs, shape)
    for _ in range(steps):
        batch.advance()
    after = _activations(batch.optimizer.weights, inputs, shape)
    moved = {name: (after[name] - before[name]).square().mean((1, 2)).sqrt() for name in before}
    branches = {
        kind: torch.stack([moved[f"{block}.{kind}"] for block in range(shape.depth)]).mean(0)
        for kind in ("attention", "mlp")
    }
    return np.stack([(moved | branches)[name].double().numpy() for name in COORDINATES])


@torch.no_grad()
def _activations(weights: Tensor, inputs: Tensor, shape: ModelShape) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    seen["logits"] = token_logits(weights, inputs, shape=shape, watch=seen.__setitem__)
    return seen


def _plan(shape: ModelShape, seed: int, steps: int, base_lr: float) -> RunPlan:
    # One step longer than it is trained, so that its row is still there to be looked at.
    return RunPlan(
        run_id=f"seed{seed}",
        shape=shape,
        sequences=_SEQUENCES,
        total_steps=steps + 1,
        tau=float("inf"),
        tpp=1.0,
        base_lr=base_lr,
        schedule="constant",
        warmup_fraction=0.0,
        decay_fraction=0.0,
        final_lr_fraction=0.0,
        seed=seed,
        data_seed=seed,
    )
