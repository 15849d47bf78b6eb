"""Final loss from a law of the whole curve, which may carry references over to another schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtrit

from workbench.curves import POINTS
from workbench.errors import DataError
from workbench.forecast.evidence import Evidence, gather
from workbench.forecast.kernels_prefix import align_scale
from workbench.forecast.learning_rate import learning_rate_factors
from workbench.forecast.members import Member
from workbench.forecast.surrogate import SurrogateFit, fit_surrogate
from workbench.schema import LossName, run_names, take_runs

Floats = NDArray[np.float64]
_SCHEDULES_TO_TEST = 3


class CurveLaw(Protocol):
    """A law of whole loss curves, fitted to references."""

    def curve(self, run: xr.Dataset, progress: Floats) -> Floats:
        """Return the loss of one run (run: 1, obs) along `progress`, up to a factor.

        Only the plan of `run` may be used: its controls and its learning-rate schedule. The
        factor is what the prefix of the run decides.
        """
        ...


CurveLawFitter = Callable[[xr.Dataset, LossName], CurveLaw]
"""Fits a law to finished references (run, obs) of one loss."""


@dataclass(frozen=True)
class SurrogateLaw:
    """The (τ, TPP) surrogate as a law of curves under any schedule."""

    fit: SurrogateFit

    def curve(self, run: xr.Dataset, progress: Floats) -> Floats:
        """Return the normalised curve at the run's τ, TPP and planned learning rate."""
        factors = learning_rate_factors(run, points=POINTS)
        eta = np.interp(progress, factors["progress"].to_numpy(), factors.to_numpy()[0])
        tau, tpp = float(run["tau"].to_numpy()[0]), float(run["tpp"].to_numpy()[0])
        found = self.fit.predict(progress, tau=tau, tpp=tpp, lr_factor=eta)
        return np.asarray(found["normalized_loss"].to_numpy())


def surrogate_law(reference: xr.Dataset, loss: LossName) -> SurrogateLaw:
    """Fit the (τ, TPP) surrogate to references, without intervals of its constants."""
    return SurrogateLaw(fit_surrogate(reference, loss=loss, bootstrap=0))


def schedule_member(
    reference: xr.Dataset,
    run: xr.Dataset,
    *,
    at: float,
    loss: LossName,
    level: float,
    fitter: CurveLawFitter = surrogate_law,
) -> Member:
    """Predict by a law of curves: its curve for the run's schedule, scaled to the run's prefix.

    The error is measured on the references themselves: predicted from those of the other
    schedules where there are three or more; else from those of other sizes, and doubled, since
    then nothing tests how the law carries over to a schedule it has not seen.

    Parameters
    ----------
    reference : Dataset (run, obs)
        Finished runs, of any schedules.
    run : Dataset (run: 1, obs)
        The run, cut off at `at`.
    at : float
        Share of the plan up to which the prefix goes.
    loss : {"eval_loss", "train_loss"}
        Which loss.
    level : float
        Level of the interval.
    fitter : callable
        Fits the law; by default the (τ, TPP) surrogate.

    Returns
    -------
    Member

    Raises
    ------
    DataError
        If the law cannot be fitted to the references.
    """
    prefix = gather(run, at=at, loss=loss, finished=False)
    log_loss = _aligned(fitter(reference, loss), run, prefix, 0)
    errors = _left_out_errors(reference, at, loss, fitter)
    sd = float(np.sqrt(np.mean(np.square(errors))))
    schedules = np.unique(reference["schedule"].to_numpy())
    if len(schedules) < _SCHEDULES_TO_TEST and run["schedule"].to_numpy()[0] not in schedules:
        sd *= 2
    half = float(stdtrit(max(len(errors) - 1, 2), (1 + level) / 2)) * sd
    detail: dict[str, float | str] = {"back_tests": float(len(errors))}
    return Member("schedule", log_loss, log_loss - half, log_loss + half, sd, detail)


def _aligned(law: CurveLaw, run: xr.Dataset, prefix: Evidence, i: int) -> float:
    x = prefix.progress
    shape = law.curve(run, x)
    window = (x >= prefix.start[i] - 1e-9) & (x <= prefix.at + 1e-9)
    window &= np.isfinite(prefix.curves[i])
    if not window.any():
        msg = (
            f"Run {run_names(run)[0]!r} has no record between {prefix.start[i]:.0%} and "
            f"{prefix.at:.0%} of its plan, where a law is aligned to it. Choose a later --at."
        )
        raise DataError(msg)
    loss = np.exp(prefix.curves[i][window])
    return float(np.log(align_scale(loss, shape[window] / shape[-1], aligner="robust")))


def _left_out_errors(
    reference: xr.Dataset, at: float, loss: LossName, fitter: CurveLawFitter
) -> Floats:
    """Return one root-mean-square error of the log final loss per group of references."""
    known = gather(reference, at=at, loss=loss, finished=True)
    groups = known.schedule.astype(str)
    if len(np.unique(groups)) < _SCHEDULES_TO_TEST:
        groups = np.array([f"{size:g}" for size in known.size])
    names = list(dict.fromkeys(groups.tolist()))
    out = []
    for name in names:
        others = groups != name if len(names) > 1 else np.ones(len(groups), dtype=bool)
        if int(others.sum()) < 3:
            continue
        law = fitter(take_runs(reference, others), loss)
        rows = [i for i in np.flatnonzero(groups == name) if np.isfinite(known.final[i])]
        found = [
            _aligned(law, take_runs(reference, np.array([i])), known, int(i)) - known.final[i]
            for i in rows
        ]
        if found:
            out.append(float(np.sqrt(np.mean(np.square(found)))))
    if not out:
        msg = "A law of curves needs references to be tested on: 3 finished runs of other settings."
        raise DataError(msg)
    return np.array(out)
