"""Array kernels of the collapse statistics. Arrays in, arrays out.

The standard deviation is the population one (ddof 0) throughout: with it the decomposition of
Qiu et al. 2025, Eq. 4, is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def relative_sd(values: Floats) -> Floats:
    """Return sd/mean over the first axis, shape (run, x) → (x,); NaN where any run is missing."""
    return np.asarray(values.std(axis=0) / values.mean(axis=0))


def noise_floor(reducible: Floats, cells: Sequence[Ints]) -> Floats:
    """Return σ(x): sd/mean over the seeds of a cell, averaged over cells.

    Parameters
    ----------
    reducible : ndarray of shape (run, x)
        Loss minus offset, not normalised (Qiu et al. 2025, Eq. 3).
    cells : sequence of int arrays
        Rows of each cell with at least two runs that differ in nothing but the seed.

    Returns
    -------
    ndarray of shape (x,)
    """
    return np.asarray(np.mean([relative_sd(reducible[rows]) for rows in cells], axis=0))


def last_exceedance(values: Floats, bound: Floats) -> int:
    """Return the last index before the end where `values` is not below `bound`, −1 if none.

    The end itself is left out: there a normalised curve is 1 by construction.
    """
    open_end = ~(values[:-1] < bound[:-1])
    where = np.flatnonzero(open_end)
    return int(where[-1]) if len(where) else -1


def relative_residual(normalized: Floats) -> Floats:
    """Return ℓ_run/⟨ℓ⟩ − 1, shape (run, x)."""
    return np.asarray(normalized / normalized.mean(axis=0) - 1.0)


def excess_spread(normalized: Floats) -> float:
    """Return mean sd(ℓ) / mean (⟨ℓ⟩ − 1) over x: comparable between offsets, unlike sd/mean."""
    return float(normalized.std(axis=0).mean() / (normalized.mean(axis=0) - 1.0).mean())


def bootstrap_counts(cells: Sequence[Ints], draws: int, rng: np.random.Generator) -> Floats:
    """Draw runs with replacement within each cell; single-run cells are drawn among one another.

    Keeping the cells keeps every size in each draw, so that the draw measures seed noise; where no
    cell has a second seed the sizes themselves are drawn.

    Returns
    -------
    ndarray of shape (draw, run)
        How often each run was drawn.
    """
    single = [c for c in cells if len(c) == 1]
    several = [c for c in cells if len(c) > 1]
    pools = several or [np.concatenate(single)]
    counts = np.zeros((draws, sum(map(len, cells))))
    if several and single:
        counts[:, np.concatenate(single)] = 1
    for pool in pools:
        picks = pool[rng.integers(0, len(pool), (draws, len(pool)))]
        np.add.at(counts, (np.arange(draws)[:, None], picks), 1)
    return counts


def drawn_excess_spread(normalized: Floats, counts: Floats) -> Floats:
    """Return `excess_spread` of families in which run i counts ``counts[draw, i]`` times."""
    centre = normalized.mean(axis=0)
    away = normalized - centre
    n = counts.sum(axis=1, keepdims=True)
    first, second = counts @ away / n, counts @ away**2 / n
    sd = np.sqrt(np.maximum(second - first**2, 0.0))
    return np.asarray(sd.mean(axis=1) / (centre + first - 1.0).mean(axis=1))
