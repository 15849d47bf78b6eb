"""The run's own power law: the forecast to beat, and the only one where no run has ended yet."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtrit

from workbench.curves import default_loss, record_progress
from workbench.errors import DataError
from workbench.forecast.evidence import Evidence
from workbench.forecast.members import Member
from workbench.forecast.prefix import WINDOW, truncate, warmup_end
from workbench.laws import fit_power_law
from workbench.schema import LossName, run_names

Floats = NDArray[np.float64]
_BINS = 24
_FEWEST = 3
# Of the drop of log loss still to come, the share of slope·log(1/at) that comes: mean of its log at
# 30 % of training, its slope in log(at/0.3), its standard deviation. Of 345 finished public runs in
# six corpora of equal weight, with a rate that falls after the prefix and with one that does not.
_STILL_TO_COME = {True: (-0.091, 0.298, 0.266), False: (-0.456, 0.214, 0.136)}
_AT = 0.3
_CORPORA = 6


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


def own_member(
    run: xr.Dataset, prefix: Evidence, *, loss: LossName, level: float, falls: bool | None
) -> Member:
    """Predict by the run's own power law, with the interval that finished public runs suggest.

    Parameters
    ----------
    run : Dataset (run: 1, obs)
        The run, cut off at the end of its prefix.
    prefix : Evidence
        Its prefix.
    loss : {"eval_loss", "train_loss"}
        Which loss.
    level : float
        Level of the interval.
    falls : bool or None
        Whether its learning rate falls after the prefix; None where the plan is unknown, which
        leaves both open.

    Returns
    -------
    Member
        A run that went on falling as at the end of its prefix would lose slope·log(1/at) of log
        loss. Public runs lost 0.4 to 2 times that, less where asked early and without a decay to
        come. The interval is Student's t of the log of that share, with four degrees of freedom
        for six corpora, widened to hold the power law. With one corpus at a time left out of the
        constants, 90 % intervals of the share held 93 % of its final losses.

    Raises
    ------
    DataError
        If the loss does not fall over the prefix or has too few records there.
    """
    slope = float(prefix.slope[0])
    if not slope > 0:
        msg = (
            f"The loss of run {prefix.run_id[0]!r} does not fall up to {prefix.at:.0%} of its "
            "plan: its own records say nothing of its end. Choose a later --at, or give references."
        )
        raise DataError(msg)
    own = float(np.log(own_power_law(run, at=prefix.at, loss=loss)))
    quantile = float(stdtrit(_CORPORA - 2, 0.5 + level / 2))
    ends = []
    for known in (True, False) if falls is None else (falls,):
        centre, by_time, sd = _STILL_TO_COME[known]
        middle = centre + by_time * np.log(prefix.at / _AT)
        share = np.exp(middle + quantile * sd * np.array([1.0, -1.0]))
        ends.append(float(prefix.level[0]) + slope * np.log(prefix.at) * share)
    lower = min(own, *(end[0] for end in ends))
    upper = max(own, *(end[1] for end in ends))
    return Member("own", own, lower, upper, (upper - lower) / (2 * quantile))


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
