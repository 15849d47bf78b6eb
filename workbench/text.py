"""Numbers as people read them, and as JSON takes them."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np


def percent(share: float) -> str:
    """Write a share of training as whole percent; below 1 % with two digits."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 1 else f"{value:.2g} %"


def percent_two_digits(share: float) -> str:
    """Write a relative spread as percent with two significant digits: 0.34 %."""
    value = 100 * share
    return f"{value:.2g} %" if abs(value) < 99.5 else f"{value:.0f} %"


def short_count(value: float) -> str:
    """Write a count with three digits and a unit letter: 11.8M, 1.30B."""
    if not math.isfinite(value):
        return "not recorded"
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * unit:
            return f"{value / unit:#.3g}".rstrip(".") + letter
    return f"{value:.0f}"


def plural(count: int, noun: str) -> str:
    """Write ``1 run``, ``2 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


_LOGIN = re.compile(r"(:/{1,2}[^\s:/?#@]*):[^\s?#]*@")
_SECRET = re.compile(r"(password=)[^\s&'\"]+", re.IGNORECASE)


def without_password(text: str) -> str:
    """Replace the passwords of every URL in a text by ``***``, whether before the host or behind.

    A password that holds ``/`` or ``@`` unescaped, which makes the URL wrong, is hidden as well.
    """
    return _SECRET.sub(r"\1***", _LOGIN.sub(r"\1:***@", text))


def plain(value: Any) -> Any:
    """Turn numpy values into plain ones and what JSON cannot say (NaN, infinity) into None."""
    match value:
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case np.ndarray():
            return [plain(item) for item in value.tolist()]
        case np.generic():
            return plain(value.item())
        case float() if not math.isfinite(value):
            return None
    return value
