"""Runs as the gradient-noise law sees them: gradient-flow time, noise trace, who refers to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import default_loss, record_progress, require_loss
from workbench.errors import DataError
from workbench.laws.kernels_noise import causal_mean, flow_time
from workbench.laws.learning_rates import learning_rates
from workbench.schema import LossName, iter_runs, row_bounds

Floats = NDArray[np.float64]
SAME_MODEL = ("model_size", "width", "depth", "peak_lr", "batch_size", "seed")
HALF_LIFE = 0.01
LATE = 0.2
_STEADY = 0.98
_GRID = np.linspace(0.0, 1.0, 257)[1:]


@dataclass(frozen=True)
class NoiseRun:
    """One run on gradient-flow time.

    Parameters
    ----------
    run_id : str
        Name of the run.
    model : tuple of float
        What a constant-rate run must share to be its reference.
    size : float
        Parameters N, NaN where unknown.
    steps : int
        Last step.
    constant : bool
        Whether the learning rate stays at its peak after the warm-up.
    progress, factor, flow, loss, trace : ndarrays of shape (obs,)
        At the records: share of the planned run, learning rate over its peak, gradient-flow time
        [steps at the peak rate], loss [nats/token] and trace of the preconditioned gradient
        covariance (NaN where not recorded).
    schedule : ndarray of shape (grid,)
        The factor on a grid of progress, to compare schedules.
    """

    run_id: str
    model: tuple[float, ...]
    size: float
    steps: int
    constant: bool
    progress: Floats
    factor: Floats
    flow: Floats
    loss: Floats
    trace: Floats
    schedule: Floats

    def smooth(self, values: Floats) -> Floats:
        """Return the mean of the past, half-life 1 % of the run (Qiu et al. 2025)."""
        return causal_mean(self.progress, values, HALF_LIFE)

    @property
    def late(self) -> NDArray[np.bool_]:
        """Records from a fifth of the run on, which are the ones compared."""
        return self.progress >= LATE


def noise_runs(runs: xr.Dataset, *, loss: LossName | None = None) -> list[NoiseRun]:
    """Put runs on gradient-flow time.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs with ``learning_rate`` and ``noise_trace`` records.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`.

    Returns
    -------
    list of NoiseRun

    Raises
    ------
    DataError
        If a learning rate or the planned length of a run is unknown.
    """
    loss = default_loss(runs) if loss is None else require_loss(runs, loss)
    progress, bounds = record_progress(runs).to_numpy(), row_bounds(runs)
    return [
        _read(name, one, loss, progress[bounds[i] : bounds[i + 1]])
        for i, (name, one) in enumerate(iter_runs(runs))
    ]


def _read(name: str, run: xr.Dataset, loss: LossName, progress: Floats) -> NoiseRun:
    values = run[loss].to_numpy().astype(np.float64)
    trace = np.full(len(values), np.nan)
    if "noise_trace" in run.variables:
        trace = run["noise_trace"].to_numpy().astype(np.float64)
    keep = np.isfinite(values)
    step = run["step"].to_numpy().astype(np.int64)[keep]
    lr, _, _ = learning_rates(run)
    factor = lr / lr.max()
    settled = factor[int(np.argmax(factor >= _STEADY)) :]
    model = tuple(float(run[key]) if key in run.variables else float("nan") for key in SAME_MODEL)
    return NoiseRun(
        run_id=name,
        model=model,
        size=float(run["model_size"]) if "model_size" in run.variables else float("nan"),
        steps=int(step[-1]),
        constant=bool(settled.min() >= _STEADY),
        progress=progress[keep],
        factor=factor[step],
        flow=flow_time(factor)[step],
        loss=values[keep],
        trace=trace[keep],
        schedule=np.interp(_GRID, progress[keep], factor[step]),
    )


def reference_of(target: NoiseRun, among: Sequence[NoiseRun]) -> NoiseRun:
    """Return the longest constant-rate run of the same model; `DataError` when there is none."""
    twins = [run for run in among if run.constant and np.array_equal(run.model, target.model, True)]
    if not twins:
        msg = (
            f"Run {target.run_id!r} has no constant-rate run of the same model, peak rate, batch "
            "and seed among the fitted ones: the noise law starts from that run. Add it to --fit."
        )
        raise DataError(msg)
    return max(twins, key=lambda run: run.steps)


def relative_of(target: NoiseRun, among: Sequence[NoiseRun]) -> NoiseRun:
    """Return the other run with the most similar schedule, the nearest in size if several are.

    Raises
    ------
    DataError
        If no other run has a noise trace.
    """
    others = [run for run in among if run.run_id != target.run_id and np.isfinite(run.trace).any()]
    if not others:
        msg = f"No run but {target.run_id!r} itself has a noise_trace: nothing to forecast from."
        raise DataError(msg)

    def distance(run: NoiseRun) -> float:
        apart = float(np.abs(run.schedule - target.schedule).mean())
        size = 0.0 if run.model == target.model else abs(float(np.log(run.size / target.size)))
        horizon = abs(float(np.log(run.steps / target.steps)))
        return apart + 0.005 * (float(np.nan_to_num(size, nan=1.0)) + horizon)

    return min(others, key=distance)
