"""A figure as data: charts, tables and claims, before any library draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.reports.papers.claims import STATUSES, Claim
from workbench.text import plural
from workbench.views import theme

if TYPE_CHECKING:
    import holoviews as hv
    from matplotlib.figure import Figure as MatplotlibFigure

Floats = NDArray[np.float64]
Dash = Literal["solid", "dashed", "dotted"]
INK = theme.TOKENS["light"]["ink"]
MUTED = theme.TOKENS["light"]["muted"]
CATEGORIES = theme.CATEGORY_COLOURS["light"]


def _floats(values: ArrayLike) -> Floats:
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


@dataclass(frozen=True)
class Line:
    """A curve; one `label` may be shared by several, which then share a legend entry."""

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    colour: str = INK
    dash: Dash = "solid"
    width: float = 1.6


@dataclass(frozen=True)
class Points:
    """Markers; `names` are shown when one points at them, and beside them in print if few."""

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    colour: str = INK
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Band:
    """An area between two curves."""

    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    label: str = ""
    colour: str = MUTED


@dataclass(frozen=True)
class Rule:
    """A straight line across the chart at one value of x or y."""

    at: float
    axis: Literal["x", "y"]
    label: str = ""
    colour: str = MUTED


Mark = Line | Points | Band | Rule


@dataclass(frozen=True)
class Chart:
    """One pair of axes.

    Parameters
    ----------
    title, caption : str
        Above and below it.
    x, y : str
        Titles of the axes, with units.
    marks : sequence of Line, Points, Band or Rule
        What is drawn, in order.
    log_x, log_y : bool
        Logarithmic axes.
    x_range, y_range : (float, float), optional
        Ends of the axes; by default those of the marks.
    """

    title: str
    x: str
    y: str
    marks: Sequence[Mark]
    caption: str
    log_x: bool = False
    log_y: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Table:
    """Rows of text under a head."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A remade figure or table.

    Parameters
    ----------
    claims : sequence of Claim
        What is expected of it and what was found; at least one.
    charts : sequence of Chart
        What is drawn.
    tables : sequence of Table
        What is listed.
    answer : str
        The answer to its question in a sentence or two; what held is added.
    numbers : mapping of str to float
        Results worth keeping in the manifest.
    """

    claims: Sequence[Claim]
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    answer: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    def holoviews(self) -> list[hv.Overlay]:
        """Return each chart as a HoloViews overlay."""
        from workbench.reports.papers.interactive import overlay

        return [overlay(chart) for chart in self.charts]

    def matplotlib(self) -> MatplotlibFigure:
        """Return the charts side by side as a Matplotlib figure, for print."""
        from workbench.reports.papers.printing import printed

        return printed(self.charts)

    @property
    def verdict(self) -> str:
        """How many claims held, did not hold, and cannot be tested here."""
        counts = {status: sum(c.status == status for c in self.claims) for status in STATUSES}
        parts = [f"{plural(n, 'claim')} {status}" for status, n in counts.items() if n]
        return (", ".join(parts) or "no claim").replace("claims not testable", "not testable") + "."


def shades(palette: Literal["size", "tau", "tpp"], count: int) -> list[str]:
    """Return `count` colours of a sequential palette, lightest first."""
    ramp = theme.PALETTES["light"][palette]
    places = np.linspace(0, len(ramp) - 1, count) if count > 1 else [len(ramp) - 1]
    return [ramp[round(float(place))] for place in places]
