"""How the objective of a Multi-Power fit rises off its minimum: which of its shape is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from workbench.laws.fit_runs import one_model
from workbench.laws.learning_rates import EARLY, ScheduledRun
from workbench.laws.multi_power import objective_along
from workbench.schema import LossName

GRIDS: dict[str, tuple[float, ...]] = {
    "kappa": (-0.1, 0.0, 0.1, 0.2, 0.3, 0.5),
    "C": (0.005, 0.02, 0.08, 0.3, 1.2),
    "beta": (0.03, 0.1, 0.2, 0.4, 0.8, 1.6),
    "gamma": (0.4, 0.7, 1.0, 1.3, 1.6),
}


def profile_multi_power(
    runs: xr.Dataset | Sequence[ScheduledRun],
    *,
    loss: LossName | None = None,
    start: float = EARLY,
) -> dict[str, xr.Dataset]:
    """Return the smallest objective at fixed values of each shape parameter.

    Parameters
    ----------
    runs, loss, start
        See `fit_multi_power`.

    Returns
    -------
    dict of str to Dataset (value)
        For κ, C (per step at the peak rate), β and γ: ``objective``, the mean Huber loss with all
        else fitted and **no prior**. Where it hardly rises, the runs do not say, and the prior of
        `fit_multi_power` or a relative's shape must.
    """
    read = one_model(runs, loss, start)
    return {
        name: xr.Dataset(
            {"objective": ("value", heights, {"long_name": "mean Huber loss"})},
            coords={"value": ("value", np.array(GRIDS[name]))},
            attrs={"parameter": name},
        )
        for name, heights in objective_along(read, GRIDS).items()
    }
