"""Array kernels of choosing among runs: ranks and their correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def mid_ranks(values: ArrayLike) -> Floats:
    """Return ranks from 0 on, ties sharing their mean rank; shape (n,)."""
    value = np.asarray(values, dtype=np.float64)
    order = np.sort(value)
    low, high = (np.searchsorted(order, value, side=side) for side in ("left", "right"))
    return np.asarray((low + high - 1) / 2)


def rank_correlation(one: ArrayLike, two: ArrayLike) -> float:
    """Return Spearman's correlation of two arrays (n,); NaN where one of them is constant."""
    a, b = mid_ranks(one), mid_ranks(two)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else float("nan")
