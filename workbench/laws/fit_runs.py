"""The runs a schedule law is fitted to, in units of their own: what the laws share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.laws.kernels_schedule import Path, curve, in_units
from workbench.laws.learning_rates import ScheduledRun, scheduled_runs
from workbench.schema import LossName

Floats = NDArray[np.float64]
FIT_BLOCKS = 384


class FitRuns:
    """Runs with learning rates in units of their peak and S in units of its largest value.

    Parameters
    ----------
    runs : sequence of ScheduledRun
        Runs to fit; long ones are thinned.
    """

    def __init__(self, runs: Sequence[ScheduledRun]) -> None:
        self.runs = [run.thinned() for run in runs]
        self.lr = max(float(run.lr.max()) for run in self.runs)
        self.lr_sum = max(float(run.lr.sum()) for run in self.runs)
        self.paths: list[Path] = [
            in_units(run.path(max_blocks=FIT_BLOCKS), self.lr) for run in self.runs
        ]
        self.loss = np.concatenate([run.loss for run in self.runs])
        self.exponential = False

    def curve(self, params: Floats) -> tuple[Floats, Floats]:
        """Return the loss at every record and its derivatives; see `kernels_schedule.curve`."""
        horizon = self.lr_sum / self.lr
        parts = [
            curve(path, params, exponential=self.exponential, horizon=horizon)
            for path in self.paths
        ]
        return np.concatenate([v for v, _ in parts]), np.concatenate([s for _, s in parts])

    def scatter(self, params: Floats) -> float:
        """Return the root mean square of the log residuals."""
        residual = np.log(self.curve(params)[0] / self.loss)
        return float(np.sqrt(np.mean(residual**2)))

    def slow_start(self) -> list[float]:
        """Return a start for L0, log A and α: an eighth of the lowest loss is reducible."""
        lowest = float(self.loss.min())
        return [0.88 * lowest, float(np.log(0.12 * lowest)), 0.45]


def run_notes(runs: Sequence[ScheduledRun]) -> list[str]:
    """Return what had to be assumed about learning rates, once per kind of assumption."""
    noted = [run for run in runs if run.note]
    if not noted:
        return []
    return [f"{len(noted)} runs, first {noted[0].run_id!r}: {noted[0].note}."]


def lowers_its_rate(runs: Sequence[ScheduledRun]) -> bool:
    """Whether any run ends below its own peak learning rate."""
    return any(run.lr[-1] < 0.98 * run.lr.max() for run in runs)


def one_model(
    runs: xr.Dataset | Sequence[ScheduledRun], loss: LossName | None, start: float
) -> Sequence[ScheduledRun]:
    """Return the runs as a law sees them; `DataError` if they are of several model sizes."""
    if not isinstance(runs, xr.Dataset):
        return runs
    if "model_size" in runs.variables:
        sizes = np.unique(runs["model_size"].to_numpy())
        sizes = sizes[np.isfinite(sizes)]
        if len(sizes) > 1:
            msg = (
                f"A schedule law describes one model, found {len(sizes)} model sizes, "
                f"{sizes[0]:g} to {sizes[-1]:g}. Filter by model_size."
            )
            raise DataError(msg)
    return scheduled_runs(runs, loss=loss, start=start)
