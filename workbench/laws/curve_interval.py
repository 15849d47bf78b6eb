"""Predicted loss curves with intervals: what the fit leaves open, and how far the law itself errs.

Three sources of error add up, all of them relative to the loss: the covariance of the parameters
carried to the curve, the scatter of the fitted records, and the error of the law, which no fit to
its own runs shows. The last is a usual size, measured once, and a factor, measured on the fitted
runs: each one is predicted from the others, and where that goes worse than the interval of that fit
said, the interval is stretched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from workbench.errors import ArgumentError
from workbench.laws.curve_fit import CurveFit
from workbench.laws.fit_runs import lowers_its_rate
from workbench.laws.learning_rates import ScheduledRun

Floats = NDArray[np.float64]
Fitter = Callable[[Sequence[ScheduledRun]], CurveFit]
# Root mean square of what final losses missed beyond their fit's covariance, each of six public
# fitted runs (25M and 100M, constant, cosine and two-stage) predicted from the two others of its
# size: 0.18 % for the Multi-Power Law with its prior, 0.17 % for the annealing law.
LAW_ERROR = 1.7e-3
_PRIOR_TESTS = 4.0
_FEWEST_LEFT = 2


@dataclass(frozen=True)
class PredictedCurve:
    """A curve predicted from its learning rates alone.

    Parameters
    ----------
    run_id : str
        Run that was predicted.
    step : ndarray of int, shape (obs,)
        Steps.
    loss, lower, upper : ndarrays of shape (obs,)
        Predicted loss and the interval in which a record is expected [nats/token].
    level : float
        Level of the interval, at each record by itself.
    measured : ndarray of shape (obs,) or None
        What the run recorded there; not used for the prediction.
    """

    run_id: str
    step: NDArray[np.int64]
    loss: Floats
    lower: Floats
    upper: Floats
    level: float
    measured: Floats | None = None

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Return which records lie within the interval, shape (obs,); none without records."""
        if self.measured is None:
            return np.zeros(0, dtype=bool)
        return np.asarray((self.lower <= self.measured) & (self.measured <= self.upper))

    @property
    def coverage(self) -> float:
        """Share of the records within the interval; NaN without records."""
        return float(self.inside.mean()) if len(self.inside) else float("nan")

    def final_loss(self) -> dict[str, float]:
        """Return the prediction at the last step by name."""
        ends = {"estimate": self.loss[-1], "lower": self.lower[-1], "upper": self.upper[-1]}
        return {name: float(value) for name, value in ends.items()} | {"level": self.level}

    def to_dataset(self) -> xr.Dataset:
        """Return the curve as a dataset with dim ``step``."""
        columns = {"loss": self.loss, "lower": self.lower, "upper": self.upper}
        if self.measured is not None:
            columns["measured"] = self.measured
        return xr.Dataset(
            {name: ("step", values, {"units": "nats/token"}) for name, values in columns.items()},
            coords={"step": self.step},
            attrs={"run_id": self.run_id, "level": self.level},
        )

    def to_dict(self, points: int = 101) -> dict[str, Any]:
        """Return the curve at no more than `points` of its steps, the first and last among them."""
        at = np.unique(np.linspace(0, len(self.step) - 1, points).round().astype(int))
        arrays = {name: getattr(self, name)[at] for name in ("step", "loss", "lower", "upper")}
        return {"run_id": self.run_id, **arrays}


def predict_curve(
    fit: CurveFit,
    lr: ArrayLike,
    step: ArrayLike | None = None,
    *,
    level: float | None = None,
    run_id: str = "",
    measured: Floats | None = None,
) -> PredictedCurve:
    """Predict the loss under a learning rate per step, with an interval.

    Parameters
    ----------
    fit : CurveFit
        Fitted law; `with_runs_left_out` measures its error first.
    lr, step : array-like
        See `CurveFit.predict`.
    level : float, optional
        Level of the interval; by default that of the fit.
    run_id : str
        Name for the curve.
    measured : ndarray of shape (obs,), optional
        Records to carry along.

    Returns
    -------
    PredictedCurve

    Raises
    ------
    ArgumentError
        If the level is not between 0 and 1; see also `CurveFit.predict`.

    Notes
    -----
    In log loss the half width is t·stretch·√(g·Σ·gᵀ + scatter² + `LAW_ERROR`²): Σ the sandwich
    covariance, g the slope of log loss, t Student's with four degrees of freedom and one more a
    run left out. The four stand for the tests behind `LAW_ERROR`.
    """
    level = fit.level if level is None else level
    if not 0 < level < 1:
        msg = f"level must be between 0 and 1, found {level!r}. 0.95 gives a 95 % interval."
        raise ArgumentError(msg)
    loss, slope = fit.predict_with_slope(lr, step)
    sd = _stretch(fit) * np.sqrt(_variance(fit, loss, slope) + fit.scatter**2)
    half = quantile(fit, level) * sd
    at = np.array([len(np.asarray(lr)) - 1]) if step is None else np.asarray(step, dtype=np.int64)
    return PredictedCurve(
        run_id, at, loss, loss * np.exp(-half), loss * np.exp(half), level, measured
    )


