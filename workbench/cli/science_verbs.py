"""Verbs that look at curves: collapse."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, PastSelection
from workbench.collapse import WINDOW_START, Offset, collapse_report
from workbench.curves import POINTS, Smoother, XAxis
from workbench.errors import ArgumentError
from workbench.laws import Horizon
from workbench.schema import LossName

LossOption = Annotated[
    LossName | None,
    Parameter(help="Loss to read; default: eval_loss where every selected run has it."),
]


@app.command
def collapse(
    selection: PastSelection | None = None,
    *,
    loss: LossOption = None,
    offset: Annotated[str, Parameter(help="zero, fit, or a number in nats/token.")] = "fit",
    x: XAxis = "progress",
    horizon: Annotated[
        Horizon,
        Parameter(
            help="Where runs are compared: at their own end, at the compute-optimal horizon of "
            "long constant-rate runs, or as fits them."
        ),
    ] = "auto",
    start: Annotated[
        float, Parameter(name="--from", help="Means look at progress from here on.")
    ] = WINDOW_START,
    smoothing: Annotated[float | None, Parameter(help="Smoother width, share of the run.")] = None,
    smoother: Annotated[Smoother, Parameter(help="Which smoother.")] = "local-line",
    quality: Annotated[
        bool, Parameter(help="Also S with its interval, and why the worst run is off.")
    ] = True,
    points: Annotated[int, Parameter(help="Grid points of progress.")] = POINTS,
    json: AsJson = False,
) -> None:
    """Normalise the selected runs and say whether they are one curve."""
    runs, everything = (selection or PastSelection()).runs_among_all()
    report = collapse_report(
        runs,
        loss=loss,
        offset=parse_offset(offset),
        x=x,
        horizon=horizon,
        start=start,
        smoothing=smoothing,
        smoother=smoother,
        quality=quality,
        neighbours=everything if quality else None,
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
