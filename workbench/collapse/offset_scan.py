"""The offset under which curves lie closest together: a second opinion on L0 from whole curves."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse.kernels_quality import averaging
from workbench.collapse.noise import family_noise
from workbench.collapse.offset import OffsetEstimate
from workbench.curves import final_loss, is_complete
from workbench.errors import DataError

Floats = NDArray[np.float64]
LEVEL = 0.95
_DRAWS = 200
_POINTS = 32
_TRIALS = 16
_ZOOMS = 6
_NEAREST = 1e-4  # of the smallest final loss: how near to it an offset may come


def scan_offset(
    curves: xr.DataArray, *, start: float = 0.2, rng: int | np.random.Generator = 0
) -> OffsetEstimate:
    """Return the offset with the smallest sd(ℓ)/(⟨ℓ⟩ − 1), and its bootstrap interval.

    The raw Δ would not do: it falls with the offset only because ℓ comes closer to 1.

    Parameters
    ----------
    curves : DataArray (run, progress)
        Loss curves [nats/token] with run coordinates.
    start : float
        Means look at progress ≥ `start`.
    rng : int or Generator
        Source of the draws.

    Returns
    -------
    OffsetEstimate
        95 % interval from 200 families redrawn with the noise of this one, see `family_noise`. An
        end at 0 or at the smallest final loss says that the curves do not bound the offset there.

    Raises
    ------
    DataError
        If fewer than two runs have finished.
    """
    done = curves.isel(run=np.flatnonzero(is_complete(curves))).transpose("run", ...)
    if done.sizes["run"] < 2:
        msg = f"A scan of offsets needs two finished runs, found {done.sizes['run']}."
        raise DataError(msg)
    noise = family_noise(done, offset=0.0, draws=_DRAWS)
    average = averaging(noise.cells, done.sizes["run"])
    progress, values = done["progress"].to_numpy(), done.to_numpy()
    inside = (progress >= start) & (progress < 1) & np.isfinite(values).all(axis=0)
    used = np.flatnonzero(inside)
    columns = used[np.unique(np.linspace(0, len(used) - 1, _POINTS).round().astype(np.int64))]
    columns = np.append(columns, len(progress) - 1)
    centre = np.empty_like(values)
    for members, mean in zip(noise.cells, average @ values, strict=True):
        centre[members] = mean
    relative = noise.relative(_DRAWS, np.random.default_rng(rng))
    value = float(_closest(values[None][..., columns])[0])
    drawn = _closest((centre * (1 + relative))[..., columns])
    tail = (1 - LEVEL) / 2
    low, middle, high = np.quantile(drawn, [tail, 0.5, 1 - tail])
    smallest = float(final_loss(done).min())
    return OffsetEstimate(
        value,
        max(0.0, value + float(low - middle)),
        min(smallest, value + float(high - middle)),
        f"smallest sd(ℓ)/(⟨ℓ⟩ − 1) of {len(values)} runs beyond {100 * start:g} % of training",
    )


def _closest(loss: Floats) -> Floats:
    """Return the offset of every family under which its curves lie closest, shape (draw,).

    Parameters
    ----------
    loss : ndarray of shape (draw, run, x)
        Curves whose last column is the final loss.
    """
    smallest = loss[..., -1].min(axis=1)
    low, high = np.log(_NEAREST * smallest), np.log(smallest)
    rows = np.arange(len(loss))
    for _ in range(_ZOOMS):
        trials = np.linspace(low, high, _TRIALS)
        spread = np.array([_spread(loss, smallest - np.exp(trial)) for trial in trials])
        k = spread.argmin(axis=0)
        low = trials[np.maximum(k - 1, 0), rows]
        high = trials[np.minimum(k + 1, _TRIALS - 1), rows]
    return np.asarray(smallest - np.exp(trials[k, rows]))


def _spread(loss: Floats, offset: Floats) -> Floats:
    shifted = loss - offset[:, None, None]
    ell = shifted[..., :-1] / shifted[..., -1:]
    return np.asarray(ell.std(axis=1).mean(axis=1) / (ell.mean(axis=1) - 1).mean(axis=1))
