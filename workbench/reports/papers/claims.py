"""What a figure is expected to show, what was found, and whether that holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Status = Literal["held", "did not hold", "not testable here"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Claim:
    """One statement of a paper against what was computed here.

    Parameters
    ----------
    text : str
        What is claimed.
    expected, found : str
        What the paper, or the notes computed from its logs, say, and what came out here.
    tolerance : str
        How far apart the two may be.
    status : {"held", "did not hold", "not testable here"}
        The verdict.
    reason : str
        Why it cannot be tested, or what to know about the verdict.
    """

    text: str
    expected: str
    found: str
    tolerance: str
    status: Status
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as plain text by name."""
        return asdict(self)

    def __str__(self) -> str:
        said = f"{self.text}: expected {self.expected}, found {self.found}; {self.status}"
        return f"{said} ({self.reason})" if self.reason else said


def near(
    text: str,
    *,
    expected: float,
    found: float,
    rel: float | None = None,
    off: float | None = None,
    unit: str = "",
    reason: str = "",
) -> Claim:
    """Return the claim that a number is what was printed.

    Parameters
    ----------
    text : str
        What is claimed.
    expected, found : float
        Numbers in the same unit.
    rel, off : float
        Largest relative, or absolute, difference; one of them.
    unit : str
        Written behind both numbers.
    reason : str
        What to know about it.
    """
    width = abs(expected) * rel if rel is not None else float(off or 0.0)
    holds = abs(found - expected) <= width * (1 + 1e-9)
    said = f"±{100 * rel:g} %" if rel is not None else f"±{width:g}{_behind(unit)}"
    return Claim(text, number(expected, unit), number(found, unit), said, _judged(holds), reason)


def at_most(text: str, *, bound: float, found: float, unit: str = "", reason: str = "") -> Claim:
    """Return the claim that a number does not exceed a bound."""
    expected = f"at most {number(bound, unit)}"
    return Claim(text, expected, number(found, unit), "bound", _judged(found <= bound), reason)


def at_least(text: str, *, bound: float, found: float, unit: str = "", reason: str = "") -> Claim:
    """Return the claim that a number reaches a bound."""
    expected = f"at least {number(bound, unit)}"
    return Claim(text, expected, number(found, unit), "bound", _judged(found >= bound), reason)


def equal(text: str, *, expected: object, found: object, reason: str = "") -> Claim:
    """Return the claim that two things are the same: a count, an order, a yes or no."""
    said = [_in_words(value) for value in (expected, found)]
    return Claim(text, said[0], said[1], "exact", _judged(expected == found), reason)


def untested(text: str, *, expected: str, reason: str, found: str = "not computed") -> Claim:
    """Return a claim that nothing here can test, with the reason; `found` is what comes nearest."""
    return Claim(text, expected, found, "none", "not testable here", reason)


def number(value: float, unit: str = "") -> str:
    """Write a number with four significant digits, and its unit."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else f"{value:g}"
    size = abs(value)
    text = f"{value:.4g}" if size == 0 or 1e-3 <= size < 1e5 else f"{value:.3e}"
    return text + _behind(unit)


def _in_words(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _behind(unit: str) -> str:
    return f" {unit}" if unit else ""


def _judged(holds: bool) -> Status:
    return "held" if bool(holds) else "did not hold"
