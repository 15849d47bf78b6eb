"""Verbs that look at curves: collapse."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, Selection
from workbench.collapse import WINDOW_START, Offset, collapse_report
from workbench.curves import POINTS, XAxis
from workbench.errors import ArgumentError
from workbench.schema import LossName

LossOption = Annotated[
    LossName | None,
    Parameter(help="Loss to read; default: eval_loss where every selected run has it."),
]


@app.command
def collapse(
    selection: Selection | None = None,
    *,
    loss: LossOption = None,
    offset: Annotated[str, Parameter(help="zero, fit, or a number in nats/token.")] = "fit",
    x: XAxis = "progress",
    start: Annotated[
        float, Parameter(name="--from", help="Means look at progress from here on.")
    ] = WINDOW_START,
    smoothing: Annotated[float | None, Parameter(help="Smoother width, share of the run.")] = None,
    points: Annotated[int, Parameter(help="Grid points of progress.")] = POINTS,
    json: AsJson = False,
) -> None:
    """Normalise the selected runs and say whether they are one curve."""
    report = collapse_report(
        (selection or Selection()).runs(),
        loss=loss,
        offset=parse_offset(offset),
        x=x,
        start=start,
        smoothing=smoothing,
        points=points,
    )
    emit(report.to_dict(), str(report), as_json=json)


def parse_offset(text: str) -> Offset:
    """Read ``zero``, ``fit`` or a number."""
    if text == "zero":
        return "zero"
    if text == "fit":
        return "fit"
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        msg = f"--offset takes zero, fit or a number in nats/token, found {text!r}."
        raise ArgumentError(msg)
    return value
