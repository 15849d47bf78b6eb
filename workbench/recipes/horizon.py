"""Published laws of how τ, batch size and learning rate follow the horizon.

Every law is one product of powers. It knows the range it was fitted on and says when it is asked
beyond it. Batch sizes are in tokens, whatever the paper prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError
from workbench.text import short_count

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HorizonLaw:
    """A quantity as coefficient times powers of what it depends on.

    Parameters
    ----------
    quantity : str
        What it gives, with unit.
    coefficient : float
        Value where all inputs are one.
    exponents : tuple of (name, exponent)
        Inputs: ``tpp``, ``model_size``, ``tokens_total``, ``compute`` [FLOP].
    source : str
        Where it was published, and what is uncertain about it.
    fitted : tuple of (name, low, high)
        Range of the inputs behind the fit.
    """

    quantity: str
    coefficient: float
    exponents: tuple[tuple[str, float], ...]
    source: str
    fitted: tuple[tuple[str, float, float], ...] = ()

    def __call__(self, **inputs: ArrayLike) -> Any:
        """Return the quantity; inputs the law does not use are ignored.

        Raises
        ------
        ArgumentError
            If an input the law needs is missing or not positive.
        """
        value: Any = self.coefficient
        for name, exponent in self.exponents:
            if name not in inputs:
                msg = f"The law of {self.quantity} needs {name}. Give it."
                raise ArgumentError(msg)
            given = np.asarray(inputs[name], dtype=np.float64)
            if not (given > 0).all():
                msg = f"{name} must be positive, found {inputs[name]!r}."
                raise ArgumentError(msg)
            value = value * given**exponent
        return float(value) if np.ndim(value) == 0 else value

    def beyond(self, **inputs: float) -> list[str]:
        """Say for which inputs the law is used outside the range it was fitted on."""
        return [
            f"{self.quantity} is extrapolated: {name} {_shown(inputs[name])} is outside "
            f"{_shown(low)} to {_shown(high)}."
            for name, low, high in self.fitted
            if name in inputs and not low * (1 - 0.01) <= inputs[name] <= high * (1 + 0.01)
        ]

    def __str__(self) -> str:
        powers = " · ".join(f"{name}^{exponent:g}" for name, exponent in self.exponents)
        return f"{self.quantity} = {self.coefficient:.4g} · {powers}"


_POWER_LINES = "Bergsma et al. 2025, arXiv:2505.13738"
_CELERITY = "Bergsma et al. 2025, arXiv:2509.25087"
_SECOND_HAND = "coefficient from secondary accounts"
_POWER_LINES_SIZES = ("model_size", 1.09e8, 3.33e9)
_SEQUENCE = 2048

TAU_POWER_LINES = HorizonLaw(
    "τ",
    1.084,
    (("tpp", -0.527),),
    f"{_POWER_LINES}; {_SECOND_HAND}, consistent with τ 0.22 at 20 tokens per parameter",
    (("tpp", 20.0, 1280.0), _POWER_LINES_SIZES),
)
TAU_CELERITY = HorizonLaw(
    "τ",
    0.78,
    (("tpp", -0.5),),
    f"{_CELERITY}; read off its τ of 0.175, 0.087 and 0.051 at 20, 80 and 234",
    (("tpp", 20.0, 234.0), ("model_size", 2.7e8, 3.9e9)),
)
BATCH_POWER_LINES = HorizonLaw(
    "batch size [tokens]",
    0.0306 * _SEQUENCE,
    (("tokens_total", 0.383),),
    f"{_POWER_LINES}; {_SECOND_HAND}",
    (("tokens_total", 2e9, 3e11),),
)
CRITICAL_BATCH = HorizonLaw(
    "critical batch size [tokens]",
    0.0471 * _SEQUENCE,
    (("tokens_total", 0.462),),
    f"{_POWER_LINES}; {_SECOND_HAND}, which give the exponent as 0.46 or 0.47",
    (("tokens_total", 2e9, 3e11),),
)
# One batch size a size, ∝ √D at 234 tokens per parameter. The coefficient is the one that gives
# all five of the paper's table 2 after rounding to 16 sequences of 8192 (7.119e-4 to 7.131e-4 do).
BATCH_CELERITY = HorizonLaw(
    "batch size [tokens]",
    7.125e-4 * 8192 * 234**0.5,
    (("model_size", 0.5),),
    f"{_CELERITY}; read off its table 2",
    (("model_size", 2.7e8, 3.9e9),),
)
LEARNING_RATE_DEEPSEEK = HorizonLaw(
    "learning rate", 0.3118, (("compute", -0.125),), "Bi et al. 2024, arXiv:2401.02954"
)
BATCH_DEEPSEEK = HorizonLaw(
    "batch size [tokens]", 0.2920, (("compute", 0.3271),), "Bi et al. 2024, arXiv:2401.02954"
)
LEARNING_RATE_STEP_LAW = HorizonLaw(
    "learning rate",
    1.79,
    (("model_size", -0.713), ("tokens_total", 0.307)),
    "Li et al. 2025, arXiv:2503.04715; embeddings not counted",
)
BATCH_STEP_LAW = HorizonLaw(
    "batch size [tokens]", 0.58, (("tokens_total", 0.571),), "Li et al. 2025, arXiv:2503.04715"
)
LAWS: dict[str, HorizonLaw] = {
    "tau-power-lines": TAU_POWER_LINES,
    "tau-celerity": TAU_CELERITY,
    "batch-power-lines": BATCH_POWER_LINES,
    "batch-celerity": BATCH_CELERITY,
    "batch-deepseek": BATCH_DEEPSEEK,
    "batch-step-law": BATCH_STEP_LAW,
    "critical-batch": CRITICAL_BATCH,
    "learning-rate-deepseek": LEARNING_RATE_DEEPSEEK,
    "learning-rate-step-law": LEARNING_RATE_STEP_LAW,
}


def tokens_to_same_loss(batch_size: ArrayLike, *, critical: ArrayLike) -> Floats:
    """Return tokens needed at a batch size over those needed at the smallest, 1 + B/B_crit.

    The hyperbola (D/D_min − 1)(S/S_min − 1) = 1 of McCandlish et al. 2018 (arXiv:1812.06162), with
    S = D/B steps and B_crit = D_min/S_min.
    """
    batch = np.asarray(batch_size, dtype=np.float64)
    return np.asarray(1 + batch / np.asarray(critical, dtype=np.float64))


def _shown(value: float) -> str:
    return short_count(value) if value >= 1e4 else f"{value:g}"
