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


def bootstrap_rows(cells: Sequence[Ints], draws: int, rng: np.random.Generator) -> list[Ints]:
    """Draw runs with replacement within each cell; single-run cells are drawn among one another.

    Keeping the cells keeps every size in each draw, so that the draw measures seed noise; where no
    cell has a second seed the sizes themselves are drawn.
    """
    single = np.concatenate([c for c in cells if len(c) == 1] or [np.empty(0, np.int64)])
    several = [c for c in cells if len(c) > 1]
    pools = several if several else [single]
    fixed = single if several else np.empty(0, np.int64)
    return [
        np.concatenate([fixed, *(rng.choice(pool, len(pool)) for pool in pools)])
        for _ in range(draws)
    ]
