"""The same runs seen with other offsets: none, fitted, and the floor where it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from workbench.collapse import CollapseReport, Offset
from workbench.errors import DataError


@dataclass(frozen=True)
class Companions:
    """One family normalised in several ways.

    Parameters
    ----------
    report : CollapseReport
        As asked for.
    zero : CollapseReport
        With no offset.
    fitted : CollapseReport or None
        With the fitted L0; None where it cannot be fitted.
    why_not : str
        Why not; empty where it can.
    """

    report: CollapseReport
    zero: CollapseReport
    fitted: CollapseReport | None
    why_not: str = ""

    def titled(self) -> list[tuple[str, CollapseReport]]:
        """Return what there is, each with a title for its figure."""
        shown = [("Normalised, no offset", self.zero)]
        if self.fitted is not None:
            value = self.fitted.offset.value
            shown.append((f"Normalised, fitted L0 = {value:.4f} nats/token", self.fitted))
        if self.report is not self.zero and self.report is not self.fitted:
            value = self.report.offset.value
            shown.append((f"Normalised, given offset {value:.4f} nats/token", self.report))
        return shown


def companions(report: CollapseReport, judge: Callable[[Offset], CollapseReport]) -> Companions:
    """Return the reports with no offset and with the fitted one.

    Parameters
    ----------
    report : CollapseReport
        What has been computed already; used where it is one of the two.
    judge : callable
        Computes the report of the same runs with another offset.
    """
    if report.offset.fit is not None:
        return Companions(report, judge("zero"), report)
    zero = report if report.offset.value == 0 else judge("zero")
    try:
        return Companions(report, zero, judge("fit"))
    except DataError as error:
        return Companions(report, zero, None, str(error))


def known_floor(runs: xr.Dataset) -> float | None:
    """Return the irreducible loss [nats/token] that every run states, None unless there is one."""
    if "irreducible_loss" not in runs.variables:
        return None
    values = runs["irreducible_loss"].to_numpy()
    if not np.isfinite(values).all() or np.ptp(values) > 1e-9 * abs(values.max()):
        return None
    return float(values[0])
