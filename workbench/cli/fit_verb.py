"""The verb `fit`: one law by its name, fitted to the selected runs or to a table of end points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import xarray as xr
from cyclopts import Parameter

from workbench.cli.app import app, emit
from workbench.cli.options import AsJson, PastSelection
from workbench.collapse import fit_offset
from workbench.curves import on_progress
from workbench.errors import ArgumentError
from workbench.forecast import fit_surrogate
from workbench.io.end_table import read_end_table
from workbench.io.settings import parse_settings
from workbench.laws import (
    FittedLaw,
    fit_chinchilla,
    fit_frontier,
    fit_isoflop,
    fit_optimum,
    fit_overtraining,
    fit_power_law,
    fit_power_sum,
)
from workbench.laws.annealing import fit_annealing
from workbench.laws.end_points import end_points, known_column
from workbench.laws.horizon import horizons, losses_at
from workbench.laws.multi_power import fit_multi_power
from workbench.laws.noise import fit_noise
from workbench.laws.sums import OUTLIER
from workbench.schema import LossName, parse_filter, select_runs
from workbench.text import plural


@dataclass(frozen=True)
class Request:
    """What a law is asked to fit."""

    runs: xr.Dataset
    loss: LossName | None
    outliers: float | None


class Fitted(Protocol):
    """What a fit says of itself: the keys of `workbench fit --json`, and text."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain numbers and text."""


@dataclass(frozen=True)
class Answer:
    """A fitted law and which points it saw, in words."""

    fit: Fitted
    method: str


@dataclass(frozen=True)
class Law:
    """A law the verb knows: what it says, and how it is fitted."""

    summary: str
    fit: Callable[[Request], Answer]


def _power(request: Request) -> Answer:
    at_horizon = horizons(request.runs, loss=request.loss)
    if at_horizon is None:
        estimate = fit_offset(on_progress(request.runs, loss=request.loss))
        assert estimate.fit is not None  # fit_offset always fits
        return Answer(estimate.fit, estimate.method)
    compute, source = at_horizon
    losses = losses_at(request.runs, compute, loss=request.loss)
    sizes = request.runs["model_size"].to_numpy()
    cells = [sizes == size for size in np.unique(sizes)]
    means = [[values[rows].mean() for rows in cells] for values in (compute, losses)]
    method = f"seed-averaged losses of {len(cells)} sizes of long runs at their {source}"
    return Answer(fit_power_law(*means), method)


def _through_ends(fit: Callable[..., FittedLaw], by: str) -> Callable[[Request], Answer]:
    """Make the fit of a law of model size and `by` to the end points of runs."""

    def answer(request: Request) -> Answer:
        ends = end_points(request.runs, loss=request.loss)
        controls = known_column(ends, "model_size"), known_column(ends, by)
        found = fit(*controls, ends["loss"].to_numpy(), outliers=request.outliers)
        return Answer(found, f"{ends.attrs['loss']} at the end of {ends.sizes['run']} runs")

    return answer


def _frontier(request: Request) -> Answer:
    fit = fit_frontier(request.runs, loss=request.loss)
    count = request.runs.sizes["run"]
    return Answer(fit, f"envelope of {count} curves of {len(fit.sizes)} sizes")


def _sum(request: Request) -> Answer:
    fit = fit_power_sum(request.runs, loss=request.loss)
    return Answer(fit, f"whole curves of {request.runs.sizes['run']} runs after their first 2 %")


def _optimum(request: Request) -> Answer:
    ends = end_points(request.runs, loss=request.loss)
    decay = ends["weight_decay"].to_numpy()
    known = None if np.isnan(decay).any() else decay
    fit = fit_optimum(
        known_column(ends, "model_size"),
        known_column(ends, "tokens_total"),
        known_column(ends, "peak_lr"),
        known_column(ends, "batch_size"),
        ends["loss"].to_numpy(),
        weight_decay=known,
    )
    without = "" if known is not None else "; no τ, since a weight decay is not recorded"
    return Answer(fit, f"tuning grids of {ends.sizes['run']} runs{without}")


def _multi_power(request: Request) -> Answer:
    fit = fit_multi_power(request.runs, loss=request.loss)
    return Answer(fit, f"curves of {plural(len(fit.runs), 'run')} of one size")


