"""Which runs belong in one view: trained on the same thing, with the same controls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.collapse import control_labels
from workbench.collapse.compared import LATEST_START
from workbench.curves import is_complete
from workbench.views.run_table import RunTable


def matched_groups(table: RunTable) -> dict[str, NDArray[np.int64]]:
    """Return the matched groups, most finished sizes and most runs first.

    Parameters
    ----------
    table : RunTable
        Runs that can be drawn.

    Returns
    -------
    dict of str to ndarray of int64
        Label of each group to its rows; the label names the recipe where there are several.
    """
    if not table.n_runs:
        return {}
    recipes = _recipes(table)
    several = len(set(recipes)) > 1
    labels = [
        f"{recipe}: {label}" if several else label
        for recipe, label in zip(recipes, control_labels(table.curves), strict=True)
    ]
    sizes, done = table.labels["model_size"], _comparable(table)
    rows = {text: np.flatnonzero(np.array(labels) == text) for text in dict.fromkeys(labels)}

    def weight(text: str) -> tuple[int, int, int]:
        finished = rows[text][done[rows[text]]]
        return (len(set(sizes[finished])), len(finished), len(rows[text]))

    return {text: rows[text] for text in sorted(rows, key=weight, reverse=True)}


def _recipes(table: RunTable) -> list[str]:
    """Name what each run was trained on: task and data where recorded, else its family.

    Families trained on the same thing with the same controls belong in one view: a family that is
    growing joins the finished one it repeats.
    """
    curves = table.curves
    parts = [curves[n].to_numpy().astype(str) for n in ("task", "dataset") if n in curves.coords]
    families = table.labels["family"]
    joined = [" ".join(filter(None, row)) for row in zip(*parts, strict=True)]
    return [r or str(f) for r, f in zip(joined or [""] * len(families), families, strict=True)]


def _comparable(table: RunTable) -> NDArray[np.bool_]:
    """Return which runs are finished and were logged from early on, shape (run,)."""
    curves = table.curves
    first = curves["progress"].to_numpy()[curves.notnull().to_numpy().argmax(axis=1)]
    return np.asarray(is_complete(curves).to_numpy() & (first <= LATEST_START))
