"""Smooth curves on the progress grid; every smoother states its name and its width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import kernels, kernels_smooth
from workbench.errors import ArgumentError

Smoother = Literal[
    "local-line",
    "moving-average",
    "exponential",
    "median",
    "savitzky-golay",
    "lowess",
    "isotonic",
    "trailing-average",
    "trailing-exponential",
]
SMOOTHERS: tuple[Smoother, ...] = get_args(Smoother)
_KERNELS: dict[Smoother, Callable[..., NDArray[np.float64]]] = {
    "local-line": kernels.local_linear,
    "moving-average": kernels_smooth.moving_average,
    "exponential": kernels_smooth.exponential,
    "median": kernels_smooth.median,
    "savitzky-golay": kernels_smooth.savitzky_golay,
    "lowess": kernels_smooth.lowess,
    "isotonic": kernels_smooth.isotonic,
    "trailing-average": kernels_smooth.trailing_average,
    "trailing-exponential": kernels_smooth.trailing_exponential,
}
_WIDTH_MEANS = {
    "exponential": "weights halve every quarter of it",
    "trailing-average": "lags by half of it",
    "trailing-exponential": "weights halve every half of it; lags by 0.72 of it",
}


def smooth(loss: xr.DataArray, *, width: float, smoother: Smoother = "local-line") -> xr.DataArray:
    """Smooth curves.

    Parameters
    ----------
    loss : DataArray (..., progress)
        Curves on a uniform progress grid.
    width : float
        Full width of the window as a share of the run, in [0, 0.5]; 0 leaves the curves alone.
    smoother : str
        One of `SMOOTHERS`. ``"local-line"`` keeps the trend at the ends of a curve and is the
        default; ``"moving-average"``, ``"exponential"`` and ``"median"`` shrink their window
        symmetrically there; ``"savitzky-golay"`` and ``"lowess"`` end in a parabola and a line;
        ``"isotonic"`` needs no width beyond being asked for. The two trailing ones are those of
        published figures (Bergsma et al. 2025: moving average; Qiu et al. 2025: exponential):
        they lag, and lift the end of a falling curve.

    Returns
    -------
    DataArray (..., progress)
        ``attrs["smoothing"]`` states the smoother and its width.

    Raises
    ------
    ArgumentError
        If `width` is outside [0, 0.5] or `smoother` is unknown.
    """
    if not 0 <= width <= 0.5:
        msg = f"smoothing width must be a share of the run in [0, 0.5], found {width}."
        raise ArgumentError(msg)
    if smoother not in SMOOTHERS:
        msg = f"smoother must be one of {', '.join(SMOOTHERS)}, found {smoother!r}."
        raise ArgumentError(msg)
    half = half_width(width, loss.sizes["progress"])
    smoothed: xr.DataArray = xr.apply_ufunc(
        _KERNELS[smoother],
        loss,
        kwargs={"half_width": half},
        input_core_dims=[["progress"]],
        output_core_dims=[["progress"]],
        dask="parallelized",
        output_dtypes=[float],
        keep_attrs=True,
    )
    return smoothed.assign_attrs(smoothing=_said(smoother, width) if half else "none")


def _said(smoother: Smoother, width: float) -> str:
    if smoother == "isotonic":
        return "isotonic (never rises), no window"
    said = f"{smoother.replace('-', ' ')}, {100 * width:g} % of the run"
    extra = _WIDTH_MEANS.get(smoother)
    return f"{said} ({extra})" if extra else said


def half_width(width: float, points: int) -> int:
    """Return the half-width in grid cells of a smoothing `width` given as a share of the run."""
    return int(np.floor(width * points / 2 + 0.5))
