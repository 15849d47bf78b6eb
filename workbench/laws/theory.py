"""Normalised curves that theory predicts: balance of power laws, their sums, overtraining, noise.

x is compute, or tokens, as a share of the compute-optimal horizon; every curve is 1 at x = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError
from workbench.laws.kernels import Floats

Term = tuple[float, float, float]
"""Amplitude a, exponent μ of tokens t and exponent ν of parameters p of a term a·t^(−μ)·p^(−ν)."""

Phase = Literal["Ia", "Ib", "Ic", "II", "III", "IVa", "IVb"]
PHASES: tuple[Phase, ...] = get_args(Phase)


def balance_horizon(model_size: ArrayLike, *, mu: float, nu: float) -> Floats:
    """Return the optimal tokens t* = r^(−1/μ)·p^(ν/μ), r = ν/μ, of L = L0 + t^(−μ) + p^(−ν).

    At a fixed compute 6tp the optimum balances μ·t^(−μ) = ν·p^(−ν) (Qiu et al. 2025, Eq. 5-7).
    """
    _positive(mu=mu, nu=nu)
    return np.asarray((nu / mu) ** (-1 / mu) * np.asarray(model_size, np.float64) ** (nu / mu))


def balance_curve(x: ArrayLike, *, mu: float, nu: float) -> Floats:
    """Return ℓ(x) = (r·x^(−μ) + 1)/(r + 1), r = ν/μ: the same for every size.

    Parameters
    ----------
    x : array-like
        Share of the compute-optimal horizon, in (0, 1].
    mu, nu : float
        Exponents of tokens and of parameters.
    """
    _positive(mu=mu, nu=nu)
    r = nu / mu
    return np.asarray((r * np.asarray(x, np.float64) ** -mu + 1) / (r + 1))


def sum_curve(
    x: ArrayLike, model_size: ArrayLike, *, terms: Sequence[Term], gamma: float, kappa: float = 1.0
) -> Floats:
    """Return ℓ of L − L0 = Σ a·t^(−μ)·p^(−ν) with the horizon t* = κ·p^γ, shape (size, x).

    Sizes collapse as far as the smallest two of β = μγ + ν tie and the next lies well above
    (Qiu et al. 2025, theorem F.1).
    """
    share = np.asarray(x, np.float64)[None, :]
    size = np.asarray(model_size, np.float64)[:, None]
    parts = [
        a * (kappa * size**gamma * share) ** -mu * size**-nu for a, mu, nu in _checked_terms(terms)
    ]
    ends = [a * (kappa * size**gamma) ** -mu * size**-nu for a, mu, nu in terms]
    return np.asarray(np.sum(parts, axis=0) / np.sum(ends, axis=0))


def decay_exponents(terms: Sequence[Term], *, gamma: float) -> Floats:
    """Return β = μγ + ν of each term: how fast it falls with p along t* ∝ p^γ."""
    return np.array([mu * gamma + nu for _, mu, nu in _checked_terms(terms)])


def limit_curve(
    x: ArrayLike,
    *,
    terms: Sequence[Term],
    gamma: float,
    kappa: float = 1.0,
    tolerance: float = 1e-6,
) -> Floats:
    """Return the curve that large sizes collapse onto: only terms whose β ties for the smallest."""
    beta = decay_exponents(terms, gamma=gamma)
    tied = [term for term, b in zip(terms, beta, strict=True) if b <= beta.min() + tolerance]
    weight = np.array([a * kappa**-mu for a, mu, _ in tied])
    share = np.asarray(x, np.float64)
    parts = [w * share**-mu for w, (_, mu, _) in zip(weight, tied, strict=True)]
    return np.asarray(np.sum(parts, axis=0) / weight.sum())


def phase_two_terms(*, alpha: float, beta: float) -> tuple[Term, Term, Term]:
    """Return the terms of phase II of the random-features model (Paquette et al. 2024).

    p^(−2α), t^(−(2α+2β−1)/(2α)) and t^(−(1−1/(2α)))·p^(−1).
    """
    _positive(alpha=alpha, beta=beta)
    return (
        (1.0, 0.0, 2 * alpha),
        (1.0, (2 * alpha + 2 * beta - 1) / (2 * alpha), 0.0),
        (1.0, 1 - 1 / (2 * alpha), 1.0),
    )


def phase_exponents(phase: Phase, *, alpha: float, beta: float) -> tuple[float, float]:
    """Return e and γ of a phase: optimal p ∝ c^e, and t ∝ p^γ with γ = (1 − e)/e.

    Parameters
    ----------
    phase : {"Ia", "Ib", "Ic", "II", "III", "IVa", "IVb"}
        The "4+3 phases" of compute-optimal scaling (Paquette et al. 2024, arXiv:2405.15074).
    alpha, beta : float
        Decay of the data's spectrum and of the target's coefficients.

    Raises
    ------
    ArgumentError
        If there is no such phase, or its exponent at (alpha, beta) is not in (0, 1).
    """
    a, b = alpha, beta
    if phase not in PHASES:
        msg = f"phase must be one of {', '.join(PHASES)}, found {phase!r}."
        raise ArgumentError(msg)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = {
            "Ia": (1.0, 2 * a + 1),
            "Ib": (1.0, 2.0),
            "Ic": (1 - 2 * (a + b), 2 * (a * (2 * b - 3) - 2 * b + 1)),
            "II": (b, a + b),
            "III": (1.0, 2.0),
            "IVa": (1.0, 2.0),
            "IVb": (a - b, 2 * a * b + a - 2 * b),
        }[phase]
        e = float(np.divide(*fraction))
    if not 0 < e < 1:
        msg = f"phase {phase} has no exponent in (0, 1) at alpha {alpha:g}, beta {beta:g}: {e:g}."
        raise ArgumentError(msg)
    return e, (1 - e) / e


def overtraining_curve(progress: ArrayLike, *, overtraining: float, exponent: float) -> Floats:
    """Return ℓ(t̂) = (1 + v^(−a)·t̂^(−a))/(1 + v^(−a)) at a constant learning rate.

    Bergsma et al. 2025, Eq. 6-9, for L − E = A·N^(−a) + B·D^(−a).

    Parameters
    ----------
    progress : array-like
        Share of the run, in (0, 1].
    overtraining : float
        v, tokens per parameter over the optimal tokens per parameter.
    exponent : float
        The common exponent a.
    """
    _positive(overtraining=overtraining, exponent=exponent)
    weight = overtraining**-exponent
    share = np.asarray(progress, np.float64)
    return np.asarray((1 + weight * share**-exponent) / (1 + weight))


def _checked_terms(terms: Sequence[Term]) -> Sequence[Term]:
    if not terms or any(a <= 0 for a, _, _ in terms):
        msg = f"terms must be one or more (a, mu, nu) with a > 0, found {terms!r}."
        raise ArgumentError(msg)
    return terms


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            msg = f"{name} must be positive, found {value!r}. Give a value above 0."
            raise ArgumentError(msg)
