"""Intervals of curves that the gradient-noise law predicts, from runs it predicts without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from workbench.laws.curve_fit import score_curve
from workbench.laws.curve_interval import PredictedCurve
from workbench.laws.noise import NoiseFit
from workbench.laws.noise_runs import NoiseRun

Floats = NDArray[np.float64]
_FEWEST_TESTS = 2
METHOD = (
    "root mean square relative error of the smoothed late loss of the other runs, each predicted "
    "with an alpha fitted without it; Student t with a degree a run"
)


def predict_noise_runs(
    fit: NoiseFit, targets: Sequence[NoiseRun], *, forecast: bool = False
) -> list[PredictedCurve]:
    """Predict the smoothed late loss of runs, with intervals.

    Parameters
    ----------
    fit : NoiseFit
        Fitted law.
    targets : sequence of NoiseRun
        Runs to predict.
    forecast : bool
        By Eq. 18, from the schedule alone, instead of Eq. 16.

    Returns
    -------
    list of PredictedCurve
        The smoothed loss from a fifth of the run on, as it is scored; bounds are NaN where fewer
        than two other runs that change their rate are known.
    """
    errors = left_out_errors(fit, targets, forecast=forecast)
    out = []
    for target in targets:
        predicted, measured, use = _smoothed(fit, target, forecast)
        others = np.array([error for name, error in errors.items() if name != target.run_id])
        half = np.nan
        if len(others) >= _FEWEST_TESTS:
            t = float(stdtrit(float(len(others)), 0.5 + fit.level / 2))
            half = t * float(np.sqrt(np.mean(others**2)))
        step = np.round(target.progress[use] / target.progress[-1] * target.steps)
        out.append(
            PredictedCurve(
                target.run_id,
                step.astype(np.int64),
                predicted,
                predicted * np.exp(-half),
                predicted * np.exp(half),
                fit.level,
                measured,
            )
        )
    return out


def left_out_errors(
    fit: NoiseFit, targets: Sequence[NoiseRun] = (), *, forecast: bool = False
) -> dict[str, float]:
    """Return the root mean square relative error of each run that alpha was fitted to.

    Each is predicted with an alpha of the other runs; `targets` are looked through for runs that
    alpha was fitted to but that are no references.
    """
    known = {run.run_id: run for run in (*fit.runs, *targets)}
    out = {}
    for name in fit.pairs:
        if name in known and len(fit.pairs) > 1:
            predicted, measured, _ = _smoothed(fit, known[name], forecast, without=True)
            out[name] = score_curve(name, predicted / measured, np.ones(len(measured))).rmse
    return out


def _smoothed(
    fit: NoiseFit, run: NoiseRun, forecast: bool, *, without: bool = False
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    predicted = fit.forecast(run) if forecast else fit.hindcast(run, without=without)
    smooth = run.smooth(np.stack([predicted, run.loss]))
    use = run.late & np.isfinite(smooth).all(0)
    return smooth[0, use], smooth[1, use], use
