"""L/L(1) beside excess loss, where the irreducible loss is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from workbench.collapse.statistics import crossing, deviation, noise_floor
from workbench.collapse.verdict import HALF
from workbench.curves import final_loss
from workbench.text import percent_two_digits

_SIZES = 2


@dataclass(frozen=True)
class Normalisation:
    """One way to normalise, with its half-way numbers.

    Parameters
    ----------
    name, formula : str
        What it is called and its definition.
    curves : DataArray (run, progress)
        Normalised loss.
    deviation_half : float
        Δ half-way.
    noise_half : float or None
        σ half-way, None without replicates.
    beyond : float or None
        Progress from which on Δ < σ.
    """

    name: str
    formula: str
    curves: xr.DataArray
    deviation_half: float
    noise_half: float | None
    beyond: float | None

    @property
    def ratio(self) -> float | None:
        """Return Δ/σ half-way."""
        return None if not self.noise_half else self.deviation_half / self.noise_half

    @property
    def collapses(self) -> bool | None:
        """Whether Δ < σ from half-way or earlier; None without replicates."""
        if self.noise_half is None:
            return None
        return self.beyond is not None and self.beyond <= HALF


def two_normalisations(curves: xr.DataArray) -> tuple[Normalisation, Normalisation] | None:
    """Compare L/L(1) with (L − H)/(L(1) − H), H the known irreducible loss of each run.

    Parameters
    ----------
    curves : DataArray (run, progress)
        Loss of finished runs [nats/token], with ``irreducible_loss`` where it is known.

    Returns
    -------
    (Normalisation, Normalisation) or None
        None when H is unknown for a run, or runs of fewer than two sizes end above it.
    """
    if "irreducible_loss" not in curves.coords:
        return None
    entropy = curves["irreducible_loss"]
    if not curves.sizes["run"] or bool(entropy.isnull().any()):
        return None
    above = curves.isel(run=np.flatnonzero((final_loss(curves) > entropy).to_numpy()))
    if len(np.unique(above["model_size"])) < _SIZES:
        return None
    excess = above - above["irreducible_loss"]
    return (
        _normalised("Loss", "L / L(1)", above),
        _normalised("Excess loss", "(L − H) / (L(1) − H)", excess),
    )


def _normalised(name: str, formula: str, loss: xr.DataArray) -> Normalisation:
    ell = loss / final_loss(loss)
    delta, sigma = deviation(ell), noise_floor(loss)
    return Normalisation(
        name=name,
        formula=formula,
        curves=ell,
        deviation_half=_half(delta),
        noise_half=None if sigma is None else _half(sigma),
        beyond=None if sigma is None else crossing(delta, sigma),
    )


def _half(curve: xr.DataArray) -> float:
    return float(curve.sel(progress=HALF, method="nearest"))


def comparison_sentence(pair: tuple[Normalisation, Normalisation]) -> str:
    """Say in one sentence what the two normalisations show; every number is computed."""
    whole, excess = pair
    halves = [
        f"{_half_way(excess)} for {excess.formula}",
        f"{_half_way(whole)} for {whole.formula}",
    ]
    if excess.collapses is None:
        return (
            "Whether excess loss collapses cannot be judged without a second seed of one setting; "
            f"half-way Δ is {halves[0]} and {halves[1]}."
        )
    verb = "collapses" if excess.collapses else "does not collapse"
    return f"Excess loss {verb} at this scale: half-way Δ is {halves[0]}, against {halves[1]}."


def _half_way(one: Normalisation) -> str:
    delta = percent_two_digits(one.deviation_half)
    if one.ratio is None:
        return delta
    return f"{delta} ({one.ratio:.2g} times seed noise)"
