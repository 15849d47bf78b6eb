"""Check the points a law is fitted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from workbench.errors import DataError
from workbench.laws.kernels import Floats


def positive_points(**columns: ArrayLike) -> tuple[Floats, ...]:
    """Return columns as floats, equally long, one-dimensional, positive and finite.

    Raises
    ------
    DataError
        If they are not; the first column and value at fault are named.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        msg = f"{', '.join(arrays)} must be 1-d and equally long, found shapes {shapes}."
        raise DataError(msg)
    for name, array in arrays.items():
        bad = ~(np.isfinite(array) & (array > 0))
        if bad.any():
            msg = (
                f"A law in logarithms needs positive, finite {name}; point {int(bad.argmax())} has "
                f"{array[bad][0]}. Drop it or record it."
            )
            raise DataError(msg)
    return tuple(arrays.values())
