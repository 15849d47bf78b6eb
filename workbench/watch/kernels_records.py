"""Array kernels on single records: blocks of them, what runs on the same data share, tails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BLOCKS = 512
"""Records are averaged over this many equal parts of a run."""
_NORMAL_MAD = 1.4826
_SHARED = 0.5
_COMPARED = 4000
_FEWEST_SHARED = 100
_USUAL = 4.0
_BEYOND = 0.01
_FEWEST_TAIL = 30
_USUAL_SHAPE = 0.2
_EXPLAINED = 0.2


def block_means(x: Floats, values: Floats) -> tuple[Floats, Ints]:
    """Average one run's records over blocks of progress.

    Parameters
    ----------
    x : ndarray of shape (obs,)
        Progress; record k belongs to the block that ends at ceil(512·x)/512.
    values : ndarray of shape (obs,)
        NaN are left out.

    Returns
    -------
    mean, count : ndarrays of shape (512,)
        NaN and 0 where a block has no record.
    """
    known = np.isfinite(values)
    cell = np.clip(block_of(x[known]), 1, BLOCKS) - 1
    count = np.bincount(cell, minlength=BLOCKS)
    total = np.bincount(cell, weights=values[known], minlength=BLOCKS)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def block_of(x: Floats) -> Ints:
    """Return the number of the block each progress lies in, from 1."""
    return np.ceil(x * BLOCKS - 1e-6).astype(np.int64)


def robust_sd(values: Floats) -> float:
    """Return 1.4826 times the median absolute deviation from the median; NaN are left out."""
    known = values[np.isfinite(values)]
    return _NORMAL_MAD * float(np.median(np.abs(known - np.median(known)))) if len(known) else 0.0


def on_same_data(deviation: Floats) -> NDArray[np.bool_]:
    """Return which runs see the same data at the same positions: the largest such group.

    Parameters
    ----------
    deviation : ndarray of shape (run, position)
        Log loss less the run's own smooth curve; NaN where a run has no record.

    Returns
    -------
    ndarray of bool, shape (run,)
        Those whose records correlate by more than 0.5 with those of the run that has the most
        such partners; nobody where there is no pair.
    """
    step = max(1, deviation.shape[1] // _COMPARED)
    here = np.isfinite(deviation).astype(np.float64)
    both = here @ here.T
    correlation, _ = _correlations(deviation[:, ::step])
    partner = (correlation > _SHARED) & (both >= _FEWEST_SHARED)
    np.fill_diagonal(partner, val=False)
    leader = int(partner.sum(axis=1).argmax())
    group: NDArray[np.bool_] = partner[leader].copy()
    group[leader] = group.any()
    return group


def departed(deviation: Floats, x: Floats, *, parts: int = 16) -> NDArray[np.bool_]:
    """Return in which parts of training each of the runs on the same data no longer sees it.

    Parameters
    ----------
    deviation : ndarray of shape (run, position)
        As in `on_same_data`, of the group it returned.
    x : ndarray of shape (position,)
        Progress at which the group passes each position.
    parts : int
        Equal parts of training.

    Returns
    -------
    ndarray of bool, shape (run, parts)
        Where no other run explains a fifth of a run's deviations while two others agree. False
        where too few records tell.
    """
    out = np.zeros((len(deviation), parts), dtype=bool)
    if len(deviation) < 3:
        return out
    part = np.minimum((x * parts).astype(int), parts - 1)
    for k in np.unique(part):
        correlation, both = _correlations(deviation[:, part == k])
        np.fill_diagonal(correlation, 0.0)
        explained = np.where(both >= _FEWEST_SHARED, correlation * np.abs(correlation), np.nan)
        told = np.isfinite(explained).any(axis=1)
        best = np.where(told, np.nanmax(np.nan_to_num(explained, nan=-1.0), axis=1), 1.0)
        out[:, k] = told & (best < _EXPLAINED) & (best[told].max(initial=0.0) > _SHARED**2)
    return out


def _correlations(deviation: Floats) -> tuple[Floats, Floats]:
    """Return the correlations of runs over their common positions, and how many these are."""
    seen = np.isfinite(deviation)
    y = np.where(seen, deviation, 0.0)
    limit = 6 * np.array([[robust_sd(row)] for row in deviation])
    y = np.clip(y, -limit, limit)
    here = seen.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (y @ y.T) / np.sqrt((y**2 @ here.T) * (here @ (y**2).T))
    return correlation, here @ here.T


def shared_part(deviation: Floats) -> tuple[Floats, Floats]:
    """Return what runs on the same data share at each position, and how much they differ there.

    Parameters
    ----------
    deviation : ndarray of shape (run, position)
        NaN where a run has no record.

    Returns
    -------
    shared, spread : ndarrays of shape (position,)
        The median (mean of two), NaN below two runs; and the standard deviation between runs by
        which a place stands out from the usual place.
    """
    known = np.isfinite(deviation)
    count = known.sum(axis=0)
    shared, spread = np.full((2, deviation.shape[1]), np.nan)
    enough = count >= 2
    if enough.any():
        some = deviation[:, enough]
        shared[enough] = np.nanmedian(some, axis=0)
        variance = np.nanvar(some, axis=0, ddof=1)
        beyond = np.maximum(variance - _USUAL * np.median(variance), 0.0)
        spread[enough] = np.sqrt(beyond * (1 + 1 / count[enough]))
    return shared, spread


@dataclass(frozen=True)
class Tail:
    """How rarely records are far off: a generalised Pareto law beyond the 99th percentile.

    Parameters
    ----------
    edge : float
        The 99th percentile of |distance| [standard deviations].
    shape, scale : float
        Of the excess over it; shape 0 is an exponential tail.
    """

    edge: float
    shape: float
    scale: float

    def bound(self, level: float, count: float) -> float:
        """Return what the largest of `count` records stays below with probability 1 − `level`."""
        rarity = max(_BEYOND * count / level, 1.0)
        if self.shape < 1e-6:
            return float(self.edge + self.scale * np.log(rarity))
        return float(self.edge + self.scale / self.shape * (rarity**self.shape - 1))


def fit_tail(distance: Floats) -> Tail:
    """Fit the tail of |distance| (record,) by probability-weighted moments (Hosking, Wallis 1987).

    The shape is taken one standard error heavier than it is found, because bounds extrapolate it.
    Below 30 records in the tail its shape is taken to be 0.2, that of losses with rare bad batches.
    """
    known = np.sort(distance[np.isfinite(distance)])
    edge = float(np.quantile(known, 1 - _BEYOND))
    excess = known[known > edge] - edge
    n = len(excess)
    if n < _FEWEST_TAIL:
        return Tail(edge, _USUAL_SHAPE, float(excess.mean()) if n else edge / 3)
    first = float(excess.mean())
    second = float((excess * (1 - (np.arange(1, n + 1) - 0.35) / n)).mean())
    shape = float(np.clip(2 - first / (first - 2 * second), 0.0, 0.5))
    unsure = (1 + shape) / np.sqrt(n)
    return Tail(edge, shape + float(unsure), first * (1 - shape))


def normal_bound(level: float, count: float) -> float:
    """Return what the largest of `count` normal |values| stays below with probability 1 − level."""
    return float(-ndtri(level / (2 * max(count, 1.0))))
