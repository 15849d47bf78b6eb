"""What every fitted law gives: numbers with intervals, the method behind them, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

import xarray as xr

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    estimate: float
    lower: float
    upper: float

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers by name."""
        return {"estimate": self.estimate, "lower": self.lower, "upper": self.upper}

    def __str__(self) -> str:
        return f"{self.estimate:.6g} ({self.lower:.6g} to {self.upper:.6g})"


@dataclass(frozen=True, kw_only=True)
class FittedLaw:
    """Base of fitted laws; a subclass names its `law`, its `formula` and its parameters `names`.

    Parameters
    ----------
    objective : float
        What was minimised, at the minimum.
    n_points : int
        Points fitted.
    interval : str
        How the intervals were made.
    level : float
        Level of the intervals.
    warnings : tuple of str
        What the data do not pin down, and what was left out.
    """

    objective: float
    n_points: int
    interval: str
    level: float = LEVEL
    warnings: tuple[str, ...] = ()

    law: ClassVar[str]
    formula: ClassVar[str]
    names: ClassVar[tuple[str, ...]]

    @property
    def params(self) -> dict[str, Estimate]:
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in self.names}

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain numbers and text."""
        return {
            "law": self.law,
            "formula": self.formula,
            "params": {name: found.to_dict() for name, found in self.params.items()},
            "objective": self.objective,
            "n_points": self.n_points,
            "level": self.level,
            "interval": self.interval,
            "warnings": list(self.warnings),
        }

    def to_dataset(self) -> xr.Dataset:
        """Return the parameters as a dataset with dims ``parameter``."""
        rows = self.params
        columns = {
            key: ("parameter", [row.to_dict()[key] for row in rows.values()])
            for key in ("estimate", "lower", "upper")
        }
        attrs = {"law": self.law, "formula": self.formula, "level": self.level}
        attrs |= {"interval": self.interval, "objective": self.objective}
        return xr.Dataset(columns, coords={"parameter": list(rows)}, attrs=attrs)

    def __str__(self) -> str:
        head = f"{self.formula}; {self.n_points} points"
        rows = [f"{name} = {found}" for name, found in self.params.items()]
        how = f"intervals {100 * self.level:.0f} %: {self.interval}; objective {self.objective:.4g}"
        return "\n".join([head, *rows, how, *self.warnings])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{name}</th><td>{p.estimate:.5g}</td><td>{p.lower:.5g} to {p.upper:.5g}</td>"
            for name, p in self.params.items()
        )
        notes = "".join(f"<li>{escape(text)}</li>" for text in self.warnings)
        return (
            f"<b>{escape(self.formula)}</b><table><tr><th></th><th>estimate</th>"
            f"<th>{100 * self.level:.0f} % interval</th></tr>{rows}</table><ul>{notes}</ul>"
        )
