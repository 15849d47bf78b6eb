"""From ragged runs to comparable curves: resample, smooth, normalise, arrange in a cube."""

from __future__ import annotations

from workbench.curves.cube import cube_curves, snap, to_cube
from workbench.curves.resample import (
    COMPLETE,
    POINTS,
    default_loss,
    is_complete,
    on_progress,
    record_progress,
    require_loss,
)
from workbench.curves.smoothing import SMOOTHERS, Smoother, half_width, smooth
from workbench.curves.transform import X_AXES, XAxis, final_loss, normalize_by, x_scale

__all__ = [
    "COMPLETE",
    "POINTS",
    "SMOOTHERS",
    "X_AXES",
    "Smoother",
    "XAxis",
    "cube_curves",
    "default_loss",
    "final_loss",
    "half_width",
    "is_complete",
    "normalize_by",
    "on_progress",
    "record_progress",
    "require_loss",
    "smooth",
    "snap",
    "to_cube",
    "x_scale",
]
