"""What a forecast says: a final loss with an interval, what it rests on, and the way there."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.forecast.combine import BackTest
from workbench.forecast.members import Member
from workbench.forecast.path import Path
from workbench.schema import LossName
from workbench.text import percent, plain, plural


@dataclass(frozen=True)
class FinalForecast:
    """Where a run will end.

    Parameters
    ----------
    run_id : str
        The run.
    at : float
        Share of the plan whose records were used.
    loss : str
        Which loss, nats/token.
    method : str
        How it was predicted: the members that carry weight.
    estimate, lower, upper : float
        Final loss and interval [nats/token].
    level : float
        Level of the interval.
    reference : tuple of str
        Runs it rests on.
    left_out : tuple of dict
        ``run_id`` and ``reason`` of references that could not be used.
    members : tuple of Member
        What each way says by itself.
    weights : dict of str to float
        Weight of each in the combination.
    tests : dict of str to BackTest
        How each did on the references.
    actual : float or None
        Final loss, where the run has ended; never used for the forecast.
    path : Path
        The way from `at` to the end.
    notes : tuple of str
        What to know before relying on it.
    """

    run_id: str
    at: float
    loss: LossName
    method: str
    estimate: float
    lower: float
    upper: float
    level: float
    reference: tuple[str, ...]
    left_out: tuple[dict[str, str], ...]
    members: tuple[Member, ...]
    weights: dict[str, float]
    tests: dict[str, BackTest]
    actual: float | None
    path: Path
    notes: tuple[str, ...]

    def predict(self, progress: ArrayLike) -> xr.Dataset:
        """Return ``loss``, ``lower`` and ``upper`` [nats/token] at progress between `at` and 1."""
        return self.path.interpolate(np.asarray(progress, dtype=np.float64))

    def to_dataset(self) -> xr.Dataset:
        """Return the predicted curve with the forecast in its attributes."""
        attrs = {
            "run_id": self.run_id,
            "at": self.at,
            "method": self.method,
            "final_loss": self.estimate,
            "level": self.level,
        }
        return self.path.to_dataset().assign_attrs(attrs)

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast as plain numbers and text, JSON-ready."""
        interval = {"lower": self.lower, "upper": self.upper, "level": self.level}
        content: dict[str, Any] = plain(
            {
                "run_id": self.run_id,
                "at": self.at,
                "loss": self.loss,
                "method": self.method,
                "reference": list(self.reference),
                "final_loss": {"estimate": self.estimate, **interval},
                "actual": self.actual,
                "curve": self.path.to_dict(),
                "members": [
                    {
                        "name": m.name,
                        "estimate": np.exp(m.log_loss),
                        "lower": np.exp(m.lower),
                        "upper": np.exp(m.upper),
                        "weight": self.weights.get(m.name, 0.0),
                        "back_test_rms": self.tests[m.name].rms if m.name in self.tests else None,
                        **m.detail,
                    }
                    for m in self.members
                ],
                "left_out": list(self.left_out),
                "notes": list(self.notes),
            }
        )
        return content

    def __str__(self) -> str:
        lines = [
            f"{self.run_id} will end at {self.loss} {self.estimate:.4f} nats/token "
            f"({self.lower:.4f} to {self.upper:.4f}, {100 * self.level:.0f} %), "
            f"from its first {percent(self.at)}",
            f"method {self.method}; {plural(len(self.reference), 'reference')}",
        ]
        if self.actual is not None:
            error = self.estimate - self.actual
            lines.append(f"it ended at {self.actual:.4f}: error {error:+.4f} nats/token")
        if len(self.members) > 1:
            lines += [
                f"{m.name}: {np.exp(m.log_loss):.4f}, weight {self.weights[m.name]:.2f}"
                for m in self.members
            ]
        if self.left_out:
            first = self.left_out[0]
            count = plural(len(self.left_out), "reference")
            lines.append(f"left out: {count}, first {first['run_id']} ({first['reason']})")
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        head, *rest = str(self).splitlines()
        rows = "".join(f"<li>{escape(line)}</li>" for line in rest)
        return f"<p><b>{escape(head)}</b></p><ul>{rows}</ul>"