def _annealing(request: Request) -> Answer:
    fit = fit_annealing(request.runs, loss=request.loss)
    return Answer(fit, f"curves of {plural(len(fit.runs), 'run')} of one size")


def _noise(request: Request) -> Answer:
    fit = fit_noise(request.runs, loss=request.loss)
    return Answer(fit, f"pairs among {plural(len(fit.runs), 'run')}, smoothed")


def _surrogate(request: Request) -> Answer:
    fit = fit_surrogate(request.runs, loss=request.loss)
    return Answer(fit, f"normalised curves of {plural(fit.n_runs, 'finished run')}")


LAWS: dict[str, Law] = {
    "power": Law("L = L0 + a·C^(−b) through the end points of a ladder", _power),
    "chinchilla": Law(
        "L = E + A·N^(−α) + B·D^(−β) through all end points",
        _through_ends(fit_chinchilla, "tokens_total"),
    ),
    "frontier": Law("compute at which each size is the best, from long runs", _frontier),
    "isoflop": Law(
        "best size at each compute by parabolas, with their bias",
        _through_ends(fit_isoflop, "tokens_total"),
    ),
    "overtraining": Law(
        "L = E + (a·M^η + b·M^(−η))·C^(−η), M tokens a parameter",
        _through_ends(fit_overtraining, "tpp"),
    ),
    "sum": Law("L = L0 + A·t^(−μ) + B·p^(−ν) through whole constant-rate curves", _sum),
    "optimum": Law("best learning rate, batch and τ against N, D, from grids", _optimum),
    "surrogate": Law("shape of normalised curves by τ, TPP and schedule", _surrogate),
    "multi-power": Law("curves of one size under any schedule (Multi-Power Law)", _multi_power),
    "annealing": Law("curves of one size under any schedule (annealing law)", _annealing),
    "noise": Law("loss that gradient noise adds, from traces (one coefficient)", _noise),
}
"""Laws by the name the verb takes."""


@app.command
def fit(
    law: Annotated[str, Parameter(help=", ".join(LAWS))],
    selection: PastSelection | None = None,
    *,
    table: Annotated[
        Path | None, Parameter(help="CSV of finished runs, one a row, instead of a store.")
    ] = None,
    column: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="With --table: NAME=COLUMN, e.g. loss=c4_val. Repeatable."),
    ] = (),
    set: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="With --table: NAME=VALUE for all its runs. Repeatable."),
    ] = (),
    loss: Annotated[
        LossName | None,
        Parameter(help="Loss to read; default: eval_loss where every selected run has it."),
    ] = None,
    outliers: Annotated[
        str, Parameter(help="keep, or how many robust sd off the law a point may lie.")
    ] = f"{OUTLIER:g}",
    json: AsJson = False,
) -> None:
    """Fit a law to the selected runs, with intervals."""
    if law not in LAWS:
        known = "; ".join(f"{name}: {found.summary}" for name, found in LAWS.items())
        msg = f"fit knows no law {law!r}. It knows {known}."
        raise ArgumentError(msg)
    chosen = selection or PastSelection()
    limit = _limit(outliers)
    answer = LAWS[law].fit(Request(_runs(chosen, table, column, set), loss, limit))
    data: Mapping[str, Any] = answer.fit.to_dict() | {"method": answer.method}
    emit(data, f"{answer.fit}\n{answer.method}", as_json=json)


def _runs(
    selection: PastSelection,
    table: Path | None,
    columns: tuple[str, ...],
    settings: tuple[str, ...],
) -> xr.Dataset:
    if table is None:
        for option, texts in (("--column", columns), ("--set", settings)):
            if texts:
                msg = f"{option} {texts[0]} is about a --table, and there is no --table."
                raise ArgumentError(msg)
        return selection.runs()
    for text in selection.where:
        parse_filter(text)
    runs = read_end_table(table, columns=_pairs(columns), settings=parse_settings(settings))
    return select_runs(runs, selection.where)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            msg = f"--column takes NAME=COLUMN, found {text!r}. Example: --column loss=c4_val"
            raise ArgumentError(msg)
        pairs[name.strip()] = value.strip()
    return pairs


def _limit(text: str) -> float | None:
    if text == "keep":
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value > 0:
        msg = f"--outliers takes keep or a number of robust sd above 0, found {text!r}."
        raise ArgumentError(msg)
    return value
