"""The same runs seen with other offsets: none, fitted, and the floor where it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from workbench.collapse import CollapseReport, Offset
from workbench.collapse.verdict import HALF
from workbench.errors import DataError
from workbench.text import percent_two_digits


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


def excess_sentence(zero: CollapseReport, excess: CollapseReport) -> str:
    """Say whether the excess loss collapses, next to the loss itself, with the numbers.

    Parameters
    ----------
    zero, excess : CollapseReport
        The same runs with no offset and with the known irreducible loss as offset.
    """
    floor = f"L − H, with the known H = {excess.offset.value:.4f} nats/token"
    if excess.noise_floor is None:
        return (
            f"Whether the excess loss {floor}, collapses cannot be judged without a second seed: "
            f"half-way its curves lie within {_at(excess.spread):.2g} of one another, those of "
            f"L / L(1) within {_at(zero.spread):.2g}."
        )
    holds = "collapses at this scale" if excess.holds else "does not collapse at this scale"
    return (
        f"The excess loss {floor}, {holds}: half-way its spread across runs is "
        f"{_against_noise(excess)}. For L / L(1) it is {_against_noise(zero)}."
    )


def _against_noise(report: CollapseReport) -> str:
    delta, sigma = _at(report.deviation), report.noise_floor
    if sigma is None:
        return percent_two_digits(delta)
    return (
        f"{percent_two_digits(delta)}, {delta / _at(sigma):.2g} times the seed noise of "
        f"{percent_two_digits(_at(sigma))}"
    )


def _at(curve: xr.DataArray) -> float:
    return float(curve.sel(progress=HALF, method="nearest"))
