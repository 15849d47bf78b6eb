"""The run's own power law: the forecast to beat, which knows no other run."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import default_loss, record_progress
from workbench.errors import DataError
from workbench.forecast.prefix import WINDOW, truncate, warmup_end
from workbench.laws import fit_power_law
from workbench.schema import LossName, run_names

Floats = NDArray[np.float64]
_BINS = 24
_FEWEST = 3


def own_power_law(run: xr.Dataset, *, at: float, loss: LossName | None = None) -> float:
    """Extrapolate L = L0 + a·x^(−b), fitted to the run's own prefix, to the end of its plan.

    Parameters
    ----------
    run : Dataset (run: 1, obs)
        The run; records beyond `at` are not looked at.
    at : float
        Share of the plan.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`.

    Returns
    -------
    float, nats/token
        It knows nothing of the decay of the learning rate to come, which is why references help.
        The window is that of every forecast, from `at`/2: longer ones extrapolate worse.

    Raises
    ------
    DataError
        If fewer than three records lie between the warm-up and `at`.
    """
    cut = truncate(run, at)
    loss = default_loss(cut) if loss is None else loss
    x, y = record_progress(cut).to_numpy(), cut[loss].to_numpy().astype(np.float64)
    known = np.isfinite(y) & (y > 0) & (x > 0) & (x >= float(warmup_end(cut)[0]))
    x, y = x[known], y[known]
    # The window of every forecast, or the last records where it holds too few of them.
    kept = min(int((x < WINDOW * at).sum()), max(len(x) - _FEWEST, 0))
    centre, mean = _binned(x[kept:], y[kept:])
    if len(centre) < _FEWEST:
        msg = (
            f"Run {run_names(run)[0]!r} has {len(centre)} records between its warm-up and "
            f"{at:.0%} of its plan; its own power law needs {_FEWEST}. Choose a later --at."
        )
        raise DataError(msg)
    return float(fit_power_law(centre, mean).predict(1.0))


def _binned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Average log progress and log loss over bins of equal width in log progress."""
    if not len(x):
        return x, y
    edge = np.log(x / x[0]) / max(np.log(x[-1] / x[0]), 1e-12)
    number = np.minimum((edge * _BINS).astype(np.int64), _BINS - 1)
    _, number = np.unique(number, return_inverse=True)
    count = np.bincount(number)
    out = [np.exp(np.bincount(number, weights=np.log(v)) / count) for v in (x, y)]
    return out[0], out[1]
