"""Normalise curves with an offset that may be fitted."""

from __future__ import annotations

import xarray as xr

from workbench.collapse.offset import Offset, resolve_offset
from workbench.curves import normalize_by
from workbench.schema import add_history


def normalize(loss: xr.DataArray, *, offset: Offset = "zero") -> xr.DataArray:
    """Return ℓ = (L − offset)/(L_final − offset).

    Parameters
    ----------
    loss : DataArray (run, progress)
        Loss curves [nats/token] with their run coordinates, from ``on_progress`` or
        ``cube_curves``.
    offset : "zero", "fit" or float
        Nothing (divide by the final loss, Bergsma et al. 2025), the irreducible loss fitted to
        the final losses (Qiu et al. 2025, Eq. 1), or a number [nats/token].

    Returns
    -------
    DataArray (run, progress)
        Normalised loss, 1 at the end; ``attrs`` hold ``offset``, its interval and its method.

    Raises
    ------
    ArgumentError
        If `offset` is not one of its options.
    DataError
        If the fit is impossible or a run ends at or below the offset.
    """
    chosen = resolve_offset(loss, offset)
    ell = normalize_by(loss, offset=chosen.value)
    note = f"normalised with offset {chosen.value:.6g} ({chosen.method})"
    return ell.assign_attrs(
        offset_lower=chosen.lower,
        offset_upper=chosen.upper,
        offset_method=chosen.method,
        history=add_history(ell.to_dataset(), note).attrs["history"],
    )
