"""``ds.collapse`` on datasets of runs and on cubes: sugar over the functions."""

from __future__ import annotations

from typing import Any

import xarray as xr

from workbench.collapse import (
    CollapseReport,
    Offset,
    collapse_report,
    deviation,
    noise_floor,
    normalize,
    residual,
)
from workbench.collapse.compared import curves_of
from workbench.curves import POINTS, to_cube
from workbench.schema import LossName, select_runs, validate


class CollapseAccessor:
    """The verbs of the workbench on one dataset of runs (run, obs) or one cube.

    Parameters
    ----------
    ds : Dataset
        Ragged runs or a cube from ``to_cube``.
    """

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def where(self, *filters: str) -> xr.Dataset:
        """Keep the runs that meet every filter, such as ``"tpp>=18"``; see ``select_runs``."""
        return select_runs(self._ds, filters)

    def curves(self, *, loss: LossName | None = None, points: int = POINTS) -> xr.DataArray:
        """Return loss curves (run, progress); see ``on_progress``."""
        return curves_of(self._ds, loss, points)

    def to_cube(self, **options: Any) -> xr.Dataset:
        """Arrange the runs in a cube; options are those of ``to_cube``."""
        return to_cube(self._ds, **options)

    def normalize(
        self, *, offset: Offset = "zero", loss: LossName | None = None, points: int = POINTS
    ) -> xr.DataArray:
        """Return normalised curves (run, progress); see ``normalize``."""
        return normalize(self.curves(loss=loss, points=points), offset=offset)

    def deviation(self, *, offset: Offset = "zero", loss: LossName | None = None) -> xr.DataArray:
        """Return Δ(x); see ``deviation``."""
        return deviation(self.normalize(offset=offset, loss=loss))

    def noise_floor(
        self, *, offset: float = 0.0, loss: LossName | None = None
    ) -> xr.DataArray | None:
        """Return σ(x) or None without seeds; see ``noise_floor``."""
        return noise_floor(self.curves(loss=loss), offset=offset)

    def residual(self, *, offset: Offset = "zero", loss: LossName | None = None) -> xr.DataArray:
        """Return each run's residual (run, progress); see ``residual``."""
        return residual(self.normalize(offset=offset, loss=loss))

    def report(self, **options: Any) -> CollapseReport:
        """Return the verdict with its numbers; options are those of ``collapse_report``."""
        return collapse_report(self._ds, **options)

    def validate(self) -> None:
        """Raise ``DataError`` if the runs break a rule of the schema."""
        validate(self._ds)
