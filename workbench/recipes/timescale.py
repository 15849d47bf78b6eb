"""Algebra of a training recipe: AdamW timescale, tokens, steps, tokens per parameter, compute.

AdamW with learning rate η and decay λ averages its updates over 1/(ηλ) steps. As a share of the
run that is τ = 1/(ηλT) = B/(ηλD) for T steps of B tokens, D = BT in all. Curves of different
sizes take one shape when τ, the tokens per parameter and the schedule agree
(Bergsma et al. 2025, arXiv:2509.25087, section 2; Wang & Aitchison 2024, arXiv:2405.13698).

Every function takes numbers or arrays that broadcast and returns the same.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError

Quantity = TypeVar("Quantity", float, NDArray[np.float64])


def timescale(
    *, peak_lr: Quantity, weight_decay: Quantity, batch_size: Quantity, tokens_total: Quantity
) -> Quantity:
    """Return τ = B/(ηλD), the AdamW timescale as a share of the run.

    Parameters
    ----------
    peak_lr : float or ndarray
        Peak learning rate η of the hidden matrices (after any width rule).
    weight_decay : float or ndarray
        AdamW decay λ, coupled to the learning rate as in PyTorch.
    batch_size : float or ndarray, tokens
        Tokens per step B.
    tokens_total : float or ndarray, tokens
        Planned tokens D.

    Returns
    -------
    float or ndarray, share of the run

    Raises
    ------
    ArgumentError
        If a value is not positive.

    Examples
    --------
    >>> tau = timescale(peak_lr=3e-4, weight_decay=0.1, batch_size=4e6, tokens_total=2e12)
    >>> round(tau, 3)
    0.067
    """
    _positive(
        peak_lr=peak_lr,
        weight_decay=weight_decay,
        batch_size=batch_size,
        tokens_total=tokens_total,
    )
    return batch_size / (peak_lr * weight_decay * tokens_total)


def weight_decay_for_tau(
    tau: Quantity, *, peak_lr: Quantity, batch_size: Quantity, tokens_total: Quantity
) -> Quantity:
    """Return the weight decay λ = B/(ητD) that gives `tau`; arguments as in `timescale`."""
    _positive(tau=tau, peak_lr=peak_lr, batch_size=batch_size, tokens_total=tokens_total)
    return batch_size / (peak_lr * tau * tokens_total)


def peak_lr_for_tau(
    tau: Quantity, *, weight_decay: Quantity, batch_size: Quantity, tokens_total: Quantity
) -> Quantity:
    """Return the peak learning rate η = B/(λτD) that gives `tau`; arguments as in `timescale`."""
    _positive(tau=tau, weight_decay=weight_decay, batch_size=batch_size, tokens_total=tokens_total)
    return batch_size / (weight_decay * tau * tokens_total)


def batch_size_for_tau(
    tau: Quantity, *, peak_lr: Quantity, weight_decay: Quantity, tokens_total: Quantity
) -> Quantity:
    """Return the batch size B = ηλτD [tokens] that gives `tau`; arguments as in `timescale`."""
    _positive(tau=tau, peak_lr=peak_lr, weight_decay=weight_decay, tokens_total=tokens_total)
    return peak_lr * weight_decay * tau * tokens_total


def tokens_for_tpp(tpp: Quantity, *, model_size: Quantity) -> Quantity:
    """Return the tokens D = TPP·N that give `tpp` tokens per parameter."""
    _positive(tpp=tpp, model_size=model_size)
    return tpp * model_size


def tokens_per_parameter(*, tokens_total: Quantity, model_size: Quantity) -> Quantity:
    """Return TPP = D/N."""
    _positive(tokens_total=tokens_total, model_size=model_size)
    return tokens_total / model_size


def steps_for_tokens(tokens_total: float, *, batch_size: float) -> int:
    """Return the whole number of steps nearest to D/B.

    Raises
    ------
    ArgumentError
        If one batch holds more tokens than the whole run may see.
    """
    _positive(tokens_total=tokens_total, batch_size=batch_size)
    if batch_size > tokens_total:
        msg = (
            f"batch_size is {batch_size:g} tokens but the run may see only {tokens_total:g}: not "
            "one whole step. Lower batch_size or raise tokens_total (or tpp)."
        )
        raise ArgumentError(msg)
    return round(tokens_total / batch_size)


def training_compute(*, model_size: Quantity, tokens_total: Quantity) -> Quantity:
    """Return the training compute C = 6ND [FLOP] (Kaplan et al. 2020, arXiv:2001.08361)."""
    _positive(model_size=model_size, tokens_total=tokens_total)
    return 6.0 * model_size * tokens_total


def _positive(**values: float | NDArray[np.float64]) -> None:
    for name, value in values.items():
        if not np.all(np.asarray(value, dtype=np.float64) > 0):
            msg = f"{name} must be positive, found {value!r}. Give a value above 0."
            raise ArgumentError(msg)
