"""Train many runs of one shape as rows of one batch, a step at a time.

Everything that varies between runs is a vector over rows: learning rate, decay, length, seed.
Rows are sorted by length and leave when they finish. Row k of a batch equals the same run alone,
bit for bit, whatever the other rows and the chunk size (same CPU, same library).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.errors import ArgumentError, DataError
from workbench.training.accumulate import in_parts
from workbench.training.compiled import CompiledTransformer
from workbench.training.faults import fault_interventions
from workbench.training.gradients import autograd_gradients, choose_gradients
from workbench.training.graphed import rows_in_memory
from workbench.training.interventions import Intervention
from workbench.training.muon import RowMuon
from workbench.training.noise_trace import NOISE_STREAM, noise_trace, preconditioner
from workbench.training.optimizer import RowAdam, RowAdamW, RowOptimizer, row_norms
from workbench.training.plan import CHUNK_TOKENS, RunPlan
from workbench.training.precision import warn_where_slow
from workbench.training.spec import Compute, Evaluation, Optimizer
from workbench.training.steps import StepRecord, controls, evaluation_steps
from workbench.training.task import Batch, Task

__all__ = ["OPTIMIZERS", "RowBatch", "StepRecord", "evaluation_steps", "train_rows"]

OPTIMIZERS: dict[str, type[RowOptimizer]] = {"adamw": RowAdamW, "adam": RowAdam, "muon": RowMuon}


def train_rows(plans: Sequence[RunPlan], task: Task, **settings: Any) -> Iterator[StepRecord]:
    """Train runs together and yield after every step; stop consuming to stop training.

    Parameters
    ----------
    plans : sequence of RunPlan
        Runs of one shape and batch size.
    task : Task
        What they learn.
    **settings
        As for `RowBatch`.

    Yields
    ------
    StepRecord
    """
    batch = RowBatch(plans, task, **settings)
    while batch.active:
        yield batch.advance()


class RowBatch:
    """Runs of one shape that train together: weights, optimiser state and schedules.

    Parameters
    ----------
    plans : sequence of RunPlan
        Runs of one shape and batch size.
    task : Task
        What they learn. Where it knows the surprise of its data, losses are reported as
        H + mean(loss − true surprise): same expectation, without the sampling noise of the data
        (a control variate).
    optimizer, evaluation, compute : Optimizer, Evaluation, Compute, optional
        Sections of the family spec.
    chunk_tokens : int, optional
        Rows are worked through in chunks of about this many tokens; by default what stays in the
        cache of a CPU, or fits half of the free memory of a GPU. On CPU it changes no result.
    device : str
        Where to compute, ``"cpu"`` or a CUDA device.
    interventions : mapping of int to sequence of Intervention, optional
        What to do to some runs, by their place in `plans`, besides the faults that are planned.

    Raises
    ------
    ArgumentError
        If the plans differ in shape, batch size or the betas of Adam.
    """

    def __init__(
        self,
        plans: Sequence[RunPlan],
        task: Task,
        *,
        optimizer: Optimizer | None = None,
        evaluation: Evaluation | None = None,
        compute: Compute | None = None,
        chunk_tokens: int | None = None,
        device: str = "cpu",
        interventions: Mapping[int, Sequence[Intervention]] | None = None,
    ) -> None:
        if len({plan.batch_key for plan in plans}) != 1:
            msg = (
                "plans must share one model shape, one batch size and the betas of Adam. Train "
                "them in separate calls."
            )
            raise ArgumentError(msg)
        self.plans, self.task, self.device = tuple(plans), task, torch.device(device)
        self.model = plans[0].shape.row_model()
        betas = {"beta1": plans[0].beta1, "beta2": plans[0].beta2}
        optimizer = (optimizer or Optimizer()).model_copy(update=betas)
        self.compute = compute or Compute()
        warn_where_slow(self.compute.precision, self.device)
        self.step = 0
        self._rows = sorted(range(len(plans)), key=lambda run: -plans[run].total_steps)
        weights = self.model.initial_rows([plans[run].seed for run in self._rows])
        self.optimizer = OPTIMIZERS[optimizer.name](
            weights.to(self.device), self.model.parameters, settings=optimizer
        )
        self._gradients = choose_gradients(self.model, self.compute, self.device)
        self._mode = f"{optimizer.name}, {self.compute.precision}"
        if isinstance(self._gradients, CompiledTransformer):
            self.optimizer.fused = self._gradients.adamw
            self._mode += ", compiled kernels"
        if self.compute.micro_sequences is not None:
            self._gradients = in_parts(self._gradients, self.compute.micro_sequences)
            self._mode += f", {self.compute.micro_sequences} sequences at once"
        faults = fault_interventions(plans, task)
        given = interventions or {}
        self.interventions = {
            run: (*given.get(run, ()), *([faults[run]] if run in faults else []))
            for run in {*given, *faults}
        }
        self._learning_rate, self._decay = controls(self.plans)
        self.evaluation = evaluation or Evaluation()
        self._prepare_evaluation()
        self._chunk = self._rows_per_chunk(chunk_tokens)

    @property
    def active(self) -> tuple[str, ...]:
        """Identifiers of the runs still training."""
        return tuple(self.plans[run].run_id for run in sorted(self._rows))

    def advance(self) -> StepRecord:
        """Make one update of every active row, then let finished rows leave.

        Raises
        ------
        ArgumentError
            If no run is left.
        """
        if not self._rows:
            msg = f"All {len(self.plans)} runs have left after step {self.step}: none can advance."
            raise ArgumentError(msg)
        batches = self._draw()
        train, held_out, norms, noise = np.full((4, len(self.plans)), np.nan)
        self.step += 1
        for start in range(0, len(self._rows), self._chunk):
            rows = slice(start, min(start + self._chunk, len(self._rows)))
            runs = self._rows[rows]
            losses, norms[runs] = self._update(rows, batches[rows])
            for run, loss, batch in zip(runs, losses, batches[rows], strict=True):
                train[run] = self._controlled(loss, batch.mean_surprise)
        for row, run in enumerate(self._rows):
            if self.step in self._eval_steps[run]:
                held_out[run] = self._evaluate(row)
                if self.evaluation.noise_batches:
                    noise[run] = self._noise(row)
        self._keep([run for run in self._rows if self.plans[run].total_steps > self.step])
        return StepRecord(self.step, train, held_out, norms, noise)

    def leave(self, run_ids: Collection[str]) -> None:
        """Stop some runs; the others go on as if these had never been there.

        Raises
        ------
        ArgumentError
            If a run is not training.
        """
        unknown = sorted(set(run_ids) - set(self.active))
        if unknown:
            msg = f"run {unknown[0]!r} is not training. Training are: {', '.join(self.active)}."
            raise ArgumentError(msg)
        self._keep([run for run in self._rows if self.plans[run].run_id not in run_ids])

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that a bitwise resume needs.

        Returns
        -------
        dict of str to ndarray
            ``step``; ``run_id`` of the rows still training; ``mode``, how they were computed; and
            ``weights`` and the optimiser's moments, each of shape (row, parameter).
        """
        tensors = {name: held.cpu().numpy().copy() for name, held in self.optimizer.tensors.items()}
        run_ids = np.array([self.plans[run].run_id for run in self._rows], dtype=np.str_)
        return tensors | {
            "step": np.array(self.step),
            "run_id": run_ids,
            "mode": np.array(self._mode),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state, of this batch or of one that shared runs with it.

        Runs that the state does not have are taken to have left; rows of the state that are not
        among the plans are passed over, so a row can move to another batch.

        Raises
        ------
        DataError
            If the state was computed in another way, or its rows are of another size.
        """
        if str(state["mode"]) != self._mode:
            msg = (
                f"The state was computed by {state['mode']}, these runs by {self._mode}: they "
                "would not go on bit for bit. Use the settings that the state was made with."
            )
            raise DataError(msg)
        expected = self.model.model_size
        for name in self.optimizer.tensors:
            found = state[name].shape
            if found != (len(state["run_id"]), expected):
                msg = (
                    f"{name} of the state has shape {found}, {len(state['run_id'])} rows of "
                    f"{expected} parameters were expected. Use the state of this family."
                )
                raise DataError(msg)
        places = {str(run_id): row for row, run_id in enumerate(state["run_id"])}
        ids = [plan.run_id for plan in self.plans]
        known = [run for run in range(len(ids)) if ids[run] in places]
        self._rows = sorted(known, key=lambda run: -self.plans[run].total_steps)
        rows = [places[ids[run]] for run in self._rows]
        self.optimizer.tensors = {
            name: torch.from_numpy(state[name][rows]).to(self.device)
            for name in self.optimizer.tensors
        }
        self.step = int(state["step"])

    def _rows_per_chunk(self, chunk_tokens: int | None) -> int:
        if chunk_tokens is None and self.device.type == "cuda":
            one = self._tensors(self._draw()[:1])
            gradients = in_parts(
                autograd_gradients(self.model, self.compute.precision),
                self.compute.micro_sequences,
            )
            return rows_in_memory(gradients, self.optimizer.weights[:1], *one)
        return max(1, (chunk_tokens or CHUNK_TOKENS) // self.plans[0].batch_size)

    def _prepare_evaluation(self) -> None:
        evaluation = self.evaluation
        held_out = self.task.held_out(evaluation.sequences)
        self._held_out = self._tensors([held_out])
        self._held_out_surprise = held_out.mean_surprise
        self._eval_steps = [
            set(evaluation_steps(plan.total_steps, points=evaluation.points).tolist())
            for plan in self.plans
        ]
        # Not from the chunk size: how the mean is summed must not depend on it.
        per_sequence = self.plans[0].batch_size // self.plans[0].sequences
        self._eval_sequences = max(1, CHUNK_TOKENS // per_sequence)

    def _draw(self) -> list[Batch]:
        """Return the batch of every active row; runs of one data seed share theirs."""
        sequences = self.plans[0].sequences
        seeds = [self.plans[run].data_seed for run in self._rows]
        drawn = {s: self.task.batch(self.step, sequences=sequences, seed=s) for s in set(seeds)}
        batches = [drawn[seed] for seed in seeds]
        for row, run in enumerate(self._rows):
            for intervention in self.interventions.get(run, ()):
                batches[row] = intervention.batch(self.step + 1, batches[row])
        return batches

    def _update(
        self, rows: slice, batches: Sequence[Batch]
    ) -> tuple[list[float], NDArray[np.float64]]:
        """Update some rows; return their losses and gradient norms."""
        runs = self._rows[rows]
        learning_rate = self._learning_rate[self.step - 1, runs]
        self._intervene_before(rows, learning_rate)
        weights = self.optimizer.weights[rows]
        losses, gradient = self._gradients(weights, *self._tensors(batches))
        reported, gradient = losses.tolist(), gradient.float()
        self._intervene_after(rows, reported, gradient)
        norms = row_norms(gradient)
        limit = self.optimizer.settings.clip_norm
        if limit is not None:
            gradient.mul_((limit / norms).clamp(max=1.0)[:, None])
        self.optimizer.step(
            rows,
            gradient,
            step=self.step,
            learning_rate=learning_rate.to(self.device),
            decay=self._decay[self.step - 1, runs].to(self.device),
        )
        return reported, norms.double().cpu().numpy()

    def _intervene_before(self, rows: slice, learning_rate: Tensor) -> None:
        for place, run in enumerate(self._rows[rows]):
            for intervention in self.interventions.get(run, ()):
                rate = float(learning_rate[place])
                learning_rate[place] = intervention.learning_rate(self.step, rate)
                row = rows.start + place
                held = {name: tensor[row] for name, tensor in self.optimizer.tensors.items()}
                intervention.state(self.step, held)

    def _intervene_after(self, rows: slice, losses: list[float], gradient: Tensor) -> None:
        for place, run in enumerate(self._rows[rows]):
            for intervention in self.interventions.get(run, ()):
                losses[place], changed = intervention.gradient(
                    self.step, losses[place], gradient[place]
                )
                gradient[place] = changed

    @torch.no_grad()
    def _evaluate(self, row: int) -> float:
        weights = self.optimizer.weights[row : row + 1]
        inputs, targets = self._held_out
        total = 0.0
        for start in range(0, inputs.shape[1], self._eval_sequences):
            part = slice(start, start + self._eval_sequences)
            loss = self.model.row_losses(weights, inputs[:, part], targets[:, part])
            total += float(loss) * inputs[:, part].shape[1]
        return self._controlled(total / inputs.shape[1], self._held_out_surprise)

    def _noise(self, row: int) -> float:
        plan = self.plans[self._rows[row]]
        count, seed = self.evaluation.noise_batches, plan.data_seed + NOISE_STREAM
        weights = self.optimizer.weights[row : row + 1]
        batches = (
            self.task.batch(self.step * count + i, sequences=plan.sequences, seed=seed)
            for i in range(count)
        )
        gradients = (
            self._gradients(weights, *self._tensors([batch]))[1][0].float().clone()
            for batch in batches
        )
        return noise_trace(
            gradients, preconditioner(self.optimizer, row, step=self.step, peak_lr=plan.base_lr)
        )

    def _controlled(self, loss: float, surprise: float) -> float:
        return loss if np.isnan(surprise) else self.task.entropy + (loss - surprise)

    def _keep(self, runs: Sequence[int]) -> None:
        if len(runs) < len(self._rows):
            self.optimizer.keep([self._rows.index(run) for run in runs])
            self._rows = list(runs)

    def _tensors(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, each of shape (row, sequence, ...)."""
        inputs = np.stack([batch.inputs for batch in batches])
        targets = np.stack([batch.targets for batch in batches])
        return torch.from_numpy(inputs).to(self.device), torch.from_numpy(targets).to(self.device)
