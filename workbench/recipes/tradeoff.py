"""Compute against compression: what a smaller model trained for longer costs.

With L = E + A·N^(−α) + B·D^(−β) there is one best split of a compute budget. Training a model of
k_N times the best size to the same loss takes k_D times the tokens and C = k_N·k_D times the
compute (Bergsma et al. 2025, arXiv:2509.25087, formulas 17 to 23, there for α = β; the closed
form holds for any two exponents).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError

Floats = NDArray[np.float64]


class Allocation(NamedTuple):
    """A split of a compute budget: parameters N and tokens D."""

    model_size: float
    tokens_total: float


def compute_optimal(compute: float, *, a: float, alpha: float, b: float, beta: float) -> Allocation:
    """Return the N and D that minimise A·N^(−α) + B·D^(−β) at 6ND = C.

    Parameters
    ----------
    compute : float, FLOP
        Budget C.
    a, alpha, b, beta : float
        Constants of the loss law, N and D in units of one.

    Raises
    ------
    ArgumentError
        If a number is not positive.
    """
    _positive(compute=compute, a=a, alpha=alpha, b=b, beta=beta)
    balance = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    size = balance * (compute / 6) ** (beta / (alpha + beta))
    return Allocation(size, compute / 6 / size)


@dataclass(frozen=True)
class CompressionTradeoff:
    """The trade-off around a compute-optimal model.

    Parameters
    ----------
    alpha, beta : float
        Exponents of the loss law in N and D.
    tpp_optimal : float
        Tokens per parameter of the compute-optimal model. For α = β this is (B/A)^(1/α) at every
        budget; otherwise it holds at the budget at hand.

    Raises
    ------
    ArgumentError
        If a number is not positive.

    Examples
    --------
    >>> tradeoff = CompressionTradeoff()
    >>> round(float(tradeoff.tpp(0.378))), round(float(tradeoff.compute_ratio(0.378)), 2)
    (234, 1.67)
    """

    alpha: float = 0.35
    beta: float = 0.35
    tpp_optimal: float = 20.0

    def __post_init__(self) -> None:
        _positive(alpha=self.alpha, beta=self.beta, tpp_optimal=self.tpp_optimal)

    @property
    def smallest_ratio(self) -> float:
        """Size ratio k_N below which no amount of data reaches the loss: the parameter wall."""
        return float((self.beta / (self.alpha + self.beta)) ** (1 / self.alpha))

    def tokens_ratio(self, size_ratio: ArrayLike) -> Floats:
        """Return k_D for k_N; `ArgumentError` at or below the parameter wall."""
        k = np.asarray(size_ratio, dtype=np.float64)
        if not (k > self.smallest_ratio).all():
            msg = (
                f"size_ratio must be above {self.smallest_ratio:.4g}, found {size_ratio!r}: a "
                "smaller model does not reach the loss with any amount of data."
            )
            raise ArgumentError(msg)
        # Shares of the reducible loss at the optimum, where α·A·N^(−α) = β·B·D^(−β).
        of_size = self.beta / (self.alpha + self.beta)
        left = (1 - of_size * k**-self.alpha) / (1 - of_size)
        return np.asarray(left ** (-1 / self.beta))

    def compute_ratio(self, size_ratio: ArrayLike) -> Floats:
        """Return C/C_opt = k_N·k_D."""
        return np.asarray(np.asarray(size_ratio, dtype=np.float64) * self.tokens_ratio(size_ratio))

    def tpp(self, size_ratio: ArrayLike) -> Floats:
        """Return tokens per parameter, TPP_opt·k_D/k_N."""
        k = np.asarray(size_ratio, dtype=np.float64)
        return np.asarray(self.tpp_optimal * self.tokens_ratio(k) / k)

    def size_ratio_for_tpp(self, tpp: float) -> float:
        """Return the size ratio k_N that a number of tokens per parameter stands for."""
        _positive(tpp=tpp)
        return self._invert(lambda k: float(np.log(self.tpp(k) / tpp)), upper=np.inf)

    def size_ratio_for_compute(self, compute_ratio: float) -> float:
        """Return the smaller of the two size ratios that cost `compute_ratio` ≥ 1.

        Raises
        ------
        ArgumentError
            If the ratio is below one: less compute than the optimum does not reach the loss.
        """
        if not compute_ratio >= 1:
            msg = f"compute_ratio must be at least 1, found {compute_ratio!r}."
            raise ArgumentError(msg)
        if compute_ratio == 1:
            return 1.0
        return self._invert(
            lambda k: float(np.log(self.compute_ratio(k) / compute_ratio)), upper=1.0
        )

    def _invert(self, gap: Callable[[float], float], *, upper: float) -> float:
        """Find where a function that falls from +∞ at the wall crosses zero."""
        from scipy.optimize import brentq

        wall = self.smallest_ratio
        low = next(
            k for k in wall * (1 + np.logspace(-0.25, -15, 60)) if k < upper and gap(float(k)) > 0
        )
        high = upper if np.isfinite(upper) else 1.0
        while gap(high) > 0:
            high *= 2
        return float(brentq(gap, low, high, xtol=1e-15, rtol=1e-14))


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            msg = f"{name} must be positive and finite, found {value!r}."
            raise ArgumentError(msg)
