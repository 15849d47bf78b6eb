"""Hyper-parameters as the registry keeps them: canonical names, plain numbers and text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from workbench.errors import ArgumentError
from workbench.schema import RECORD_FIELDS, RUN_FIELDS, canonical_record_name, canonical_run_name

_OWN = ("run_id", "family", "status")


def clean_attributes(attributes: Mapping[str, Any]) -> dict[str, float | str]:
    """Return hyper-parameters under canonical names; what was not recorded is left out.

    Parameters
    ----------
    attributes : mapping of str to number, text, bool or None
        NaN, None and "" mean not recorded.

    Returns
    -------
    dict of str to float or str

    Raises
    ------
    ArgumentError
        If a name is taken, or a value is neither a finite number nor text.
    """
    out: dict[str, float | str] = {}
    for given, value in attributes.items():
        name = canonical_run_name(given).replace("/", "_")
        if name in _OWN or name in RECORD_FIELDS or name == "row_size":
            msg = (
                f"{given!r} cannot be a hyper-parameter: the name is taken by the store or by a "
                "logged column. Give it another name."
            )
            raise ArgumentError(msg)
        known = _plain(given, value)
        if known is None:
            continue
        field = RUN_FIELDS.get(name)
        out[name] = str(known) if field is not None and field.kind == "text" else known
        if field is not None and field.kind == "number" and isinstance(known, str):
            msg = f"hyper-parameter {given!r} is a number, found the text {known!r}. Give a number."
            raise ArgumentError(msg)
    return out


def _plain(name: str, value: Any) -> float | str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, Real):
        number = float(value)
        if math.isinf(number):
            msg = f"hyper-parameter {name!r} is infinite. Give a finite number."
            raise ArgumentError(msg)
        return None if math.isnan(number) else number
    msg = (
        f"hyper-parameter {name!r} is a {type(value).__name__}; the store keeps numbers and text. "
        "Pass its parts as separate hyper-parameters, or as text."
    )
    raise ArgumentError(msg)


def clean_points(step: Any, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return logged columns under canonical names as equally long arrays.

    Parameters
    ----------
    step : int or array-like of int, shape (point,)
        Optimiser steps.
    columns : mapping of str to float or array-like of shape (point,)
        Logged values; NaN means not logged.

    Returns
    -------
    dict of str to ndarray of shape (point,)

    Raises
    ------
    ArgumentError
        If steps are not whole numbers >= 0, lengths differ, or a value is not a number.
    """
    steps = np.atleast_1d(np.asarray(step))
    whole = steps.ndim == 1 and np.issubdtype(steps.dtype, np.number)
    if not whole or not np.isfinite(steps).all() or (steps < 0).any() or (steps % 1 != 0).any():
        msg = f"step must be whole numbers >= 0, found {step!r}. Log the optimiser step."
        raise ArgumentError(msg)
    out: dict[str, np.ndarray] = {"step": steps.astype(np.int64)}
    for given, values in columns.items():
        name = canonical_record_name(given).replace("/", "_")  # as Zarr would name a folder
        if name in RUN_FIELDS or name in (*_OWN, "row_size", "step"):
            msg = f"{given!r} is one value a run, not one a step: pass it when the run starts."
            raise ArgumentError(msg)
        try:
            array = np.atleast_1d(np.asarray(values, dtype=np.float64))
        except (TypeError, ValueError):
            msg = f"{given!r} must hold numbers, found {values!r}. Convert it before logging."
            raise ArgumentError(msg) from None
        if name in out:
            msg = f"{name!r} is given twice, the second time as {given!r}. Log it once a step."
            raise ArgumentError(msg)
        if array.shape != steps.shape:
            msg = (
                f"{given!r} has {array.size} values for {steps.size} steps. Give one value a step."
            )
            raise ArgumentError(msg)
        out[name] = array
    return out