def predict_runs(fit: CurveFit, runs: Sequence[ScheduledRun]) -> list[PredictedCurve]:
    """Predict runs from their learning rates alone, at their records, with intervals."""
    return [
        predict_curve(fit, run.lr, run.step, run_id=run.run_id, measured=run.loss) for run in runs
    ]


def with_runs_left_out(fit: CurveFit, runs: Sequence[ScheduledRun], fitter: Fitter) -> CurveFit:
    """Return the fit with the error of its law measured on the runs it was fitted to.

    Parameters
    ----------
    fit : CurveFit
        Fit to all the runs.
    runs : sequence of ScheduledRun
        The runs it was fitted to.
    fitter : callable
        What fitted it, to be called with each run left out.

    Returns
    -------
    CurveFit
        With `left_out`: per run the root mean square, over its records or at its end, whichever is
        larger, of error over standard deviation. A run is left out only where two remain of which
        one lowers its rate: fewer would test the prior, not the law.
    """
    ratios = {}
    for i, run in enumerate(runs):
        others = [*runs[:i], *runs[i + 1 :]]
        if len(others) >= _FEWEST_LEFT and lowers_its_rate(others):
            ratios[run.run_id] = error_ratio(fitter(others), run)
    return replace(fit, left_out=ratios)


def error_ratio(fit: CurveFit, run: ScheduledRun) -> float:
    """Return error over standard deviation of a run that was not fitted, before any stretching."""
    loss, slope = fit.predict_with_slope(run.lr, run.step)
    sd = np.sqrt(_variance(fit, loss, slope) + fit.scatter**2)
    ratio = np.log(loss / run.loss) / sd
    end = ratio[-max(1, len(ratio) // 20) :].mean()
    return float(max(np.sqrt(np.mean(ratio**2)), abs(end)))


def difference_interval(
    fit: CurveFit, one: ArrayLike, other: ArrayLike
) -> tuple[float, float, float]:
    """Return how much lower `one` ends than `other`, with an interval [nats/token].

    Parameters
    ----------
    fit : CurveFit
        Fitted law.
    one, other : array-like of shape (steps,)
        Learning rates per step.

    Returns
    -------
    gain, lower, upper : float
        What the parameters leave open mostly cancels; the errors of the law at two schedules are
        taken as independent, which is cautious.
    """
    a, b = (fit.predict_with_slope(lr) for lr in (one, other))
    slope = a[1][0] - b[1][0]
    gain = float(b[0][0] - a[0][0])
    law = 2 * (LAW_ERROR * float(b[0][0])) ** 2
    sd = float(np.sqrt(max(float(slope @ fit.covariance @ slope), 0.0) + law))
    half = quantile(fit, fit.level) * _stretch(fit) * sd
    return gain, gain - half, gain + half


def describe_interval(fit: CurveFit) -> str:
    """Return in words how the intervals of predictions are made."""
    base = (
        f"covariance of the parameters, scatter of the records and the law's usual error "
        f"({LAW_ERROR:.2%}), Student t"
    )
    if not fit.left_out:
        return f"{base}; too few runs to leave one out, so the law's error is not measured here"
    return f"{base}; stretched {_stretch(fit):.2f} times by {len(fit.left_out)} runs left out"


def quantile(fit: CurveFit, level: float) -> float:
    """Return Student's t for the tests behind the intervals of predictions."""
    return float(stdtrit(_PRIOR_TESTS + len(fit.left_out), 0.5 + level / 2))


def _stretch(fit: CurveFit) -> float:
    total = _PRIOR_TESTS + sum(ratio**2 for ratio in fit.left_out.values())
    return float(np.sqrt(max(1.0, total / (_PRIOR_TESTS + len(fit.left_out)))))


def _variance(fit: CurveFit, loss: Floats, slope: Floats) -> Floats:
    """Return the variance of the log loss that the fit and the law leave open, shape (obs,)."""
    g = slope / loss[:, None]
    size = g.shape[1]
    covariance = fit.covariance[:size, :size]
    spread = np.einsum("ij,jk,ik->i", g, covariance, g)
    return np.asarray(np.maximum(spread, 0.0) + LAW_ERROR**2)
