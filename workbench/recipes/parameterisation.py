"""How rates, initial scale and decay follow width and depth, so that one setting serves all sizes.

Maximal-update parameterisation for Adam (Yang et al. 2022, arXiv:2203.03466, table 8) and CompleteP
(Dey et al. 2025, arXiv:2505.01618, table 1, with the two Adam epsilons of its equation 40). Our
trainer uses the first for rates with the second's residual branches; its decay acts on matrices
only and is set through τ, so ηλ does not depend on the width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from workbench.errors import ArgumentError

ParameterKind = Literal["embedding", "matrix"]
Parameterisation = Literal["standard", "mup", "completep"]
ParameterGroup = Literal["embedding", "hidden", "hidden_norm", "final_norm", "readout"]
PARAMETERISATIONS: tuple[Parameterisation, ...] = get_args(Parameterisation)
PARAMETER_GROUPS: tuple[ParameterGroup, ...] = get_args(ParameterGroup)
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


@dataclass(frozen=True)
class GroupRule:
    """Factors of one parameter group on the settings chosen at the base shape.

    Parameters
    ----------
    learning_rate, init_std, weight_decay, epsilon : float
        Factor on the base value; ``weight_decay`` 0 means the group does not decay.
    """

    learning_rate: float
    init_std: float
    weight_decay: float
    epsilon: float

    @property
    def decay_rate(self) -> float:
        """Factor on ηλ, hence 1/factor on τ."""
        return self.learning_rate * self.weight_decay


@dataclass(frozen=True)
class Scaling:
    """Rules that carry settings from a base shape to a wider or deeper model.

    Parameters
    ----------
    rule : {"standard", "mup", "completep"}
        ``standard`` changes nothing; ``mup`` follows the width and leaves λ alone;
        ``completep`` follows width and depth and multiplies the λ of hidden matrices by the width
        ratio, which keeps ηλ.
    width, base_width : int
        Model width and the width at which the settings were chosen.
    depth, base_depth : int
        Blocks, likewise; only ``completep`` looks at them.
    alpha : float
        Depth exponent of CompleteP; 1 is the one with complete feature learning.

    Raises
    ------
    ArgumentError
        If the rule is unknown or a size is not positive.

    Examples
    --------
    >>> Scaling("completep", width=1024, base_width=256).groups()["hidden"]
    GroupRule(learning_rate=0.25, init_std=0.5, weight_decay=4.0, epsilon=0.25)
    """

    rule: Parameterisation
    width: int
    base_width: int
    depth: int = 1
    base_depth: int = 1
    alpha: float = 1.0

    def __post_init__(self) -> None:
        _positive(
            width=self.width,
            base_width=self.base_width,
            depth=self.depth,
            base_depth=self.base_depth,
        )
        if self.rule not in PARAMETERISATIONS:
            msg = f"rule must be one of {', '.join(PARAMETERISATIONS)}, found {self.rule!r}."
            raise ArgumentError(msg)

    @property
    def width_ratio(self) -> float:
        """m_N, width over base width; 1 for ``standard``."""
        return 1.0 if self.rule == "standard" else self.width / self.base_width

    @property
    def depth_ratio(self) -> float:
        """m_L, depth over base depth; 1 unless ``completep``."""
        return self.depth / self.base_depth if self.rule == "completep" else 1.0

    @property
    def residual_multiplier(self) -> float:
        """Factor on every residual branch, m_L^(−α)."""
        return float(self.depth_ratio**-self.alpha)

    @property
    def logit_multiplier(self) -> float:
        """Factor on the logits, 1/m_N."""
        return 1 / self.width_ratio

    def attention_scale(self, head_size: int) -> float:
        """Return the factor on attention logits: 1/head size, ``standard`` 1/√head size."""
        _positive(head_size=head_size)
        return 1 / math.sqrt(head_size) if self.rule == "standard" else 1 / head_size

    def groups(self) -> dict[ParameterGroup, GroupRule]:
        """Return the factors of every parameter group."""
        m_n, deep = self.width_ratio, float(self.depth_ratio ** (self.alpha - 1))
        decay = m_n if self.rule == "completep" else 1.0
        outer = 1 / m_n if self.rule == "completep" else 1.0
        inner = outer * self.residual_multiplier
        return {
            "embedding": GroupRule(1.0, 1.0, 1.0, outer),
            "hidden": GroupRule(deep / m_n, m_n**-0.5, decay, inner),
            "hidden_norm": GroupRule(deep, 1.0, 0.0, inner),
            "final_norm": GroupRule(1.0, 1.0, 0.0, outer),
            "readout": GroupRule(1.0, 1.0, 1.0, outer),
        }

    def group_timescales(self, hidden_tau: float) -> dict[ParameterGroup, float]:
        """Return τ of every parameter group when the hidden matrices have `hidden_tau`.

        The hidden matrices' τ is the one the workbench calls τ. Groups without decay have an
        infinite one.
        """
        rules = self.groups()
        hidden = rules["hidden"].decay_rate
        return {
            name: hidden_tau * hidden / rule.decay_rate if rule.decay_rate else math.inf
            for name, rule in rules.items()
        }


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value <= 0:
            msg = f"{name} must be positive, found {value!r}."
            raise ArgumentError(msg)
