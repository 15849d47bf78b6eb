"""Array kernels of collapse quality: Houdayer–Hartmann S and replicate families.

A family is an array of curves (run, x) with cells: rows that differ in nothing but the seed. Every
kernel also takes leading dimensions, such as bootstrap draws, in front of (run, x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def averaging(cells: Sequence[Ints], n_runs: int) -> Floats:
    """Return the matrix that averages runs within cells, shape (cell, run)."""
    matrix = np.zeros((len(cells), n_runs))
    for row, members in zip(matrix, cells, strict=True):
        row[members] = 1 / len(members)
    return matrix


def seed_deviations(values: Floats, cells: Sequence[Ints]) -> Floats:
    """Return run/⟨run⟩_cell − 1 within each cell, scaled by √(n/(n − 1)), shape (deviation, x).

    The scale gives every deviation the variance of a run about its expectation, so that a pool of
    them can be redrawn without being too narrow.
    """
    parts = []
    for members in cells:
        n = len(members)
        block = values[members]
        parts.append((block / block.mean(axis=0) - 1) * np.sqrt(n / (n - 1)))
    return np.concatenate(parts)


def pooled_variance(values: Floats, cells: Sequence[Ints]) -> Floats:
    """Return the relative variance between seeds, ddof 1, pooled over cells, shape (..., x).

    Parameters
    ----------
    values : ndarray of shape (..., run, x)
        Curves.
    cells : sequence of int arrays
        Rows of each cell with two or more seeds.
    """
    total, freedom = 0.0, 0
    for members in cells:
        block = values[..., members, :]
        total = total + block.var(axis=-2) * len(members) / block.mean(axis=-2) ** 2
        freedom += len(members) - 1
    return np.asarray(total / freedom)


def master_curve(mean: Floats, error: Floats, owner: Ints) -> tuple[Floats, Floats]:
    """Return, for every cell, the curve of the cells of other owners, and its standard error.

    Houdayer & Hartmann 2004 (doi:10.1103/PhysRevB.70.014418) fit a line through the two points of
    every other size that bracket x. On one grid those points lie at x itself, and the fit is the
    inverse-variance mean.

    Parameters
    ----------
    mean, error : ndarray of shape (..., cell, x)
        Curves and their standard errors.
    owner : int array of shape (cell,)
        Cells with the same owner (size) do not serve one another.

    Returns
    -------
    master, master_error : ndarray of shape (..., cell, x)
    """
    member = (np.unique(owner)[:, None] == owner).astype(np.float64)

    def of_others(terms: Floats) -> Floats:
        return np.asarray(terms.sum(axis=-2, keepdims=True) - member.T @ (member @ terms))

    weight = 1 / error**2
    total = of_others(weight)
    return of_others(weight * mean) / total, np.asarray(1 / np.sqrt(total))


def squared_distances(mean: Floats, error: Floats, owner: Ints) -> Floats:
    """Return (y − Y)²/(dy² + dY²) of every cell and point, Y the master curve of other owners."""
    master, master_error = master_curve(mean, error, owner)
    return np.asarray((mean - master) ** 2 / (error**2 + master_error**2))


def block_noise(
    residual: Floats, points: int, block: int, draws: int, rng: np.random.Generator
) -> Floats:
    """Redraw record noise by moving blocks (Künsch 1989), (run, x) → (draw, run, points).

    Parameters
    ----------
    residual : ndarray of shape (run, x)
        Relative residual of each curve about its own smooth line.
    points : int
        Points to fill.
    block : int
        Block length in points: as long as the noise remembers itself.
    draws : int
        Families to draw.
    """
    n_runs, n = residual.shape
    starts = rng.integers(0, n - block + 1, size=(draws, n_runs, -(-points // block)))
    index = (starts[..., None] + np.arange(block)).reshape(draws, n_runs, -1)[..., :points]
    return np.asarray(np.take_along_axis(residual[None], index, axis=-1))


def centred_interval(value: float, drawn: Floats, level: float) -> tuple[float, float]:
    """Return (√value + √q − √median)² for the quantiles q of positive draws.

    Draws around estimated means carry the noise twice and sit too high; the shift on the scale of
    the square root, where a mean square has an even spread, takes that out. Draws that are not
    finite are left out.
    """
    tail = (1 - level) / 2
    roots = np.quantile(np.sqrt(drawn[np.isfinite(drawn)]), [tail, 0.5, 1 - tail])
    low, high = np.maximum(np.sqrt(value) + roots[[0, 2]] - roots[1], 0.0) ** 2
    return float(low), float(high)
