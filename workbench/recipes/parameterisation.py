"""How learning rate and initial scale follow the width, so that one setting serves all sizes.

Maximal-update parameterisation for Adam (Yang et al. 2022, arXiv:2203.03466, table 8) in the form
our trainer uses: matrices whose fan-in grows with the width take a learning rate ∝ 1/width,
look-up tables keep the base rate; residual branches are scaled by 1/depth (Dey et al. 2025,
arXiv:2505.01618). Weight decay acts on matrices only and is set through τ, so the product ηλ does
not depend on the width.
"""

from __future__ import annotations

from typing import Literal

from workbench.errors import ArgumentError

ParameterKind = Literal["embedding", "matrix"]
BASE_DEPTH = 2


def learning_rate_multiplier(kind: ParameterKind, *, width: int, base_width: int) -> float:
    """Return the factor on the base learning rate for one kind of parameter.

    Parameters
    ----------
    kind : {"embedding", "matrix"}
        A look-up table over tokens, or a matrix whose fan-in is a multiple of the width.
    width : int
        Model width.
    base_width : int
        Width at which the learning rate was chosen.

    Returns
    -------
    float
        1 for embeddings, ``base_width / width`` for matrices.

    Raises
    ------
    ArgumentError
        If a width is not positive or the kind is unknown.
    """
    _positive(width=width, base_width=base_width)
    if kind not in ("embedding", "matrix"):
        msg = f"kind must be 'embedding' or 'matrix', found {kind!r}."
        raise ArgumentError(msg)
    return 1.0 if kind == "embedding" else base_width / width


def matrix_init_std(fan_in: int) -> float:
    """Return the standard deviation 1/√fan_in of a freshly drawn matrix."""
    _positive(fan_in=fan_in)
    return float(fan_in**-0.5)


def residual_multiplier(depth: int, *, base_depth: int = BASE_DEPTH) -> float:
    """Return the factor on every residual branch, ``base_depth / depth``."""
    _positive(depth=depth, base_depth=base_depth)
    return base_depth / depth


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value <= 0:
            msg = f"{name} must be positive, found {value!r}."
            raise ArgumentError(msg)
