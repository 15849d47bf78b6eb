"""The noise of a family: how far a run may stray by itself, and families redrawn with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import kernels_quality as kernels
from workbench.collapse.groups import replicate_cells, seed_cells
from workbench.curves import half_width, smooth
from workbench.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PARABOLA = 0.2
"""Width of the window about whose parabola record noise is measured, share of the run.

Four times the block: a narrower one takes the slow part of the noise away with the trend, and S of
white noise then reads 1.5 instead of 1.2.
"""
BLOCK = 0.05
"""Length of the blocks, share of the run."""
NOISE_FROM = 0.2
"""Record noise is taken from here on: earlier a curve bends within the window."""
_CHUNK = 4_000_000
_SMALLEST_WINDOW = 5
_FITTED = 2.25  # share of one point that a parabola takes up in the middle of its window
_SEEDS = (
    "noise between seeds, pooled over {cells} settings ({freedom} degrees of freedom); intervals "
    "from {draws} families with whole seed curves redrawn"
)
_BLOCKS = (
    "record noise about each run's own parabola (no setting has two seeds, so noise that lasts "
    "longer than {width:g} % of the run is not counted); intervals from {draws} families with "
    "moving blocks of that length redrawn"
)


@dataclass(frozen=True)
class FamilyNoise:
    """What it takes to redraw a family.

    Parameters
    ----------
    cells : list of int arrays
        Runs of each setting.
    seeds : list of int arrays
        Runs of the settings that have two or more seeds.
    relative : callable
        ``relative(draws, rng)`` gives relative deviations of L − offset, (draw, run, progress).
    freedom : int
        Degrees of freedom of the seed noise, 0 without seeds.
    said : str
        The method in words.
    """

    cells: list[Ints]
    seeds: list[Ints]
    relative: Callable[[int, np.random.Generator], Floats]
    freedom: int
    said: str

    def chunks(self, draws: int, size: int, rng: np.random.Generator) -> Iterator[Floats]:
        """Yield redrawn deviations, a few draws at a time, so that memory stays small."""
        step = max(1, _CHUNK // size)
        for first in range(0, draws, step):
            yield self.relative(min(step, draws - first), rng)


def family_noise(
    loss: xr.DataArray,
    *,
    offset: float,
    draws: int,
    raw: xr.DataArray | None = None,
    smoother: Callable[[xr.DataArray], xr.DataArray] | None = None,
) -> FamilyNoise:
    """Measure a family's noise between seeds, or within runs where no setting has two seeds.

    Parameters
    ----------
    loss : DataArray (run, progress)
        Loss curves [nats/token], smoothed as they are compared.
    offset : float
        Subtracted loss [nats/token].
    draws : int
        How many families will be drawn (for the wording).
    raw : DataArray (run, progress), optional
        The same curves before smoothing; by default `loss` itself.
    smoother : callable, optional
        What turned `raw` into `loss`; by default nothing.

    Raises
    ------
    DataError
        If a curve has gaps.
    """
    cells, seeds = replicate_cells(loss), seed_cells(loss)
    if seeds:
        freedom = sum(len(rows) - 1 for rows in seeds)
        reducible = loss.transpose("run", ...).to_numpy() - offset
        pool = kernels.seed_deviations(reducible, seeds)

        def from_seeds(n: int, rng: np.random.Generator) -> Floats:
            return np.asarray(pool[rng.integers(0, len(pool), (n, len(reducible)))])

        said = _SEEDS.format(cells=len(seeds), freedom=freedom, draws=draws)
        return FamilyNoise(cells, seeds, from_seeds, freedom, said)
    from_blocks = _record_noise(loss if raw is None else raw, loss, offset, smoother)
    return FamilyNoise(cells, [], from_blocks, 0, _BLOCKS.format(width=100 * BLOCK, draws=draws))


def _record_noise(
    raw: xr.DataArray,
    loss: xr.DataArray,
    offset: float,
    smoother: Callable[[xr.DataArray], xr.DataArray] | None,
) -> Callable[[int, np.random.Generator], Floats]:
    middle = smooth(raw, width=PARABOLA, smoother="savitzky-golay").transpose("run", ...)
    known = np.isfinite(middle.to_numpy()).all(axis=0)
    late = known & (middle["progress"].to_numpy() >= NOISE_FROM)
    window = 2 * half_width(PARABOLA, raw.sizes["progress"]) + 1
    block = 2 * half_width(BLOCK, raw.sizes["progress"]) + 1
    if late.sum() <= window or window < _SMALLEST_WINDOW:
        msg = (
            f"{int(late.sum())} points of progress beyond {NOISE_FROM:g} are common to all runs, "
            "too few to measure record noise. Raise --points, or leave out unfinished runs."
        )
        raise DataError(msg)
    residual = (raw.transpose("run", ...) / middle - 1).to_numpy()[:, late]
    residual *= np.sqrt(window / (window - _FITTED))
    centre_loss = middle.to_numpy()[:, known]
    again = smoother or (lambda curves: curves)

    def smoothed(values: Floats) -> Floats:
        curves = xr.DataArray(values, dims=(*("draw", "run")[-values.ndim + 1 :], "progress"))
        return again(curves).to_numpy() - offset

    centre = smoothed(centre_loss)

    def from_blocks(n: int, rng: np.random.Generator) -> Floats:
        noise = kernels.block_noise(residual, centre_loss.shape[1], block, n, rng)
        out = np.full((n, *loss.shape), np.nan)
        out[..., known] = smoothed(centre_loss * (1 + noise)) / centre - 1
        return out

    return from_blocks
