"""Is it one curve? Gaussian-process evidence on standardised curves. Arrays in, arrays out.

Two models of settings s, each the mean of n_s seeds, in units of the seed noise of one run:

    one curve:   z_s(x) = f(x) + e_s(x)/√n_s
    own curves:  z_s(x) = f(x) + g_s(x) + e_s(x)/√n_s

f is free. The noise e has the correlation exp(−|x − x'|/length) plus a white share; the same noise
is seen in the differences between seeds. g is smooth: squared-exponential. The noise variance is
integrated out with the prior 1/variance; lengths, white share and the size of g are averaged over
grids with equal weight, so that the evidence pays for what is not needed (Rasmussen & Williams
2006, chapter 5).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NOISE_LENGTHS = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
WHITE_SHARES = np.array([0.01, 0.1, 0.3, 0.6])
CURVE_LENGTHS = np.array([0.1, 0.2, 0.4, 0.8])
CURVE_VARIANCES = np.geomspace(0.1, 1000, 9)


def orthonormal_contrasts(direction: Floats) -> Floats:
    """Return an orthonormal basis of what is orthogonal to `direction`, shape (n − 1, n)."""
    basis = np.linalg.qr(np.column_stack([direction, np.eye(len(direction))]))[0]
    return np.asarray(basis[:, 1 : len(direction)].T)


def log_evidence_ratio(x: Floats, seeds: Floats, means: Floats, counts: Ints) -> float:
    """Return ln p(data | one curve) − ln p(data | own curves).

    Parameters
    ----------
    x : ndarray of shape (x,)
        Progress; a few dozen points are enough, and the cost grows with their cube.
    seeds : ndarray of shape (contrast, x)
        Orthonormal contrasts between seeds of one setting, standardised to variance 1.
    means : ndarray of shape (setting, x)
        Relative deviations of the settings' mean curves from any common curve, in units of the
        noise of one run.
    counts : int array of shape (setting,)
        Seeds behind each mean.
    """
    root = np.sqrt(counts.astype(np.float64))
    contrasts = orthonormal_contrasts(root)
    strength, turn = np.linalg.eigh(contrasts * counts @ contrasts.T)
    between = turn.T @ contrasts @ (root[:, None] * means)
    factor: Floats = np.asarray(np.linalg.cholesky(_noise_correlations(x)), dtype=np.float64)
    log_det_noise = 2 * np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    within = (np.linalg.solve(factor, seeds.T) ** 2).sum(axis=(-2, -1))
    white: Floats = np.asarray(np.linalg.solve(factor, between.T), dtype=np.float64)
    spread, turned = _diagonalised(x, factor, white)
    variance = strength * CURVE_VARIANCES[:, None]
    scale = 1 + variance[:, None, :] * spread[..., None, :, None]
    n = seeds.size + between.size
    log_det = log_det_noise * (n / len(x))
    together = _marginal(log_det, within + (white**2).sum(axis=(-2, -1)), n)
    apart = _marginal(
        log_det[:, None, None] + np.log(scale).sum(axis=(-2, -1)),
        within[:, None, None] + (turned[:, :, None] ** 2 / scale).sum(axis=(-2, -1)),
        n,
    )
    return float(
        logsumexp(together) - np.log(together.size) - logsumexp(apart) + np.log(apart.size)
    )


def _noise_correlations(x: Floats) -> Floats:
    distance = np.abs(x[:, None] - x)
    decay = np.exp(-distance / NOISE_LENGTHS[:, None, None])[:, None]
    white = WHITE_SHARES[:, None, None]
    both = (1 - white) * decay + white * np.eye(len(x))
    return np.asarray(both.reshape(-1, len(x), len(x)))


def _diagonalised(x: Floats, factor: Floats, white: Floats) -> tuple[Floats, Floats]:
    """Diagonalise noise and smooth part at once: one eigenproblem serves every variance.

    Returns
    -------
    spread : ndarray of shape (noise, length, x)
        Variances of the smooth part in units of the noise.
    turned : ndarray of shape (noise, length, x, contrast)
        The curves in the same basis.
    """
    square = (x[:, None] - x) ** 2
    smooth = np.exp(-square / (2 * CURVE_LENGTHS[:, None, None] ** 2))
    half = np.linalg.solve(factor[:, None], smooth)
    spread, basis = np.linalg.eigh(np.linalg.solve(factor[:, None], half.mT))
    return np.maximum(spread, 0.0), np.asarray(basis.mT @ white[:, None])


def _marginal(log_det: Floats, square: Floats, n: int) -> Floats:
    """Return log densities with the common variance integrated out, up to one constant."""
    return np.asarray(gammaln(n / 2) - log_det / 2 - n / 2 * np.log(square / 2))
