"""The controls of a run as one system: give some, get the others.

ηλ·τ_steps = 1, τ·T = τ_steps, D = B·T and D = TPP·N tie nine quantities together. Whatever the
known ones determine is worked out, and what they contradict is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from workbench.errors import ArgumentError

Value = float | NDArray[np.float64]
# Each relation is a product of powers that equals one.
_RELATIONS: tuple[tuple[str, dict[str, int]], ...] = (
    ("tau_steps = 1/(peak_lr·weight_decay)", {"tau_steps": 1, "peak_lr": 1, "weight_decay": 1}),
    ("tau = tau_steps/total_steps", {"tau": 1, "total_steps": 1, "tau_steps": -1}),
    (
        "tokens_total = batch_size·total_steps",
        {"tokens_total": 1, "batch_size": -1, "total_steps": -1},
    ),
    ("tokens_total = tpp·model_size", {"tokens_total": 1, "tpp": -1, "model_size": -1}),
)
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Controls:
    """What is known of a run's recipe; None is not determined.

    Parameters
    ----------
    tau : float or ndarray, share of the run
        AdamW timescale τ = 1/(ηλT) = B/(ηλD).
    tau_steps : float or ndarray, steps
        1/(ηλ).
    peak_lr, weight_decay : float or ndarray
        η and λ of one parameter group; τ is that group's.
    batch_size, tokens_total : float or ndarray, tokens
        B and D.
    total_steps : float or ndarray, steps
        T, not rounded.
    model_size : float or ndarray, parameters
        N, by whatever convention `tpp` counts.
    tpp : float or ndarray, tokens per parameter
        D/N.
    """

    tau: Value | None = None
    tau_steps: Value | None = None
    peak_lr: Value | None = None
    weight_decay: Value | None = None
    batch_size: Value | None = None
    tokens_total: Value | None = None
    total_steps: Value | None = None
    model_size: Value | None = None
    tpp: Value | None = None

    def value(self, name: str) -> Value:
        """Return one quantity; `ArgumentError` says what to add when it is not determined."""
        found = asdict(self)
        if name not in found:
            msg = f"There is no control {name!r}. There are {', '.join(found)}."
            raise ArgumentError(msg)
        if found[name] is None:
            ways = [
                " and ".join(other for other in powers if other != name and found[other] is None)
                for _, powers in _RELATIONS
                if name in powers
            ]
            msg = f"{name} does not follow from what is given. Give it, or {', or '.join(ways)}."
            raise ArgumentError(msg)
        value: Value = found[name]
        return value


def solve_controls(known: Controls | None = None, **given: Value | None) -> Controls:
    """Work out every control that the known ones determine.

    Parameters
    ----------
    known : Controls, optional
        A base to complete, or
    **given : float or ndarray
        fields of `Controls` by name; arrays broadcast against one another.

    Returns
    -------
    Controls

    Raises
    ------
    ArgumentError
        If a name is unknown, a value is not positive, or the values contradict a relation.

    Examples
    --------
    >>> found = solve_controls(peak_lr=3e-4, weight_decay=0.1, batch_size=4e6, tokens_total=2e12)
    >>> round(found.value("tau"), 3), found.value("total_steps")
    (0.067, 500000.0)
    """
    values = _given(known, given)
    waiting = list(_RELATIONS)
    while True:
        ready = [(text, powers) for text, powers in waiting if _missing(powers, values) == 1]
        if not ready:
            break
        text, powers = ready[0]
        name = next(name for name in powers if name not in values)
        values[name] = _product(powers, values) ** -powers[name]
        waiting.remove((text, powers))
    for text, powers in waiting:
        if _missing(powers, values) == 0:
            _check(text, powers, values)
    return Controls(**values)


def _given(known: Controls | None, given: dict[str, Value | None]) -> dict[str, Value]:
    names = [field.name for field in fields(Controls)]
    unknown = [name for name in given if name not in names]
    if unknown:
        msg = f"There is no control {unknown[0]!r}. There are {', '.join(names)}."
        raise ArgumentError(msg)
    both = (asdict(known) if known else {}) | {k: v for k, v in given.items() if v is not None}
    values = {name: value for name, value in both.items() if value is not None}
    for name, value in values.items():
        array = np.asarray(value, dtype=np.float64)
        if not (np.isfinite(array).all() and (array > 0).all()):
            msg = f"{name} must be positive and finite, found {value!r}."
            raise ArgumentError(msg)
    return values


def _missing(powers: Iterable[str], values: dict[str, Value]) -> int:
    return sum(name not in values for name in powers)


def _product(powers: dict[str, int], values: dict[str, Value]) -> Value:
    """Return the product of the known factors of a relation."""
    product: Value = 1.0
    for name, power in powers.items():
        if name in values:
            product = product * values[name] if power > 0 else product / values[name]
    return product


def _check(text: str, powers: dict[str, int], values: dict[str, Value]) -> None:
    off = float(np.max(np.abs(np.asarray(_product(powers, values)) - 1)))
    if off > _TOLERANCE:
        shown = ", ".join(f"{name} = {values[name]!r}" for name in powers)
        msg = (
            f"{shown} contradict {text} by {100 * off:.3g} %. Leave one of them out and it is "
            "worked out from the others."
        )
        raise ArgumentError(msg)
