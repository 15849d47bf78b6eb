"""Noisy-quadratic curve of one mode, normalised, for any schedule: what τ does to a loss curve."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError
from workbench.laws.kernels_noisy_quadratic import second_moment


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
    rates = np.asarray(factor, dtype=np.float64)
    ratio = 10.0 if kappa is None else kappa
    if rates.ndim != 1 or not len(rates) or not ((rates >= 0) & (rates <= 1)).all():
        msg = f"factor must be one value in [0, 1] per step, found shape {rates.shape}."
        raise ArgumentError(msg)
    if not (tau > 0 and ratio > 0 and floor >= 0):
        msg = f"tau and kappa must be above 0 and floor at least 0, found {tau, ratio, floor}."
        raise ArgumentError(msg)
    moment = second_moment(rates, tau, ratio, 2 * tau)
    values = (moment / moment[-1] + floor) / (1 + floor)
    progress = xr.Variable(
        "progress",
        np.arange(len(values)) / (len(values) - 1),
        {"units": "1", "long_name": "progress, share of the planned run"},
    )
    attrs = {"long_name": "normalised loss ℓ of a noisy quadratic mode", "units": "1"}
    return xr.DataArray(
        values,
        dims="progress",
        coords={"progress": progress},
        name="normalized_loss",
        attrs=attrs | {"tau": tau, "kappa": ratio},
    )
