"""Update rules over rows: every run its own learning rate and decay, every column its multiplier.

A new rule derives from `RowOptimizer`: it names its moments and says how a step changes some rows,
then is given a name in `workbench.training.engine.OPTIMIZERS`; `workbench.training.muon` is one.
Row k of a step must not depend on any other row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from workbench.training.shape import Parameter
from workbench.training.spec import Optimizer


class FusedAdamW(Protocol):
    """All of an AdamW update in one pass over some rows."""

    def __call__(
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
        """Update the tensors of some rows in place; `columns` has rate, epsilon and decays."""


class RowOptimizer(ABC):
    """Weights, moments and update rule of rows that are independent runs.

    The decay of a step is given directly, as the share of the weight removed: ηλ at the peak,
    1/(τT) when the run is set by its timescale. It does not scale with a parameter's rate.

    Parameters
    ----------
    weights : Tensor, float32, shape (run, parameter)
        Updated in place.
    parameters : sequence of Parameter
        Layout of a row, with the factors on learning rate and ε.
    settings : Optimizer
        Section of the family spec.

    Attributes
    ----------
    tensors : dict of str to Tensor, each of shape (run, parameter)
        ``weights`` and the moments: all that a resumed run needs besides its step.
    rate, epsilon, decays : Tensor, shape (parameter,)
        Factor on the learning rate, ε itself, and 1 where decay acts.
    fused : FusedAdamW, optional
        A compiled pass that a rule may use for the columns it treats by AdamW.
    """

    MOMENTS: ClassVar[tuple[str, ...]]
    fused: FusedAdamW | None = None

    def __init__(
        self, weights: Tensor, parameters: Sequence[Parameter], *, settings: Optimizer
    ) -> None:
        self.settings, self.parameters = settings, tuple(parameters)
        self.tensors = {name: torch.zeros_like(weights) for name in self.MOMENTS}
        self.tensors["weights"] = weights
        self.rate = _columns(parameters, [p.learning_rate for p in parameters], weights)
        factors = [1.0 if settings.epsilon_rule == "fixed" else p.epsilon for p in parameters]
        epsilon = [settings.epsilon * factor for factor in factors]
        self.epsilon = _columns(parameters, epsilon, weights)
        self.decays = _columns(parameters, [float(p.decays) for p in parameters], weights)

    @property
    def weights(self) -> Tensor:
        """Current weights, shape (run, parameter)."""
        return self.tensors["weights"]

    @abstractmethod
    def step(
        self, rows: slice, gradient: Tensor, *, step: int, learning_rate: Tensor, decay: Tensor
    ) -> None:
        """Update some rows.

        Parameters
        ----------
        rows : slice
            Rows to update.
        gradient : Tensor, float32, shape (rows, parameter)
            Their gradient.
        step : int
            Number of this update, from 1; all rows of a batch are at the same step.
        learning_rate, decay : Tensor, float32, shape (rows,)
            Base learning rate, and share of each decaying weight to remove.
        """

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.weights.device)
        self.tensors = {name: held.index_select(0, index) for name, held in self.tensors.items()}


class RowAdamW(RowOptimizer):
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) over rows."""

    MOMENTS = ("mean", "square")

    def step(
        self, rows: slice, gradient: Tensor, *, step: int, learning_rate: Tensor, decay: Tensor
    ) -> None:
        """Update some rows; see `RowOptimizer.step`."""
        if self.fused is None:
            self.update_columns(
                (rows, slice(None)), gradient, step=step, learning_rate=learning_rate, decay=decay
            )
            return
        self.fused(
            {name: held[rows] for name, held in self.tensors.items()},
            gradient,
            {"rate": self.rate, "epsilon": self.epsilon, "decays": self.decays},
            settings=self.settings,
            step=step,
            learning_rate=learning_rate,
            decay=decay,
        )

    @torch.no_grad()
    def update_columns(
        self,
        part: tuple[slice, slice],
        gradient: Tensor,
        *,
        step: int,
        learning_rate: Tensor,
        decay: Tensor,
    ) -> None:
        """Update some columns of some rows, for rules that treat the others in another way."""
        beta1, beta2 = self.settings.beta1, self.settings.beta2
        weights, mean, square = (self.tensors[n][part] for n in ("weights", "mean", "square"))
        columns = part[1]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        unbias_mean, unbias_square = 1 - beta1**step, 1 - beta2**step
        update = square.sqrt().mul_(unbias_square**-0.5).add_(self.epsilon[columns])
        torch.div(mean, update, out=update)
        update.mul_(self.rate[columns])
        weights.addcmul_(weights * self.decays[columns], decay[:, None], value=-1)
        weights.addcmul_(update, (learning_rate / unbias_mean)[:, None], value=-1)


class RowAdam(RowAdamW):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980) over rows: no weight decays, whatever τ says."""

    def __init__(
        self, weights: Tensor, parameters: Sequence[Parameter], *, settings: Optimizer
    ) -> None:
        super().__init__(weights, parameters, settings=settings)
        self.decays.zero_()


def row_norms(rows: Tensor) -> Tensor:
    """Return the Euclidean norm of every row, each summed as it would be alone."""
    if rows.is_cuda:  # one launch for all rows
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return norms
    return torch.stack([torch.linalg.vector_norm(row) for row in rows])


def _columns(parameters: Sequence[Parameter], values: Sequence[float], like: Tensor) -> Tensor:
    """Repeat one value per parameter over its columns."""
    pairs = zip(parameters, values, strict=True)
    return torch.cat([torch.full((p.size,), value) for p, value in pairs]).to(like.device)
