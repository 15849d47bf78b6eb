"""The final loss of a planned run, read off the end points of finished runs at its TPP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from workbench.curves import final_loss, is_complete, on_progress
from workbench.errors import DataError
from workbench.laws import PFLOP
from workbench.laws.extrapolation import Extrapolation, extrapolate_power_law
from workbench.recipes import Plan, training_compute
from workbench.schema import LossName

SAME_TPP = 0.05
"""By how much of it the tokens per parameter of a run may differ from the plan's."""


@dataclass(frozen=True)
class PlannedLoss:
    """A planned run's final loss.

    Parameters
    ----------
    loss_name : str
        Which loss of the finished runs was read.
    extrapolation : Extrapolation
        The loss, its interval and the law behind it.
    tpp : float
        Tokens per parameter of the plan.
    """

    loss_name: str
    extrapolation: Extrapolation
    tpp: float

    @property
    def source(self) -> str:
        """Say where the number comes from and what its interval is of."""
        found = self.extrapolation
        return (
            f"power law of {self.loss_name} through {found.fit.n_points} sizes at {self.tpp:.3g} "
            f"tokens per parameter, read at {found.beyond:.2g} times their largest compute (6ND); "
            "the interval is that of the law's mean"
        )


def predict_planned(plan: Plan, runs: xr.Dataset, *, loss: LossName | None = None) -> PlannedLoss:
    """Predict the final loss of a plan by a power law in compute through finished runs.

    Parameters
    ----------
    plan : Plan
        The run that is to be.
    runs : Dataset (run, obs)
        Finished runs of at least three sizes at the plan's tokens per parameter.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default as `on_progress`.

    Returns
    -------
    PlannedLoss

    Raises
    ------
    DataError
        If no run has finished, the runs are of other tokens per parameter, or they are too few
        for a law.
    """
    curves = on_progress(runs, loss=loss)
    done = curves.isel(run=np.flatnonzero(is_complete(curves)))
    tpp = done["tpp"].to_numpy()
    if not done.sizes["run"] or not np.all(np.abs(tpp / plan.tpp - 1) <= SAME_TPP):
        found = (
            "no finished runs" if not tpp.size else f"tpp from {tpp.min():.3g} to {tpp.max():.3g}"
        )
        msg = (
            f"A loss at {plan.tpp:.3g} tokens per parameter can only be predicted from finished "
            f"runs at the same, and the selection has {found}. Narrow it with --where 'tpp>=...' "
            "--where 'tpp<=...'."
        )
        raise DataError(msg)
    size, compute = done["model_size"].to_numpy(), done["compute_total"].to_numpy()
    final = final_loss(done).to_numpy()
    rows = [size == value for value in np.unique(size)]
    at = training_compute(model_size=plan.model_size, tokens_total=float(plan.tokens_total))
    prediction = extrapolate_power_law(
        [compute[row].mean() / PFLOP for row in rows],
        [final[row].mean() for row in rows],
        at=at / PFLOP,
    )
    return PlannedLoss(str(curves.name), prediction, plan.tpp)
