"""One line a comparison: time and objective of our way and of the usual one, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

COLUMNS = ("law", "data", "ours_ms", "usual_ms", "ratio", "objective", "ours", "usual", "usual_way")


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Return the median processor time of a call [s] and its last result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return float(np.median(times)), result


def row(
    law: str,
    data: str,
    *,
    seconds: tuple[float, float],
    objective: str,
    values: tuple[float, float],
    usual_way: str,
    **more: Any,
) -> dict[str, Any]:
    """Return one line of the table and show it.

    Parameters
    ----------
    law, data : str
        What was fitted to what.
    seconds : (float, float)
        Processor seconds, ours and the usual way's.
    objective : str
        What `values` are; less is better.
    values : (float, float)
        Reached by us and by the usual way.
    usual_way : str
        What the usual way is.
    **more
        Further figures, kept in the result.
    """
    ours, usual = seconds
    line = {
        "law": law,
        "data": data,
        "ours_ms": round(1e3 * ours, 2),
        "usual_ms": round(1e3 * usual, 2),
        "ratio": float(f"{usual / ours:.3g}"),
        "objective": objective,
        "ours": float(f"{values[0]:.6g}"),
        "usual": float(f"{values[1]:.6g}"),
        "usual_way": usual_way,
        **more,
    }
    print("  ".join(str(line[name]) for name in COLUMNS), flush=True)
    return line


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the lines as one aligned table."""
    cells = [COLUMNS, *(tuple(_cell(line[name]) for name in COLUMNS) for line in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
