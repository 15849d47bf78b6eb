"""Number formats of the matrix products, and whether this machine multiplies them quickly."""

from __future__ import annotations

import time
import warnings
from functools import lru_cache

import torch

from workbench.errors import CollapseWarning

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_REPEATS = 5


def warn_where_slow(precision: str, device: torch.device) -> None:
    """Say so when products of `precision` are slower here than those of float32.

    Results do not depend on it: a family trained partly elsewhere may have to be finished here.
    """
    if precision != "float32" and device.type == "cpu":
        dtype = DTYPES[precision]
        ratio = _seconds(dtype) / _seconds(torch.float32)
        if ratio > 1:
            msg = (
                f"{precision} products take {ratio:.1f} times as long as float32 ones on this "
                "processor. Unless the other runs of the family have it too, set precision = "
                '"float32" in [compute].'
            )
            warnings.warn(msg, CollapseWarning, stacklevel=3)


@lru_cache
def _seconds(dtype: torch.dtype) -> float:
    """Return the shortest of some times of a batched product of the sizes that occur here."""
    left, right = torch.ones((4, 1024, 64), dtype=dtype), torch.ones((4, 64, 256), dtype=dtype)
    torch.bmm(left, right)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        torch.bmm(left, right)
        times.append(time.perf_counter() - start)
    return min(times)
