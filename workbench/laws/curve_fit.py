"""A fitted law of whole loss curves: its numbers with intervals, its predictions, its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from workbench.errors import ArgumentError
from workbench.laws.estimate import LEVEL, Estimate
from workbench.laws.kernels_schedule import curve, make_path
from workbench.laws.learning_rates import ScheduledRun

Floats = NDArray[np.float64]
ScheduleLaw = Literal["multi-power", "annealing"]
INTERVALS = "sandwich over stretches of an eighth of a run, Student t"


def _known() -> Floats:
    """Return the covariance of parameters that were given, not fitted."""
    return np.zeros((8, 8))


@dataclass(frozen=True)
class Score:
    """How far a predicted curve is from the measured one.

    Parameters
    ----------
    run_id : str
        Run that was predicted.
    r2 : float
        1 − Σ(error²)/Σ(loss − mean loss)².
    mae, rmse : float
        Mean absolute and root mean square error [nats/token].
    mean_relative, worst_relative : float
        Mean and largest |error|/loss.
    final_error : float
        Predicted − measured loss at the last record [nats/token].
    n_records : int
        Records compared.
    """

    run_id: str
    r2: float
    mae: float
    rmse: float
    mean_relative: float
    worst_relative: float
    final_error: float
    n_records: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def score_curve(run_id: str, predicted: Floats, measured: Floats) -> Score:
    """Compare a predicted curve with the measured one, record by record."""
    error = predicted - measured
    variance = float(((measured - measured.mean()) ** 2).sum())
    relative = np.abs(error) / measured
    return Score(
        run_id=run_id,
        r2=1 - float((error**2).sum()) / variance if variance > 0 else float("nan"),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        mean_relative=float(relative.mean()),
        worst_relative=float(relative.max()),
        final_error=float(error[-1]),
        n_records=len(error),
    )


@dataclass(frozen=True)
class CurveFit:
    """A schedule law with its parameters.

    Parameters
    ----------
    law : {"multi-power", "annealing"}
        Which law.
    formula : str
        The law in the parameters' names.
    params : mapping of str to Estimate
        Parameters with intervals; an interval of zero width was given, not fitted.
    objective : float
        Mean Huber loss (δ = 1e-3) of the log residuals, the prior not counted.
    n_points : int
        Records fitted.
    runs : tuple of str
        Runs fitted.
    reference_lr : float
        Largest learning rate of those runs.
    lr_sum : float
        Largest learning-rate sum of those runs: beyond it the law extrapolates.
    interval : str
        How the intervals were made.
    warnings : tuple of str
        What the data do not pin down and what was assumed.
    covariance : ndarray of shape (parameter, parameter)
        Covariance of `vector`, cluster-robust; zero where a parameter was given.
    scatter : float
        Root mean square of the log residuals.
    left_out : mapping of str to float
        Error over standard deviation of each fitted run predicted from the others, where that was
        measured; see `curve_interval.with_runs_left_out`.
    """

    law: ScheduleLaw
    formula: str
    params: Mapping[str, Estimate]
    objective: float
    n_points: int
    runs: tuple[str, ...]
    reference_lr: float
    lr_sum: float
    level: float = LEVEL
    interval: str = INTERVALS
    warnings: tuple[str, ...] = field(default=())
    covariance: Floats = field(default_factory=_known, repr=False)
    scatter: float = 0.0
    left_out: Mapping[str, float] = field(default_factory=dict)

    def predict(self, lr: ArrayLike, step: ArrayLike | None = None) -> Floats:
        """Return the loss [nats/token] under a learning rate per step.

        Parameters
        ----------
        lr : array-like of shape (steps,)
            Learning rate of every step from step 0 on, warm-up included.
        step : array-like of int, shape (obs,), optional
            Where to predict; by default after the last step.

        Returns
        -------
        ndarray of shape (obs,)

        Raises
        ------
        ArgumentError
            If a learning rate is negative or not finite, or a step lies outside the schedule.
        """
        return self.predict_with_slope(lr, step)[0]

    def predict_with_slope(
        self, lr: ArrayLike, step: ArrayLike | None = None
    ) -> tuple[Floats, Floats]:
        """Return `predict` and its derivatives by `vector`, shape (obs, parameter)."""
        rates = np.asarray(lr, dtype=np.float64)
        at = np.array([len(rates) - 1]) if step is None else np.asarray(step, dtype=np.int64)
        if rates.ndim != 1 or not np.isfinite(rates).all() or (rates < 0).any() or not rates.any():
            msg = f"lr must be finite and ≥ 0, one value per step, found shape {rates.shape}."
            raise ArgumentError(msg)
        if len(at) and (at.min() < 0 or at.max() >= len(rates)):
            msg = f"Steps {at.min()} to {at.max()} must lie within the schedule of {len(rates)}."
            raise ArgumentError(msg)
        path = make_path(rates, at)
        return curve(path, self.vector(), exponential=self.law == "annealing")

    def score(self, runs: Sequence[ScheduledRun]) -> list[Score]:
        """Predict runs from their learning rates alone and compare with what they measured."""
        return [score_curve(run.run_id, self.predict(run.lr, run.step), run.loss) for run in runs]

    def vector(self) -> Floats:
        """Return the parameters as `kernels_schedule.curve` takes them."""
        p = {name: value.estimate for name, value in self.params.items()}
        if self.law == "annealing":
            memory = -1 / np.log(p["lambda"])
            gain = np.log(p["C"] / (1 - p["lambda"]))
            return np.array([p["L0"], np.log(p["A"]), p["alpha"], gain, 0.0, np.log(memory)])
        slow = [p["L0"], np.log(p["A"]), p["alpha"], np.log(p["B"]), p["kappa"]]
        return np.array([*slow, np.log(p["C"]), np.log(p["beta"]), p["gamma"]])

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain numbers and text."""
        return fit_dict(self)

    def __str__(self) -> str:
        return fit_text(self)

    def to_dataset(self) -> xr.Dataset:
        """Return the parameters as a dataset with dims ``parameter``."""
        columns = {
            key: ("parameter", [value.to_dict()[key] for value in self.params.values()])
            for key in ("estimate", "lower", "upper")
        }
        attrs = {"law": self.law, "formula": self.formula, "level": self.level}
        attrs |= {"interval": self.interval, "objective": self.objective}
        return xr.Dataset(columns, coords={"parameter": list(self.params)}, attrs=attrs)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{name}</th><td>{p.estimate:.5g}</td><td>{p.lower:.5g} to {p.upper:.5g}</td>"
            for name, p in self.params.items()
        )
        notes = "".join(f"<li>{text}</li>" for text in self.warnings)
        return (
            f"<b>{self.formula}</b><table><tr><th></th><th>estimate</th>"
            f"<th>{100 * self.level:.0f} % interval</th></tr>{rows}</table><ul>{notes}</ul>"
        )


