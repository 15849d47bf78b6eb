"""One family as arrays, and the statistics of families redrawn around it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import kernels
from workbench.collapse import kernels_quality as quality_kernels
from workbench.collapse.kernels_evidence import log_evidence_ratio, orthonormal_contrasts
from workbench.collapse.noise import FamilyNoise
from workbench.errors import DataError

Floats = NDArray[np.float64]
_EVIDENCE_POINTS = 32
_SMALLEST_NOISE = 1e-8


class Family:
    """Arrays of one family: curves of its settings, their noise, Δ and σ.

    Parameters
    ----------
    loss : DataArray (run, progress)
        Loss curves [nats/token].
    offset : float
        Subtracted loss [nats/token].
    start : float
        S looks at progress ≥ `start`.
    noise : FamilyNoise
        Its noise.
    """

    def __init__(self, loss: xr.DataArray, offset: float, start: float, noise: FamilyNoise) -> None:
        reducible = loss.to_numpy() - offset
        self.noise = noise
        self.progress = loss["progress"].to_numpy()
        self.average = quality_kernels.averaging(noise.cells, len(reducible))
        self.rows = np.empty(len(reducible), np.int64)
        for k, members in enumerate(noise.cells):
            self.rows[members] = k
        self.counts = np.array([len(members) for members in noise.cells])
        size = loss["model_size"].to_numpy()
        first = np.array([size[members[0]] for members in noise.cells])
        self.owner = np.searchsorted(np.unique(size), first)
        mean = self.average @ reducible
        self.shape = mean / mean[:, -1:]
        self.ell = reducible / reducible[:, -1:]
        self.delta = kernels.relative_sd(self.ell)
        self.ratio = self._ratio(reducible, self.delta)
        self.variance = self._variance(self.ell)
        self.factor = (noise.freedom - 2) / noise.freedom if noise.freedom > 2 else 1.0
        enough = np.sqrt(np.broadcast_to(self.variance, self.shape.shape)).min(axis=0)
        self.used = (self.progress >= start) & (self.progress < 1) & (enough > _SMALLEST_NOISE)
        if not self.used.any():
            msg = (
                "S compares the distance between sizes with the noise of ℓ, and these runs show "
                "none: replicates coincide once normalised. Check that they are different runs."
            )
            raise DataError(msg)

    def _ratio(self, reducible: Floats, delta: Floats) -> Floats | None:
        if not self.noise.seeds:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(delta / kernels.noise_floor(reducible, self.noise.seeds))

    def _variance(self, ell: Floats) -> Floats:
        """Return the relative variance of ℓ of one run, (..., cell or 1, x)."""
        if self.noise.seeds:
            return quality_kernels.pooled_variance(ell, self.noise.seeds)[..., None, :]
        trial = self.noise.relative(100, np.random.default_rng(0))
        return np.asarray(self.average @ _normalised(trial).var(axis=0))

    def distances(self) -> Floats:
        """Return the squared distances whose mean is S, (cell, used x)."""
        return self._distances(self.average @ self.ell, self.variance)

    def _distances(self, mean: Floats, variance: Floats) -> Floats:
        used = self.used
        error = mean[..., used] * np.sqrt(variance[..., used] / self.counts[:, None])
        with np.errstate(divide="ignore", invalid="ignore"):
            found = quality_kernels.squared_distances(mean[..., used], error, self.owner)
        return np.asarray(self.factor * found)

    def drawn(self, relative: Floats) -> dict[str, Floats]:
        """Return S, S of one curve, Δ and Δ/σ of redrawn families."""
        wobble = _normalised(relative)
        ell = self.shape[self.rows] * wobble
        fresh = bool(self.noise.seeds)
        one = self._distances(
            self.average @ wobble, self._variance(wobble) if fresh else self.variance
        )
        own = self._distances(self.average @ ell, self._variance(ell) if fresh else self.variance)
        delta = ell.std(axis=-2) / ell.mean(axis=-2)
        found = {"S": own.mean(axis=(-2, -1)), "one": one.mean(axis=(-2, -1)), "delta": delta}
        if fresh:
            parts = [1 + relative[:, members] for members in self.noise.seeds]
            spreads = [part.std(axis=-2) / part.mean(axis=-2) for part in parts]
            with np.errstate(divide="ignore", invalid="ignore"):
                found["ratio"] = delta / np.mean(spreads, axis=0)
        return found

    def evidence(self) -> float | None:
        """Return the log evidence ratio on a few dozen points, None without seeds."""
        if not self.noise.seeds or len(self.counts) < 2:
            return None
        used = np.flatnonzero(self.used)
        few = used[np.unique(np.linspace(0, len(used) - 1, _EVIDENCE_POINTS).round().astype(int))]
        scale = np.sqrt(self.variance[0, few])
        contrasts = [
            orthonormal_contrasts(np.ones(len(members)))
            @ (self.ell[np.ix_(members, few)] / self.ell[np.ix_(members, few)].mean(axis=0) - 1)
            for members in self.noise.seeds
        ]
        mean = (self.average @ self.ell)[:, few]
        return log_evidence_ratio(
            self.progress[few],
            np.concatenate(contrasts) / scale,
            (mean / mean.mean(axis=0) - 1) / scale,
            self.counts,
        )


def _normalised(relative: Floats) -> Floats:
    return np.asarray((1 + relative) / (1 + relative[..., -1:]))
