"""L/L(1) beside excess loss, where the irreducible loss is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from workbench.collapse import crossing, deviation, noise_floor
from workbench.collapse.verdict import HALF
from workbench.curves import final_loss

_RATIO_FLOOR = 1.0
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
    if whole.ratio is None or excess.ratio is None:
        return (
            f"Half-way Δ is {_percent(whole.deviation_half)} for {whole.formula} and "
            f"{_percent(excess.deviation_half)} for excess loss; a second seed of one setting is "
            "needed to judge either."
        )
    verb = "collapses" if excess.collapses else "does not collapse"
    other = "does" if whole.collapses else "does not"
    joined = "and" if bool(excess.collapses) == bool(whole.collapses) else "while"
    also = "neither does" if not (excess.collapses or whole.collapses) else None
    tail = f"{joined} {also} {whole.formula}" if also else f"{joined} {whole.formula} {other}"
    if excess.collapses and whole.collapses:
        tail = f"and so does {whole.formula}"
    return (
        f"Excess loss {verb} at this scale: half-way its spread is {_times(excess.ratio)} seed "
        f"noise, {tail} ({_times(whole.ratio)} seed noise)."
    )


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio >= _RATIO_FLOOR / 10 else f"{ratio:.2g} times"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
