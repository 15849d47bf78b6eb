"""Which setting of a sweep to keep, told from the beginning of its runs: replayed on finished ones.

Each run is divided by the universal curve of its own controls, so that what is left to compare is
where it will end (Bergsma et al. 2025, arXiv:2509.25087, section 5). The loss at the moment, which
is compared otherwise, also holds how each setting spends its loss over the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import ArgumentError, DataError
from workbench.forecast.kernels_prefix import Aligner, align_scale
from workbench.forecast.kernels_selection import rank_correlation

Floats = NDArray[np.float64]
START = 0.1
STOPS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_END = 1e-9


def replay_sweep(
    loss: xr.DataArray,
    *,
    universal: xr.DataArray,
    stops: Sequence[float] = STOPS,
    start: float = START,
    aligner: Aligner = "robust",
) -> xr.Dataset:
    """Stop every run of a finished sweep early and compare who would have been kept.

    Parameters
    ----------
    loss : DataArray (run, progress)
        Loss curves [nats/token] of the settings, smoothed as far as they are noisy.
    universal : DataArray (run, progress)
        Normalised curve of each run's controls, 1 at the end: of a small model with the same
        schedule, τ and TPP, or a surrogate's. Nothing of the run itself may enter.
    stops : sequence of float
        Shares of training at which to stop, in (0, 1).
    start : float
        Where the alignment begins; for a stop before twice that, at half the stop.
    aligner : {"squared", "normalized", "absolute", "robust"}
        How a run is divided by its universal curve.

    Returns
    -------
    Dataset (stop, run)
        ``predicted`` (stop, run) and ``final`` (run) [nats/token]. By stop, for the lowest loss at
        the moment (``current``) and the lowest predicted final loss (``predicted``): ``*_gap``,
        final loss of the choice over the best minus 1; ``*_error``, mean |estimate − final|
        [nats/token]; ``*_rank``, Spearman's correlation with the final losses. ``random_gap`` is
        the expected gap of a setting picked at random.

    Raises
    ------
    ArgumentError
        If a stop or `start` is out of range.
    DataError
        If the curves do not match, a universal curve does not end at 1, or there is one run only.
    """
    values, shapes, progress = _checked(loss, universal)
    if not all(0 < stop < 1 for stop in stops) or not 0 <= start < 1:
        msg = f"stops must lie in (0, 1) and start in [0, 1), found {list(stops)}, {start}."
        raise ArgumentError(msg)
    current, predicted = np.empty((2, len(stops), len(values)))
    for i, stop in enumerate(stops):
        seen = progress <= stop + _END
        window = seen & (progress >= min(start, stop / 2) - _END)
        if not window.any():
            msg = f"No point of the curves lies before the stop at {stop:g}. Use a finer grid."
            raise DataError(msg)
        current[i] = values[:, seen][:, -1]
        predicted[i] = [
            align_scale(y[window], r[window], aligner=aligner)
            for y, r in zip(values, shapes, strict=True)
        ]
    final = values[:, -1]
    scores = _scores("current", current, final) | _scores("predicted", predicted, final)
    scores["random_gap"] = (np.full(len(stops), final.mean() / final.min() - 1), "1")
    unit = {"units": "nats/token"}
    out = xr.Dataset(
        {name: ("stop", column, {"units": units}) for name, (column, units) in scores.items()},
        coords={"stop": list(stops)},
        attrs={"aligner": aligner, "start": start},
    )
    out = out.assign(predicted=(("stop", "run"), predicted, unit), final=("run", final, unit))
    named = {name: found.variable for name, found in loss.coords.items() if found.dims == ("run",)}
    return out.assign_coords(named)


def _scores(name: str, estimate: Floats, final: Floats) -> dict[str, tuple[Floats, str]]:
    """Return columns and units of one selector, by stop."""
    chosen = final[np.argmin(estimate, axis=1)]
    ranks = np.array([rank_correlation(row, final) for row in estimate])
    return {
        f"{name}_gap": (chosen / final.min() - 1, "1"),
        f"{name}_error": (np.abs(estimate - final).mean(axis=1), "nats/token"),
        f"{name}_rank": (ranks, "1"),
    }


def _checked(loss: xr.DataArray, universal: xr.DataArray) -> tuple[Floats, Floats, Floats]:
    """Return both sets of curves as arrays (run, progress) and the progress."""
    if loss.sizes.get("run", 0) < 2:
        msg = f"A sweep needs two or more runs, found dims {dict(loss.sizes)}."
        raise DataError(msg)
    if dict(loss.sizes) != dict(universal.sizes) or not np.array_equal(
        loss["progress"], universal["progress"]
    ):
        msg = (
            f"loss and universal must share runs and progress, found {dict(loss.sizes)} and "
            f"{dict(universal.sizes)}. Evaluate the universal curves at the progress of the loss."
        )
        raise DataError(msg)
    values, shapes = (
        np.asarray(curves.transpose("run", "progress"), dtype=np.float64)
        for curves in (loss, universal)
    )
    if not np.allclose(shapes[:, -1], 1, rtol=0, atol=1e-9):
        msg = f"universal must end at 1, found {shapes[:, -1].tolist()[:3]}. Normalise it."
        raise DataError(msg)
    if not np.isfinite(values[:, -1]).all():
        msg = "A replay needs finished runs; a curve has no loss at the end. Leave it out."
        raise DataError(msg)
    return values, shapes, np.asarray(loss["progress"], dtype=np.float64)
