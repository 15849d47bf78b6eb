"""Noisy-quadratic loss of one mode, for any schedule: what τ does to a loss curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError
from workbench.laws.kernels_noisy_quadratic import second_moment


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
    rates = _checked_factor(factor)
    ratio = 10.0 if kappa is None else kappa
    if not (tau > 0 and ratio > 0 and floor >= 0):
        msg = f"tau and kappa must be above 0 and floor at least 0, found {tau, ratio, floor}."
        raise ArgumentError(msg)
    moment = second_moment(rates, tau, ratio, 2 * tau)
    values = (moment / moment[-1] + floor) / (1 + floor)
    attrs = {"long_name": "normalised loss ℓ of a noisy quadratic mode", "units": "1"}
    return _on_progress(values, "normalized_loss", attrs | {"tau": tau, "kappa": ratio})


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
