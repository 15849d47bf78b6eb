"""Noisy-quadratic loss of one mode, for any schedule: what τ does to a loss curve.

The curve is what is left of the start, the bias, plus what the noise keeps up, the variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError
from workbench.laws.kernels_noisy_quadratic import (
    Floats,
    fading_start,
    nearest_start,
    second_moment,
)

_STARTS = np.logspace(-1, 4, 101)


def expected_loss(
    factor: ArrayLike, *, tau: float, start: float, noise: float, curvature: float = 1.0
) -> xr.DataArray:
    """Return the expected loss E[h·θ²/2] of one noisy quadratic mode.

    Parameters
    ----------
    factor : array-like of shape (steps,)
        Learning rate over its peak, one value per step of the whole run (`schedule_factors`).
    tau : float
        AdamW timescale at the peak rate, fraction of the run.
    start : float
        E[θ(0)²], what the run starts from.
    noise : float
        σ², variance of the averaged signal per unit of progress: s²/T for T steps whose signals
        are independent with variance s².
    curvature : float
        h, which scales the loss and leaves the normalised curve alone.

    Returns
    -------
    DataArray (progress)
        Loss at progress 0, 1/steps, …, 1, in the unit of h·θ².

    Raises
    ------
    ArgumentError
        If `tau` or `curvature` is not positive, `start` or `noise` is negative, or a factor is not
        in [0, 1].

    Notes
    -----
    Bergsma et al. 2025 (arXiv:2509.25087), Eq. 15, for a constant rate:
    E[L] = hσ²/(4τ)·(1 − e^(−2t/τ)) + h/2·e^(−2t/τ)·E[θ(0)²]. Here exact for any rate that is
    constant within each step: E[L] = hM/2, where M solves
    dM/dt = −2(η̂/τ)M + (η̂/τ)²σ².
    """
    rates = _checked_factor(factor)
    if not (tau > 0 and curvature > 0 and start >= 0 and noise >= 0):
        msg = (
            "tau and curvature must be above 0, start and noise at least 0, found "
            f"{tau, curvature, start, noise}."
        )
        raise ArgumentError(msg)
    attrs = {"long_name": "expected loss of a noisy quadratic mode", "tau": tau}
    values = 0.5 * curvature * second_moment(rates, tau, start, noise)
    return _on_progress(values, "loss", attrs)


def noisy_quadratic(
    factor: ArrayLike, *, tau: float, kappa: float | None = None, floor: float = 0.0
) -> xr.DataArray:
    """Return the normalised expected loss of one noisy quadratic mode.

    Parameters
    ----------
    factor : array-like of shape (steps,)
        Learning rate over its peak, one value per step of the whole run (`schedule_factors`).
    tau : float
        AdamW timescale at the peak rate, fraction of the run.
    kappa : float, optional
        2τ·E[θ(0)²]/σ², start over stationary level; by default 10. The curvature cancels.
    floor : float
        Irreducible loss in units of the final reducible loss, at least 0.

    Returns
    -------
    DataArray (progress)
        ℓ, exactly 1 at progress 1; progress 0 included.

    Raises
    ------
    ArgumentError
        If `tau` or `kappa` is not positive, `floor` is negative, or a factor is not in [0, 1].

    Notes
    -----
    Bergsma et al. 2025, Eqs. 10 to 16, there for a constant rate; here exact for any rate that is
    constant within each step. At a constant rate ℓ falls if and only if κ > 1: without the start's
    bias the curve rises.
    """
    rates, ratio = _checked(factor, tau, kappa, floor)
    moment = second_moment(rates, tau, ratio, 2 * tau)
    values = (moment / moment[-1] + floor) / (1 + floor)
    attrs = {"long_name": "normalised loss ℓ of a noisy quadratic mode", "units": "1"}
    return _on_progress(values, "normalized_loss", attrs | {"tau": tau, "kappa": ratio})


def noisy_quadratic_parts(
    factor: ArrayLike, *, tau: float, kappa: float | None = None, floor: float = 0.0
) -> xr.Dataset:
    """Return the curve of `noisy_quadratic` with its two parts.

    Parameters
    ----------
    factor, tau, kappa, floor
        As in `noisy_quadratic`.

    Returns
    -------
    Dataset (progress)
        ``normalized_loss``; ``bias``, what is left of the start, and ``variance``, what the noise
        keeps up, both over the reducible loss at the end: their sum ends at 1.
    """
    rates, ratio = _checked(factor, tau, kappa, floor)
    bias = ratio * fading_start(rates, tau)
    variance = second_moment(rates, tau, 0.0, 2 * tau)
    end = bias[-1] + variance[-1]
    described = {
        "bias": (bias / end, "left of the start, over the final reducible loss"),
        "variance": (variance / end, "kept up by the noise, over the final reducible loss"),
    }
    curve = noisy_quadratic(rates, tau=tau, kappa=ratio, floor=floor)
    parts = {
        name: ("progress", values, {"long_name": text, "units": "1"})
        for name, (values, text) in described.items()
    }
    return xr.Dataset({"normalized_loss": curve, **parts}, attrs={"tau": tau, "kappa": ratio})


def lowest_tau(factor: ArrayLike, *, start: float) -> float:
    """Return the τ with which one mode ends lowest, to 6 %.

    Below it the noise of a short average costs more, above it what is left of the start.

    Parameters
    ----------
    factor : array-like of shape (steps,)
        Learning rate over its peak, one value per step of the whole run.
    start : float
        E[θ(0)²]/σ².

    Returns
    -------
    float
        AdamW timescale, fraction of the run: the best of 121 between 0.01 and 10.

    Raises
    ------
    ArgumentError
        As `noisy_quadratic`.
    """
    trial = np.logspace(-2, 1, 121)
    rates, _ = _checked(factor, 1.0, start, 0.0)
    ends = [second_moment(rates, float(tau), start, 1.0)[-1] for tau in trial]
    return float(trial[int(np.argmin(ends))])


@dataclass(frozen=True)
class NearestMode:
    """The one mode nearest to a set of curves in mean square.

    Parameters
    ----------
    start : float
        E[θ(0)²]/σ²; κ = 2τ·start.
    floor : float
        Irreducible loss in units of the final reducible loss.
    error : float
        Mean over curves of the mean |ℓ̂ − ℓ| over progress ≥ `since`.
    n_curves : int
        Curves compared.
    """

    start: float
    floor: float
    error: float
    n_curves: int


def nearest_mode(
    ell: Floats, factor: Floats, tau: Floats, *, since: float = 0.2, most: int = 40
) -> NearestMode:
    """Return the start and the floor that bring one mode nearest to normalised curves.

    Parameters
    ----------
    ell : ndarray of shape (curve, steps)
        Normalised curves at progress 1/steps, …, 1, where they are 1.
    factor : ndarray of shape (curve, steps)
        Learning rate over its peak.
    tau : ndarray of shape (curve,)
        Timescales, fraction of the run.
    since, most : float, int
        Progress from which on they are compared; curves compared at most, spread evenly.

    Notes
    -----
    A picture of the mechanism, not a law: one mode has no power law, so no intervals are given.
    """
    rows = np.unique(np.linspace(0, len(ell) - 1, min(len(ell), most)).round().astype(int))
    ell, factor, tau = ell[rows], factor[rows], tau[rows]
    kept = slice(int(np.ceil(since * ell.shape[1])) - 1, None)
    left = np.stack([fading_start(f, t)[1:] for f, t in zip(factor, tau, strict=True)])
    pairs = zip(factor, tau, strict=True)
    noise = np.stack([second_moment(f, t, 0.0, 2 * t)[1:] for f, t in pairs])
    start, floor = nearest_start(ell[:, kept], left[:, kept], noise[:, kept], tau, _STARTS)
    moment = 2 * tau[:, None] * start * left + noise
    curves = (moment / moment[:, -1:] + floor) / (1 + floor)
    error = float(np.abs(curves - ell)[:, kept].mean())
    return NearestMode(start, floor, error, len(rows))


def _checked(
    factor: ArrayLike, tau: float, kappa: float | None, floor: float
) -> tuple[Floats, float]:
    rates = _checked_factor(factor)
    ratio = 10.0 if kappa is None else kappa
    if not (tau > 0 and ratio > 0 and floor >= 0):
        msg = f"tau and kappa must be above 0 and floor at least 0, found {tau, ratio, floor}."
        raise ArgumentError(msg)
    return rates, ratio


def _checked_factor(factor: ArrayLike) -> NDArray[np.float64]:
    rates = np.asarray(factor, dtype=np.float64)
    if rates.ndim != 1 or not len(rates) or not ((rates >= 0) & (rates <= 1)).all():
        msg = f"factor must be one value in [0, 1] per step, found shape {rates.shape}."
        raise ArgumentError(msg)
    return rates


def _on_progress(values: NDArray[np.float64], name: str, attrs: dict[str, Any]) -> xr.DataArray:
    progress = xr.Variable(
        "progress",
        np.arange(len(values)) / (len(values) - 1),
        {"units": "1", "long_name": "progress, share of the planned run"},
    )
    return xr.DataArray(
        values, dims="progress", coords={"progress": progress}, name=name, attrs=attrs
    )
