"""What a reader's test asks of its result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.io import ReadResult


def column(
    result: ReadResult, name: str, run: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the steps and values of one column of one run, where it was logged."""
    sizes = result.runs["row_size"].to_numpy()
    own = slice(int(sizes[:run].sum()), int(sizes[: run + 1].sum()))
    values = result.runs[name].to_numpy()[own]
    logged = ~np.isnan(values)
    return result.runs["step"].to_numpy()[own][logged], values[logged]


def settings(result: ReadResult, *names: str, run: int = 0) -> list[object]:
    """Return run coordinates of one run."""
    return [result.runs[name].to_numpy()[run].item() for name in names]
