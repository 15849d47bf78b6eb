"""Which number of a W&B history is the optimiser step.

W&B counts calls of ``log`` in ``_step``. Trainers that log training and validation in calls of
their own, or every tenth step, put the optimiser step into a column, under one of a few names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

STEP_COLUMNS = (
    "trainer/global_step",
    "train/global_step",
    "global_step",
    "iter",
    "iteration",
    "step",
)
_COUNTER = "_step"


def choose_step(
    columns: Mapping[str, NDArray[np.float64]],
    logged: NDArray[np.bool_],
    *,
    declared: Sequence[str] = (),
) -> tuple[str, str]:
    """Return the column that holds the optimiser step, and a sentence that says why.

    A column will do if every row that matters has it, as whole numbers from 0, and if it does not
    start again and again, as a step within an epoch does. One such column is taken, or several
    that agree; else ``_step`` is.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (row,)
        At least those of `STEP_COLUMNS` and `declared` that the history has; NaN where not logged.
    logged : ndarray of bool, shape (row,)
        Rows that must have a step: those with a loss.
    declared : sequence of str
        Columns that the run itself declared as x-axis of others (``define_metric``).

    Returns
    -------
    name, note : str
    """
    names = [name for name in dict.fromkeys((*declared, *STEP_COLUMNS)) if name in columns]
    clear = [name for name in names if name != _COUNTER and _counts(columns[name][logged])]
    if not clear:
        return _COUNTER, "step is W&B's _step, which counts log calls: no column holds another"
    first = columns[clear[0]][logged]
    others = [name for name in clear[1:] if not np.array_equal(first, columns[name][logged])]
    if others and clear[0] not in declared:
        return _COUNTER, (
            f"step is W&B's _step, which counts log calls: {clear[0]!r} and {others[0]!r} could "
            "both be the optimiser step and differ"
        )
    return clear[0], f"step is the column {clear[0]!r}, not W&B's _step, which counts log calls"


def _counts(values: NDArray[np.float64]) -> bool:
    """Tell whether values count something: whole, from 0, few of them again."""
    if not len(values) or not np.isfinite(values).all():
        return False
    whole = bool((values >= 0).all() and (values % 1 == 0).all())
    # Training and validation of a step in rows of their own repeat it, and so does a resumed run.
    return whole and 3 * len(np.unique(values)) >= len(values)
