"""Annealing law of Tissue et al. 2024: L = L0 + A·S1^(−α) − C·S2, S2 a sum with momentum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.laws.curve_fit import CurveFit, estimate
from workbench.laws.estimate import Estimate
from workbench.laws.fit_runs import FitRuns, lowers_its_rate, one_model, run_notes
from workbench.laws.kernels_robust import Solution, minimise
from workbench.laws.learning_rates import EARLY, ScheduledRun, stretches
from workbench.schema import LossName

Floats = NDArray[np.float64]
FORMULA = (
    "L = L0 + A*S1**(-alpha) - C*S2, S1 = sum of lr, S2 = sum of m, "
    "m[i] = lambda*m[i-1] + lr[i-1] - lr[i]"
)
_MEMORIES = (100.0, 1000.0, 5000.0)
_LOWER = np.array([-1.0, -20.0, 0.02, -20.0, -1.0, 0.0])
_UPPER = np.array([10.0, 20.0, 3.0, 20.0, 1.0, 13.0])


def fit_annealing(
    runs: xr.Dataset | Sequence[ScheduledRun],
    *,
    loss: LossName | None = None,
    start: float = EARLY,
) -> CurveFit:
    """Fit the annealing law to loss curves of one model under different schedules.

    Parameters
    ----------
    runs, loss, start
        See `fit_multi_power`.

    Returns
    -------
    CurveFit
        With parameters L0, A, alpha, C and lambda. Unlike the authors' grid over λ, it is fitted.

    Raises
    ------
    DataError
        As `fit_multi_power`.
    """
    problem = FitRuns(one_model(runs, loss, start))
    problem.exponential = True
    lowest = float(problem.loss.min())
    free = np.array([True, True, True, True, False, True])
    found = minimise(
        problem.curve,
        problem.loss,
        [
            np.array([*problem.slow_start(), np.log(0.03 * lowest), 0.0, np.log(memory)])
            for memory in _MEMORIES
        ],
        lower=_LOWER,
        upper=_UPPER,
        free=free,
        cluster=stretches(problem.runs),
    )
    return CurveFit(
        law="annealing",
        formula=FORMULA,
        params=_published(problem, found),
        objective=found.objective,
        n_points=len(problem.loss),
        runs=tuple(run.run_id for run in problem.runs),
        reference_lr=problem.lr,
        lr_sum=problem.lr_sum,
        covariance=_covariance(problem, found),
        scatter=problem.scatter(found.params),
        warnings=_warnings(problem, found),
    )


def _covariance(problem: FitRuns, found: Solution) -> Floats:
    """Return the covariance in the units of the learning rate; log A moves with alpha."""
    turn = np.eye(len(found.params))
    turn[1, 2] = np.log(problem.lr_sum)
    return np.asarray(turn @ found.covariance @ turn.T)


def _published(problem: FitRuns, found: Solution) -> dict[str, Estimate]:
    floor, log_a, alpha, log_gain, _, log_memory = found.params
    peak, horizon = np.log(problem.lr), np.log(problem.lr_sum)
    left = 1 - np.exp(-np.exp(-log_memory))  # 1 − λ
    slope = -np.exp(-log_memory) * (1 - left) / left
    rows: dict[str, tuple[float, list[float], Callable[[float], Any]]] = {
        "L0": (floor, [1, 0, 0, 0, 0, 0], float),
        "A": (log_a + alpha * horizon, [0, 1, horizon, 0, 0, 0], np.exp),
        "alpha": (alpha, [0, 0, 1, 0, 0, 0], float),
        "C": (log_gain - peak + np.log(left), [0, 0, 0, 1, 0, slope], np.exp),
        "lambda": (log_memory, [0, 0, 0, 0, 0, 1], _momentum),
    }
    degrees = 8 * len(problem.runs) - 5
    return {
        name: estimate(
            float(value),
            np.array(gradient, dtype=np.float64),
            found.covariance,
            degrees=degrees,
            back=back,
        )
        for name, (value, gradient, back) in rows.items()
    }


def _momentum(log_memory: float) -> float:
    return float(np.exp(-np.exp(-log_memory)))


def _warnings(problem: FitRuns, found: Solution) -> tuple[str, ...]:
    notes = run_notes(problem.runs)
    if not lowers_its_rate(problem.runs):
        notes.append(
            "No fitted run lowers its learning rate: C and lambda are not identified. Add a run "
            "with a decay."
        )
    if not 0.5 < found.params[-1] < _UPPER[-1] - 0.5:
        notes.append("lambda is at the edge of what is tried: it is not identified by these runs.")
    return tuple(notes)
