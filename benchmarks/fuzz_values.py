"""Values that a log should not hold and may: extremes, other types, text with a meaning."""

from __future__ import annotations

import math
import random
from typing import Any

NUMBERS = (
    0, 1, -1, 0.5, 7, 1e-320, 1e308, math.nan, math.inf, -math.inf, 2**31, -(2**31) - 1, 2**53 + 1,
    2**63 - 1, -(2**63), 1e18, 1e19, 1.5e9,
)  # fmt: skip
BEYOND = (2**63, 2**64, 10**30, 10**400, -(10**400))
TEXTS = (
    "", " ", "nan", "NaN", "-Infinity", "1e999", "0x10", "1_0", "9" * 400, "9" * 5000, "null", "[]",
    "{}", "[1]", '{"loss": 1e999}', '{"a": {"b": [1]}}', '{"a":' * 500, "[" * 5000, "\0", "\n", "é",
    "‮", "\ud800", "../../x", "/", "%s%n", "step", "loss", "run_id", "train_loss", "x" * 3000,
    "2025-01-01T00:00:00", "9999-12-31T23:59:59.999999", "-1", "True", "deleted", "RUNNING",
)  # fmt: skip


def deep(depth: int) -> Any:
    """Return lists in lists."""
    out: Any = 1
    for level in range(depth):
        out = [out] if level % 2 else {"a": out}
    return out


def any_value(rng: random.Random) -> Any:
    """Return a value that JSON can hold."""
    kind = rng.randrange(6)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind < 4:
        return rng.choice(TEXTS)
    return rng.choice((*BEYOND, None, True, False, [], {}, [1, 2], {"": {}}, deep(30), deep(400)))
