"""How a learning rate comes down: decay shapes with their exact integrals.

A shape takes the share `s` of the decay that has elapsed, 0 to 1, to a factor that goes from 1 to
`final`. The integral of the factor is known in closed form for every shape, so that the
gradient-flow time of a schedule needs no quadrature.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError

Floats = NDArray[np.float64]
DecayShape = Literal[
    "linear",
    "cosine",
    "1-sqrt",
    "quadratic",
    "square",
    "exponential",
    "harmonic",
    "multicosine",
]
DECAY_SHAPES: tuple[DecayShape, ...] = get_args(DecayShape)
# Shapes that approach their end by a ratio: they cannot end at zero.
RATIO_SHAPES: tuple[DecayShape, ...] = ("exponential", "harmonic")


def decay_factor(shape: DecayShape, elapsed: Floats, *, final: float = 0.0) -> Floats:
    """Return the factor after a share of the decay.

    Parameters
    ----------
    shape : str
        ``linear`` 1 − s; ``cosine`` (1 + cos πs)/2; ``1-sqrt`` 1 − √s (Hägele et al. 2024,
        arXiv:2405.18392); ``quadratic`` 1 − s², ``square`` (1 − s)² and ``multicosine``
        (1 + cos 3πs)/2 (Qiu et al. 2025, arXiv:2507.02119), each scaled to run from 1 to `final`;
        ``exponential`` final^s; ``harmonic`` 1/(s/final + 1 − s), linear in 1/η (Wen et al. 2024,
        arXiv:2410.05192).
    elapsed : ndarray
        Share s of the decay, 0 to 1.
    final : float
        Factor at s = 1.

    Returns
    -------
    ndarray, same shape as `elapsed`

    Raises
    ------
    ArgumentError
        If the shape is unknown, or `final` is 0 for a shape that cannot reach it.
    """
    check_decay(shape, final)
    s = np.asarray(elapsed, dtype=np.float64)
    if shape == "exponential":
        return np.asarray(final**s)
    if shape == "harmonic":
        return np.asarray(1 / (s / final + 1 - s))
    return np.asarray(final + (1 - final) * _unit(shape, s))


def decay_integral(shape: DecayShape, elapsed: Floats, *, final: float = 0.0) -> Floats:
    """Return ∫₀ˢ of `decay_factor`; arguments and errors as there."""
    check_decay(shape, final)
    s = np.asarray(elapsed, dtype=np.float64)
    if shape in RATIO_SHAPES and final == 1:
        return s.copy()
    if shape == "exponential":
        return np.asarray(np.expm1(s * np.log(final)) / np.log(final))
    if shape == "harmonic":
        rate = 1 / final - 1
        return np.asarray(np.log1p(rate * s) / rate)
    return np.asarray(final * s + (1 - final) * _unit_integral(shape, s))


def check_decay(shape: str, final: float) -> None:
    """Raise `ArgumentError` unless `shape` is known and can end at `final`."""
    if shape not in DECAY_SHAPES:
        msg = f"decay_shape must be one of {', '.join(DECAY_SHAPES)}, found {shape!r}."
        raise ArgumentError(msg)
    if not 0 <= final <= 1:
        msg = f"final_lr_fraction must be in [0, 1], found {final!r}."
        raise ArgumentError(msg)
    if shape in RATIO_SHAPES and final == 0:
        msg = (
            f"final_lr_fraction is 0 but the decay shape {shape!r} never reaches zero. "
            "Give final_lr_fraction above 0, for instance 0.1."
        )
        raise ArgumentError(msg)


def _unit(shape: DecayShape, s: Floats) -> Floats:
    match shape:
        case "cosine":
            return np.asarray((1 + np.cos(np.pi * s)) / 2)
        case "1-sqrt":
            return 1 - np.sqrt(s)
        case "quadratic":
            return 1 - s**2
        case "square":
            return (1 - s) ** 2
        case "multicosine":
            return np.asarray((1 + np.cos(3 * np.pi * s)) / 2)
    return 1 - s


def _unit_integral(shape: DecayShape, s: Floats) -> Floats:
    match shape:
        case "cosine":
            return np.asarray(s / 2 + np.sin(np.pi * s) / (2 * np.pi))
        case "1-sqrt":
            return s - 2 / 3 * s**1.5
        case "quadratic":
            return s - s**3 / 3
        case "square":
            return (1 - (1 - s) ** 3) / 3
        case "multicosine":
            return np.asarray(s / 2 + np.sin(3 * np.pi * s) / (6 * np.pi))
    return s - s**2 / 2