class _Fitted(Protocol):
    """What the laws of this package have in common."""

    @property
    def law(self) -> str: ...
    @property
    def formula(self) -> str: ...
    @property
    def params(self) -> Mapping[str, Estimate]: ...
    @property
    def objective(self) -> float: ...
    @property
    def n_points(self) -> int: ...
    @property
    def level(self) -> float: ...
    @property
    def interval(self) -> str: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...


def fit_dict(fit: _Fitted) -> dict[str, Any]:
    """Return a fit as plain numbers and text, with the keys of the verb `fit`."""
    return {
        "law": fit.law,
        "formula": fit.formula,
        "params": {name: value.to_dict() for name, value in fit.params.items()},
        "objective": fit.objective,
        "n_points": fit.n_points,
        "level": fit.level,
        "interval": fit.interval,
        "warnings": list(fit.warnings),
    }


def fit_text(fit: _Fitted) -> str:
    """Return a fit as lines for people."""
    rows = [
        f"{name} = {p.estimate:.6g} ({p.lower:.6g} to {p.upper:.6g})"
        for name, p in fit.params.items()
    ]
    how = f"intervals {100 * fit.level:.0f} %: {fit.interval}; objective {fit.objective:.4g}"
    return "\n".join([f"{fit.formula}; {fit.n_points} records", *rows, how, *fit.warnings])


def estimate(
    value: float,
    gradient: Floats,
    covariance: Floats,
    *,
    degrees: int,
    back: Callable[[float], Any] = float,
) -> Estimate:
    """Return a function of fitted parameters with its interval.

    Parameters
    ----------
    value : float
        The function, on a scale where it is close to linear in the parameters.
    gradient : ndarray of shape (parameter,)
        Its derivatives.
    covariance : ndarray of shape (parameter, parameter)
        Covariance of the parameters.
    degrees : int
        Degrees of freedom of Student's t.
    back : callable
        From that scale to the one reported.
    """
    sd = max(float(gradient @ covariance @ gradient), 0.0) ** 0.5
    reach = sd * float(stdtrit(float(max(degrees, 1)), 0.5 + LEVEL / 2))
    with np.errstate(over="ignore"):
        low, high = float(back(value - reach)), float(back(value + reach))
    return Estimate(float(back(value)), min(low, high), max(low, high))
