"""Collapse statistics on labelled curves: Δ(x), σ(x), spread, residual, where Δ < σ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import kernels
from workbench.collapse.groups import replicate_cells, seed_cells

_DELTA = {"long_name": "collapse deviation Δ: sd/mean over runs, ddof 0", "units": "1"}
_SIGMA = {
    "long_name": "noise floor σ: sd/mean over seeds of L − offset, mean over settings, ddof 0",
    "units": "1",
}


def deviation(normalized: xr.DataArray) -> xr.DataArray:
    """Return Δ(x) = sd(ℓ)/mean(ℓ) over runs (Qiu et al. 2025, Eq. 2).

    Parameters
    ----------
    normalized : DataArray (run, progress)
        Normalised loss.

    Returns
    -------
    DataArray (progress)
        Zero at the end by construction; NaN where a run has no data.
    """
    values = kernels.relative_sd(normalized.transpose("run", ...).to_numpy())
    return _on_progress(normalized, values, "collapse_deviation", _DELTA)


def spread(normalized: xr.DataArray) -> xr.DataArray:
    """Return max − min over runs of ℓ, DataArray (progress)."""
    values = normalized.max("run", skipna=False) - normalized.min("run", skipna=False)
    attrs = {"long_name": "spread: max − min over runs", "units": "1"}
    return _on_progress(normalized, values.to_numpy(), "spread", attrs)


def noise_floor(
    loss: xr.DataArray,
    *,
    offset: float = 0.0,
    cells: Sequence[NDArray[np.int64]] | None = None,
) -> xr.DataArray | None:
    """Return σ(x), the seed-to-seed spread of L − offset, averaged over settings with seeds.

    Parameters
    ----------
    loss : DataArray (run, progress)
        Loss curves [nats/token] with run coordinates; runs that agree in everything but the seed
        are replicates.
    offset : float
        Subtracted loss [nats/token] (Qiu et al. 2025, Eq. 3).
    cells : sequence of int arrays, optional
        Rows of each setting with seeds, where they are known already; by default `seed_cells`.

    Returns
    -------
    DataArray (progress) or None
        None when no setting has two seeds.
    """
    cells = seed_cells(loss) if cells is None else cells
    if not cells:
        return None
    values = kernels.noise_floor(loss.transpose("run", ...).to_numpy() - offset, cells)
    return _on_progress(loss, values, "noise_floor", _SIGMA | {"settings": len(cells)})


def crossing(delta: xr.DataArray, sigma: xr.DataArray) -> float | None:
    """Return the progress from which on Δ < σ at every later point before the end, else None."""
    last = kernels.last_exceedance(delta.to_numpy(), sigma.to_numpy())
    progress = delta["progress"].to_numpy()
    return float(progress[last + 1]) if last + 1 < len(progress) - 1 else None


def residual(normalized: xr.DataArray) -> xr.DataArray:
    """Return ℓ_run/⟨ℓ⟩ − 1, DataArray (run, progress)."""
    values = normalized.transpose("run", ...)
    out = values.copy(data=kernels.relative_residual(values.to_numpy()))
    return out.rename("residual").assign_attrs(long_name="residual ℓ/⟨ℓ⟩ − 1", units="1")


def excess_spread(
    normalized: xr.DataArray, *, start: float, draws: int = 200, rng: int = 0
) -> tuple[float, float, float]:
    """Return mean sd(ℓ) / mean (⟨ℓ⟩ − 1) over progress ≥ `start`, with a 95 % bootstrap interval.

    Unlike Δ it may be compared between offsets: Δ is small with offset 0 only because ℓ is then
    close to 1. Runs are redrawn within replicate cells (sizes, where no cell has a second seed).

    Returns
    -------
    value, lower, upper : float
    """
    progress = normalized["progress"].to_numpy()
    window = (progress >= start) & (progress < 1)
    values = normalized.transpose("run", ...).to_numpy()[:, window]
    cells = replicate_cells(normalized)
    counts = kernels.bootstrap_counts(cells, draws, np.random.default_rng(rng))
    ratios = kernels.drawn_excess_spread(values, counts)
    lower, upper = np.quantile(ratios, [0.025, 0.975])
    return kernels.excess_spread(values), float(lower), float(upper)


def _on_progress(
    like: xr.DataArray, values: np.ndarray, name: str, attrs: Mapping[str, object]
) -> xr.DataArray:
    progress = like["progress"].variable
    return xr.DataArray(
        values, dims="progress", coords={"progress": progress}, name=name
    ).assign_attrs(attrs)
