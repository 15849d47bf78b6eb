"""Filters on run coordinates: ``NAME OP VALUE``, combined with and; nothing is ever evaluated."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import ArgumentError, DataError
from workbench.schema.runs import coordinate_names, take_runs

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
_PATTERN = re.compile(r"\s*(?P<name>[\w./-]+?)\s*(?P<op>!=|<=|>=|=|<|>)\s*(?P<value>.*?)\s*")
_RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Filter:
    """One condition on a run coordinate; `values` has several entries for "any of"."""

    name: str
    op: Operator
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}{self.op}{','.join(self.values)}"


def parse_filter(text: str) -> Filter:
    """Read ``NAME OP VALUE`` with OP one of ``= != < <= > >=``; ``NAME=a,b`` means any of.

    Raises
    ------
    ArgumentError
        If the text does not have that form.
    """
    match = _PATTERN.fullmatch(text)
    if match is None or not match["value"]:
        msg = (
            f"--where takes NAME OP VALUE with OP one of = != < <= > >=, found {text!r}. "
            "Example: --where 'tpp>=18' --where schedule=linear,cosine"
        )
        raise ArgumentError(msg)
    values = tuple(part.strip() for part in match["value"].split(","))
    if match["op"] not in ("=", "!=") and len(values) > 1:
        msg = f"--where {text!r}: only = and != take a list of values; give one value with a bound."
        raise ArgumentError(msg)
    return Filter(match["name"], match["op"], values)  # type: ignore[arg-type]


def matching(runs: xr.Dataset, filters: Sequence[Filter | str]) -> NDArray[np.bool_]:
    """Return which runs meet every filter.

    Parameters
    ----------
    runs : Dataset (run, ...)
        Anything with run coordinates.
    filters : sequence of Filter or str
        Conditions, all of which must hold.

    Returns
    -------
    ndarray of bool, shape (run,)
        A coordinate that was not recorded for a run (NaN or "") meets no filter but ``!=``.

    Raises
    ------
    ArgumentError
        If a coordinate does not exist or a number is compared with text.
    """
    keep = np.ones(runs.sizes["run"], dtype=bool)
    for item in filters:
        keep &= _holds(runs, parse_filter(item) if isinstance(item, str) else item)
    return keep


def select_runs(runs: xr.Dataset, filters: Sequence[Filter | str]) -> xr.Dataset:
    """Keep the runs that meet every filter; `DataError` when none does."""
    keep = matching(runs, filters)
    if not keep.any():
        said = " and ".join(str(f) for f in filters) or "no filter"
        msg = (
            f"No run matches {said}: 0 of {runs.sizes['run']} runs. "
            "List what is there with: workbench runs"
        )
        raise DataError(msg)
    return runs if keep.all() else take_runs(runs, keep)


def require_coordinate(runs: xr.Dataset, name: str) -> None:
    """Raise `ArgumentError`, with the nearest names, when `runs` has no coordinate `name`."""
    names = coordinate_names(runs)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        msg = f"Unknown run coordinate {name!r}.{hint} These runs have: {', '.join(names)}."
        raise ArgumentError(msg)


def _holds(runs: xr.Dataset, condition: Filter) -> NDArray[np.bool_]:
    require_coordinate(runs, condition.name)
    column = runs[condition.name].to_numpy()
    if not np.issubdtype(column.dtype, np.number):
        return _text_holds(column.astype(str), condition)
    wanted = [_number(value, condition) for value in condition.values]
    close = np.logical_or.reduce(
        [np.isclose(column, value, rtol=_RELATIVE_TOLERANCE, atol=0) for value in wanted]
    )
    match condition.op:
        case "=":
            return np.asarray(close)
        case "!=":
            return np.asarray(~close)
        case "<":
            return np.asarray((column < wanted[0]) & ~close)
        case "<=":
            return np.asarray((column < wanted[0]) | close)
        case ">":
            return np.asarray((column > wanted[0]) & ~close)
        case ">=":
            return np.asarray((column > wanted[0]) | close)


def _text_holds(column: NDArray[np.str_], condition: Filter) -> NDArray[np.bool_]:
    if condition.op not in ("=", "!="):
        msg = f"{condition.name!r} is text: filter it with = or !=, not {condition.op!r}."
        raise ArgumentError(msg)
    among = np.isin(column, condition.values)
    return among if condition.op == "=" else ~among


def _number(value: str, condition: Filter) -> float:
    try:
        return float(value)
    except ValueError:
        msg = f"{condition.name!r} is a number, found {value!r} in the filter {condition}."
        raise ArgumentError(msg) from None
