"""A decoder-only transformer in the numbers that matter: its parameters and its FLOP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError

Tokens = TypeVar("Tokens", float, NDArray[np.float64])
SizeConvention = Literal["all", "no_embedding", "no_input_embedding"]
FlopCount = Literal["6ND", "table9", "matmul"]
SIZE_CONVENTIONS: tuple[SizeConvention, ...] = get_args(SizeConvention)
FLOP_COUNTS: tuple[FlopCount, ...] = get_args(FlopCount)


@dataclass(frozen=True)
class TransformerShape:
    """Matrices of a decoder-only transformer; gains and biases, below 0.1 %, are not counted.

    Parameters
    ----------
    width, depth : int
        Model width d and blocks L.
    vocab : int
        Tokens in the vocabulary V.
    ffn_width : int
        Inner width of the feed-forward layer.
    context : int
        Input length S, tokens.
    gated : bool
        Whether the feed-forward layer has a gate (SwiGLU): three matrices instead of two.
    tied : bool
        Whether the read-out uses the token table.
    learned_positions : bool
        Whether there is a table of positions.
    heads, kv_heads : int, optional
        Attention heads, and those that keys and values share.

    Raises
    ------
    ArgumentError
        If a number is below one, or `kv_heads` does not divide `heads`.
    """

    width: int
    depth: int
    vocab: int
    ffn_width: int
    context: int = 2048
    gated: bool = False
    tied: bool = False
    learned_positions: bool = False
    heads: int | None = None
    kv_heads: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "depth", "vocab", "ffn_width", "context"):
            if getattr(self, name) < 1:
                msg = f"{name} must be at least 1, found {getattr(self, name)!r}."
                raise ArgumentError(msg)
        if self.kv_heads is not None and (not self.heads or self.heads % self.kv_heads):
            msg = (
                f"kv_heads must divide heads, found {self.kv_heads} and {self.heads}. "
                "Give heads as a multiple of kv_heads."
            )
            raise ArgumentError(msg)

    @property
    def table(self) -> int:
        """Parameters of the token table, V·d."""
        return self.vocab * self.width

    @property
    def block(self) -> int:
        """Parameters of one block: attention and feed-forward matrices."""
        shared = self.kv_heads / self.heads if self.kv_heads and self.heads else 1.0
        attention = round(2 * self.width**2 * (1 + shared))
        return attention + (3 if self.gated else 2) * self.width * self.ffn_width

    def model_size(self, convention: SizeConvention = "all") -> int:
        """Return the number of parameters N.

        Parameters
        ----------
        convention : {"all", "no_embedding", "no_input_embedding"}
            ``all`` counts every table, a tied one once (Qiu et al. 2025, Bergsma et al. 2025,
            Hoffmann et al. 2022); ``no_embedding`` only the blocks (Kaplan et al. 2020);
            ``no_input_embedding`` what multiplies every token, that is blocks and read-out.

        Raises
        ------
        ArgumentError
            If the convention is unknown.
        """
        blocks = self.depth * self.block
        positions = self.context * self.width if self.learned_positions else 0
        sizes = {
            "all": blocks + positions + (1 if self.tied else 2) * self.table,
            "no_embedding": blocks,
            "no_input_embedding": blocks + self.table,
        }
        if convention in sizes:
            return sizes[convention]
        msg = f"size_convention must be one of {', '.join(SIZE_CONVENTIONS)}, found {convention!r}."
        raise ArgumentError(msg)

    def flops(self, tokens: Tokens, count: FlopCount = "matmul") -> Tokens:
        """Return the FLOP of training on `tokens`, forward and backward.

        Parameters
        ----------
        tokens : float or ndarray, tokens
            Training tokens D.
        count : {"6ND", "table9", "matmul"}
            ``6ND`` with every table counted; ``table9`` the count of Bergsma et al. 2025
            (arXiv:2509.25087, table 9), 6ND − 2VdD + 3·L·C with C = 4DSd + 3DS + 2Dd² + Dd, which
            has the projection 2Dd² in both of its terms; ``matmul`` six per parameter that
            multiplies a token, and 12·L·S·d a token for attention without skipping what the
            causal mask hides.

        Raises
        ------
        ArgumentError
            If the count is unknown.
        """
        d, depth, s = self.width, self.depth, self.context
        attention = 4.0 * s * d + 3.0 * s + 2.0 * d**2 + d
        per_token = {
            "6ND": 6.0 * self.model_size(),
            "table9": 6.0 * self.model_size() - 2.0 * self.table + 3.0 * depth * attention,
            "matmul": 6.0 * self.model_size("no_input_embedding") + 12.0 * depth * s * d,
        }
        if count not in per_token:
            msg = f"count must be one of {', '.join(FLOP_COUNTS)}, found {count!r}."
            raise ArgumentError(msg)
        return per_token[count] * tokens

    def convert_tpp(
        self, tpp: Tokens, *, given: SizeConvention, wanted: SizeConvention = "all"
    ) -> Tokens:
        """Return tokens per parameter by another convention, for the same tokens."""
        return tpp * (self.model_size(given) / self.model_size(wanted))
