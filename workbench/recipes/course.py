"""What every schedule can say of itself, and the schedule that is just an array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError

Floats = NDArray[np.float64]


class Course(ABC):
    """A learning rate over the run, as a share of its peak."""

    @property
    @abstractmethod
    def knots(self) -> tuple[float, ...]:
        """Progress at which the formula changes, 0 and 1 among them."""

    @abstractmethod
    def at(self, progress: ArrayLike) -> Floats:
        """Return the factor at `progress`, share of the run; any shape."""

    @abstractmethod
    def flow_time(self, progress: ArrayLike) -> Floats:
        """Return ∫₀ˣ of the factor, the gradient-flow time as a share of a run at the peak."""

    @abstractmethod
    def factors(self, total_steps: int) -> Floats:
        """Return the factor of every step, ndarray of float64 of shape (total_steps,)."""

    def instantaneous_tau(self, progress: ArrayLike, *, tau: ArrayLike) -> Floats:
        """Return τ/η̂, the timescale the current rate alone would give; infinite at rate zero.

        Parameters
        ----------
        progress : array-like
            Share of the run.
        tau : array-like
            Timescale of the peak rate, share of the run; broadcasts against `progress`.
        """
        factor = self.at(progress)
        with np.errstate(divide="ignore"):
            return np.asarray(np.asarray(tau, dtype=np.float64) / factor)

    @staticmethod
    def _checked(progress: ArrayLike) -> Floats:
        x = np.asarray(progress, dtype=np.float64)
        if not np.all((x >= 0) & (x <= 1)):
            msg = f"progress must be in [0, 1], found {progress!r}. It is a share of the run."
            raise ArgumentError(msg)
        return x


@dataclass(frozen=True, eq=False)
class TabulatedSchedule(Course):
    """A schedule given as numbers: linear between the knots, held beyond the outermost.

    Parameters
    ----------
    progress : array-like of shape (knot,)
        Share of the run, rising, within [0, 1].
    learning_rate : array-like of shape (knot,)
        Rate there, in any unit: it is divided by its largest.

    Raises
    ------
    ArgumentError
        If the two differ in length, progress does not rise within [0, 1], a rate is negative or
        not finite, or all are zero.
    """

    progress: Floats
    learning_rate: Floats
    peak: float = field(init=False)

    def __post_init__(self) -> None:
        x = np.array(self.progress, dtype=np.float64)
        rate = np.array(self.learning_rate, dtype=np.float64)
        if x.ndim != 1 or x.shape != rate.shape or not x.size:
            msg = (
                "progress and learning_rate must be 1-d, not empty and equally long, found shapes "
                f"{x.shape} and {rate.shape}."
            )
            raise ArgumentError(msg)
        if not ((np.diff(x) > 0).all() and x[0] >= 0 and x[-1] <= 1):
            msg = f"progress must rise within [0, 1], found {x[0]:g} to {x[-1]:g}. Sort it."
            raise ArgumentError(msg)
        if not (np.isfinite(rate).all() and (rate >= 0).all() and rate.max() > 0):
            msg = (
                "learning_rate must be finite, not negative and somewhere above zero, found "
                f"{rate.min():g} to {rate.max():g}."
            )
            raise ArgumentError(msg)
        x.flags.writeable = rate.flags.writeable = False
        object.__setattr__(self, "progress", x)
        object.__setattr__(self, "learning_rate", rate)
        object.__setattr__(self, "peak", float(rate.max()))

    @classmethod
    def from_steps(cls, learning_rate: ArrayLike) -> TabulatedSchedule:
        """Make one from the rate of every step: step t of T stands at progress t/T."""
        rate = np.asarray(learning_rate, dtype=np.float64)
        return cls(np.arange(rate.size) / max(1, rate.size), rate.ravel())

    @property
    def knots(self) -> tuple[float, ...]:
        """Progress of the given rates, with 0 and 1."""
        return tuple(float(x) for x in self._held()[0])

    def at(self, progress: ArrayLike) -> Floats:
        """Return the factor at `progress`, share of the run; any shape."""
        x = self._checked(progress)
        return np.asarray(np.interp(x, self.progress, self.learning_rate) / self.peak)

    def flow_time(self, progress: ArrayLike) -> Floats:
        """Return ∫₀ˣ of the factor, exactly; 1 is a whole run at the peak rate."""
        x = self._checked(progress)
        knots, factor = self._held()
        area = np.append(0.0, np.cumsum(np.diff(knots) * (factor[1:] + factor[:-1]) / 2))
        left = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
        return np.asarray(area[left] + (x - knots[left]) * (factor[left] + self.at(x)) / 2)

    def factors(self, total_steps: int) -> Floats:
        """Return the factor of every step; the given ones again if there are as many."""
        if total_steps < 1:
            msg = f"total_steps must be at least 1, found {total_steps!r}."
            raise ArgumentError(msg)
        return self.at(np.arange(total_steps) / total_steps)

    def _held(self) -> tuple[Floats, Floats]:
        knots = np.union1d(self.progress, [0.0, 1.0])
        return knots, self.at(knots)
