"""What may be done to a single row while it trains: the hook that faults are injected by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.training.task import Batch

if TYPE_CHECKING:
    from torch import Tensor


class Intervention:
    """Effects on one run; by default none. Override what is needed.

    Every method is given `step`, the number of the update being made, from 1, and must be a pure
    function of its arguments: a run that resumes meets the same effects again. They are called in
    the order in which they stand here, and only touch the run they belong to.
    """

    def batch(self, step: int, batch: Batch) -> Batch:
        """Return the batch that the run is given instead of its own."""
        return batch

    def learning_rate(self, step: int, learning_rate: float) -> float:
        """Return the base learning rate of the update."""
        return learning_rate

    def state(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Change weights or moments in place before the update.

        Parameters
        ----------
        step : int
            Number of the update.
        state : mapping of str to Tensor, each of shape (parameter,)
            ``weights`` and the optimiser's moments by name (``mean`` and ``square`` of AdamW).
        """

    def gradient(self, step: int, loss: float, gradient: Tensor) -> tuple[float, Tensor]:
        """Return the loss to report, before its control variate, and the gradient to use.

        Parameters
        ----------
        step : int
            Number of the update.
        loss : float
            Mean loss of the batch.
        gradient : Tensor, float32, shape (parameter,)
            Its gradient, before clipping.
        """
        return loss, gradient
