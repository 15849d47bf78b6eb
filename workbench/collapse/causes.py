"""What may put a run off the curve, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import xarray as xr

from workbench.text import percent

COORDINATES = {
    "tau": "τ",
    "tpp": "TPP",
    "schedule": "schedule",
    "decay_fraction": "decay fraction",
    "warmup_fraction": "warm-up fraction",
    "batch_size": "batch size",
}
_LEAST = 0.1


@dataclass(frozen=True)
class Cause:
    """One coordinate in which the run differs from the family.

    Parameters
    ----------
    coordinate : str
        Name of the run coordinate.
    value, usual : float or str
        The run's value and the family's.
    explained : float or None
        Share of the residual's sum of squares that goes away when what this coordinate does is
        taken off; None when no other run shows what it does.
    lower, upper : float or None
        Interval of that share over redrawn neighbours and family noise, 95 %.
    neighbours : int
        Runs behind it, 0 for a model.
    alone : bool
        Whether those runs differ from the family in this coordinate only.
    tied_with : tuple of str
        Coordinates (``model_size`` among them) that the neighbours cannot tell from this one.
    source : str
        "neighbours", or the name of the curve model.
    """

    coordinate: str
    value: float | str
    usual: float | str
    explained: float | None
    lower: float | None
    upper: float | None
    neighbours: int
    alone: bool
    tied_with: tuple[str, ...]
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        what = f"{COORDINATES[self.coordinate]} {_text(self.value)} (family {_text(self.usual)})"
        if self.explained is None:
            return f"{what}: no other run shows what that does"
        share = f"{what} explains {percent(max(self.explained, 0.0))}"
        if self.lower is not None and self.upper is not None and self.upper > 0:
            share += f" ({percent(max(self.lower, 0.0))} to {percent(max(self.upper, 0.0))})"
        if self.tied_with:
            tied = (COORDINATES.get(name, "size") for name in self.tied_with)
            share += f", not told apart from {', '.join(tied)}"
        return share if self.source == "neighbours" else f"{share} by {self.source}"


@dataclass(frozen=True)
class Diagnosis:
    """Why a run is off: its residual and the coordinates that explain it, best first.

    Parameters
    ----------
    run_id : str
        The run.
    residual : DataArray (progress)
        ℓ_run over the family's mean curve, minus 1, from `start` on.
    causes : tuple of Cause
        Best first; those that cannot be judged last.
    family : tuple of str
        The runs it was compared with.
    """

    run_id: str
    residual: xr.DataArray
    causes: tuple[Cause, ...]
    family: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the causes and the sentence."""
        return {"causes": [cause.to_dict() for cause in self.causes], "why": str(self)}

    def __str__(self) -> str:
        if not self.causes:
            return (
                f"Run {self.run_id} shares its recorded τ, TPP, schedule, warm-up and batch size "
                "with the family: none of them explains its residual."
            )
        best = self.causes[0].explained
        lead = (
            f"Residual of run {self.run_id}"
            if best is None or best >= _LEAST
            else f"Nothing recorded explains the residual of run {self.run_id}"
        )
        return f"{lead}: " + "; ".join(map(str, self.causes)) + "."


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
