"""Which schedule law to trust: each one predicts every fitted run from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from workbench.errors import DataError
from workbench.laws.annealing import fit_annealing
from workbench.laws.curve_fit import CurveFit, Score
from workbench.laws.curve_interval import Fitter, with_runs_left_out
from workbench.laws.fit_runs import one_model
from workbench.laws.learning_rates import EARLY, ScheduledRun
from workbench.laws.multi_power import fit_multi_power
from workbench.schema import LossName

CANDIDATES: Mapping[str, Fitter] = {
    "multi-power": fit_multi_power,
    "multi-power, published form": lambda runs: fit_multi_power(runs, form="published"),
    "annealing": fit_annealing,
}


@dataclass(frozen=True)
class ScheduleChoice:
    """Schedule laws compared on runs they were not fitted to.

    Parameters
    ----------
    name : str
        Law with the smallest mean error.
    fit : CurveFit
        That law, fitted to all the runs.
    held_out : mapping of str to tuple of Score
        Per law, the score on each run when it was left out.
    """

    name: str
    fit: CurveFit
    held_out: Mapping[str, tuple[Score, ...]]

    def errors(self) -> dict[str, float]:
        """Return each law's mean absolute error [nats/token] over the runs left out."""
        return {
            name: float(np.mean([score.mae for score in scores]))
            for name, scores in self.held_out.items()
        }

    def __str__(self) -> str:
        rows = [f"{name}: {error:.5f}" for name, error in self.errors().items()]
        return "\n".join(["mean absolute error on runs left out, nats/token", *rows])


def choose_schedule_law(
    runs: xr.Dataset | Sequence[ScheduledRun],
    *,
    loss: LossName | None = None,
    start: float = EARLY,
) -> ScheduleChoice:
    """Fit every law without each run in turn and keep the law that predicts best.

    Parameters
    ----------
    runs : Dataset (run, obs) or sequence of ScheduledRun
        Runs of one model size, at least three.
    loss, start
        See `fit_multi_power`.

    Returns
    -------
    ScheduleChoice

    Raises
    ------
    DataError
        If there are fewer than three runs: with one left out, two schedules must remain.
    """
    read = one_model(runs, loss, start)
    if len(read) < 3:
        msg = (
            f"Choosing a law needs 3 runs, found {len(read)}: one is left out and two must stay. "
            "Name the law instead."
        )
        raise DataError(msg)
    held_out = {}
    for name, fitter in CANDIDATES.items():
        scores = []
        for i, run in enumerate(read):
            scores += fitter([*read[:i], *read[i + 1 :]]).score([run])
        held_out[name] = tuple(scores)
    mean = {name: np.mean([score.mae for score in scores]) for name, scores in held_out.items()}
    best = min(mean, key=lambda name: mean[name])
    fit = with_runs_left_out(CANDIDATES[best](read), read, CANDIDATES[best])
    return ScheduleChoice(best, fit, held_out)
