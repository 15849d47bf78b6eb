"""Verb that says where a run will end: predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, get_args

import numpy as np
import xarray as xr
from cyclopts import Parameter
from tqdm import tqdm

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, StorePath, store_path
from workbench.errors import ArgumentError
from workbench.forecast import LEVEL, Aligner, Method, final_levels, predict_final
from workbench.schema import (
    Filter,
    LossName,
    matching,
    parse_filter,
    select_runs,
    take_runs,
)
from workbench.store import open_store

_SHOW_AFTER_SECONDS = 1.0

ReferenceOption = Annotated[
    tuple[str, ...],
    Parameter(
        name="--reference",
        negative="",
        help="Learn from finished runs with NAME OP VALUE, as --where of other verbs. Repeatable; "
        "default: every other finished run of the same family; where there is none, the run's own "
        "power law answers.",
    ),
]


@app.command
def predict(
    *,
    run: Annotated[str, Parameter(help="Run to predict, by run_id.")],
    at: Annotated[float, Parameter(help="Use its records up to this share of its plan.")],
    store: StorePath = None,
    reference: ReferenceOption = (),
    method: Annotated[
        Method, Parameter(help="auto weighs the others by back-tests; own asks no other run.")
    ] = "auto",
    loss: Annotated[LossName | None, Parameter(help="Loss to predict.")] = None,
    level: Annotated[float, Parameter(help="Level of the interval.")] = LEVEL,
    aligner: Annotated[Aligner, Parameter(help="How align fits its scale.")] = "robust",
    json: AsJson = False,
) -> None:
    """Predict the final loss of a run from its beginning and from runs that have ended."""
    filters = [parse_filter(text) for text in reference]
    runs = open_store(store_path(store)).runs()
    target = matching(runs, [Filter("run_id", "=", (run,))])
    if not target.any():
        msg = f"No run {run!r} in the store. List what is there with: workbench runs"
        raise ArgumentError(msg)
    chosen = take_runs(runs, target)
    others = take_runs(runs, ~target)
    with _Bar() as tick:
        forecast = predict_final(
            chosen,
            reference=_references(chosen, others, filters),
            at=at,
            method=method,
            loss=loss,
            level=level,
            aligner=aligner,
            progress=tick,
        )
    emit(forecast.to_dict(), str(forecast), as_json=json)


def _references(
    chosen: xr.Dataset, others: xr.Dataset, filters: Sequence[Filter]
) -> xr.Dataset | None:
    """Return the runs to learn from; None where none was asked for and none has ended."""
    if filters:
        return select_runs(others, filters)
    if not others.sizes["run"]:
        return None
    if "family" in others:
        family = str(chosen["family"].to_numpy()[0])
        same = others["family"].to_numpy() == family
        others = take_runs(others, same) if same.any() else others
    ended = [
        np.isfinite(final_levels(others, loss=loss).to_numpy()).any()
        for loss in get_args(LossName)
        if loss in others
    ]
    return others if any(ended) else None


class _Bar:
    """A bar on stderr that appears only when the work takes longer than a second."""

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar = tqdm(
            desc="back-tests", unit="", leave=False, delay=_SHOW_AFTER_SECONDS, total=None
        )

        def tick(done: int, total: int) -> None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

        return tick

    def __exit__(self, *_: object) -> None:
        self._bar.close()
