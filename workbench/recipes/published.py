"""The two model families of Bergsma et al. 2025 (arXiv:2509.25087), and the laws it prints.

Shapes are those of its tables 2 and 3, batch sizes those of table 2; the parameters and FLOP that
follow from them are worked out by `TransformerShape`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.recipes.architecture import TransformerShape

CELERITY_CONTEXT = 8192
CELERITY_TPP = (20, 80, 234)
# Sequences of `CELERITY_CONTEXT` a step, the same at every number of tokens per parameter.
CELERITY_SEQUENCES = {"300M": 176, "500M": 240, "900M": 336, "1.8B": 464, "3.9B": 672}


def celerity_shape(width: int, depth: int, heads: int) -> TransformerShape:
    """Return a model of the Celerity kind: squared ReLU 8 d wide, tables not tied."""
    return TransformerShape(
        width, depth, vocab=128_256, ffn_width=8 * width, context=CELERITY_CONTEXT, heads=heads
    )


def power_lines_shape(width: int, depth: int, ffn_width: int | None = None) -> TransformerShape:
    """Return a model of the original kind: SwiGLU 8/3 d wide, one tied table."""
    return TransformerShape(
        width,
        depth,
        vocab=50_257,
        ffn_width=ffn_width or round(8 * width / 3),
        context=2048,
        gated=True,
        tied=True,
        heads=max(1, width // 64),
    )


CELERITY = {
    "300M": celerity_shape(640, 13, 10),
    "500M": celerity_shape(896, 17, 14),
    "900M": celerity_shape(1152, 23, 9),
    "1.8B": celerity_shape(1536, 30, 12),
    "3.9B": celerity_shape(2048, 40, 16),
}
ORIGINAL = {
    "111M": power_lines_shape(768, 10),
    "266M": power_lines_shape(768, 32),
    "610M": power_lines_shape(2048, 10),
    "1.7B": power_lines_shape(2048, 32),
    "3.3B": power_lines_shape(2048, 64),
}


@dataclass(frozen=True)
class PrintedLaw:
    """A value that falls as (scale/x)^exponent: a loss, or 100 minus an accuracy.

    Parameters
    ----------
    scale, exponent : float
        As printed.
    x : str
        What the law is in.
    """

    scale: float
    exponent: float
    x: str

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return (scale/x)^exponent."""
        return np.asarray((self.scale / np.asarray(x, dtype=np.float64)) ** self.exponent)

    def accuracy(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return 100 − (scale/x)^exponent, percent."""
        return 100 - self(x)


# 100 minus the mean accuracy over seven tasks [percent].
CELERITY_ERROR_OF_COMPUTE = PrintedLaw(2.154e38, 0.097, "FLOP")
CELERITY_ERROR_OF_TOKENS = PrintedLaw(1.188e20, 0.189, "tokens")
CELERITY_ERROR_OF_SIZE = PrintedLaw(5.081e17, 0.189, "parameters")
# The same against size, for the families drawn beside Celerity in figures 19 and 20.
ERROR_OF_SIZE = {
    "celerity": CELERITY_ERROR_OF_SIZE,
    "smollm": PrintedLaw(6.197e21, 0.125, "parameters"),
    "smollm2": PrintedLaw(1.739e19, 0.153, "parameters"),
    "gemma2": PrintedLaw(2.674e18, 0.164, "parameters"),
    "gemma3": PrintedLaw(1.039e17, 0.199, "parameters"),
}
# Training loss [nats/token].
LOSS_OF_COMPUTE = {
    "celerity": PrintedLaw(5.105e29, 0.049, "FLOP"),
    "completep": PrintedLaw(2.069e29, 0.051, "FLOP"),
    "mup": PrintedLaw(1.729e31, 0.043, "FLOP"),
}
