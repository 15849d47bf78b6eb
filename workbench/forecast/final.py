"""Final loss of a run from its beginning and from references, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.curves import record_progress
from workbench.errors import ArgumentError, DataError
from workbench.forecast.evidence import Evidence, gather
from workbench.forecast.kernels_prefix import ALIGNERS, Aligner
from workbench.forecast.members_asked import (
    METHODS,
    Answer,
    Method,
    Progress,
    Question,
    answer_alone,
)
from workbench.forecast.prefix import as_runs, final_levels, loss_of, truncate
from workbench.forecast.result import FinalForecast
from workbench.forecast.schedule import CurveLawFitter
from workbench.schema import LossName, run_names
from workbench.text import percent

LEVEL = 0.9
_CLOSE = 0.97


def predict_final(
    run: xr.Dataset,
    *,
    reference: xr.Dataset | None = None,
    at: float = 0.3,
    method: Method = "auto",
    loss: LossName | None = None,
    level: float = LEVEL,
    aligner: Aligner = "robust",
    law: CurveLawFitter | None = None,
    progress: Progress | None = None,
) -> FinalForecast:
    """Predict the final loss of a run from its records up to `at` and from finished runs.

    Parameters
    ----------
    run : Dataset (run: 1, obs) or (obs)
        The run. What it recorded beyond `at` is cut off first and looked at again only to report
        `actual`.
    reference : Dataset (run, obs) or cube, optional
        Finished runs; the run itself and unfinished ones are left out, with a reason. Without any
        the method is ``own``.
    at : float
        Share of the **planned** run in (0, 1); a run that has not come that far is used up to
        its last record.
    method : {"auto", "align", "surrogate", "schedule", "own"}
        ``align``: the prefix is aligned to each reference of the same schedule, τ and TPP.
        ``surrogate``: the law of the remaining drop over the run's controls. ``schedule``: a law
        of curves fitted to references of any schedule. ``own``: the power law of the prefix, with
        a wide interval. ``auto``: the first two and the scaling law of the final losses, weighted
        by how well each predicts the references; or ``schedule`` where no reference shares the
        schedule, or all are of one size, so that nothing tests the others.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default the held-out one where run and references have it.
    level : float
        Level of the interval.
    aligner : {"squared", "normalized", "absolute", "robust"}
        How ``align`` fits the scale.
    law : callable
        Fits the law of ``schedule`` to references; by default the Multi-Power Law where two of
        them share the model and about the peak rate, else the (τ, TPP) surrogate.
    progress : callable, optional
        Called with (done, total) back-tests; an interrupt between two of them stops the forecast.

    Returns
    -------
    FinalForecast

    Raises
    ------
    ArgumentError
        If an argument is out of range or unknown.
    DataError
        If no reference can be used, the run has too few records, or the method does not apply.
    """
    _check(at, method, level, aligner)
    run = as_runs(run)
    if run.sizes["run"] != 1:
        msg = f"A forecast is made for one run, found {run.sizes['run']}. Select one by run_id."
        raise ArgumentError(msg)
    asked = at
    if reference is None or method == "own":
        loss = loss_of(truncate(run, at), None, loss)
        here = _prefix_of(run, at, loss)
        return _forecast(run, loss, level, asked, answer_alone(run, here, loss, level))
    reference = as_runs(reference)
    loss = loss_of(truncate(run, at), reference, loss)
    here = _prefix_of(run, at, loss)
    question = Question(reference, run, here, loss, level, aligner)
    return _forecast(run, loss, level, asked, question.answer(method, law, progress))


def _forecast(
    run: xr.Dataset, loss: LossName, level: float, asked: float, made: Answer
) -> FinalForecast:
    end = float(final_levels(run, loss=loss)[0])
    late: tuple[str, ...] = ()
    if made.here.at < asked:
        late = (f"The run has reached {percent(made.here.at)} of its plan, not {percent(asked)}.",)
    return FinalForecast(
        run_id=made.here.run_id[0],
        at=made.here.at,
        loss=loss,
        method="+".join(name for name, weight in made.weights.items() if weight >= 0.01),
        estimate=float(np.exp(made.joined.log_loss)),
        lower=float(np.exp(made.joined.lower)),
        upper=float(np.exp(made.joined.upper)),
        level=level,
        reference=made.reference,
        left_out=made.left_out,
        members=made.members,
        weights=made.weights,
        tests=made.tests,
        actual=float(np.exp(end)) if np.isfinite(end) else None,
        path=made.path,
        notes=(*late, *made.notes),
    )


def _prefix_of(run: xr.Dataset, at: float, loss: LossName) -> Evidence:
    seen = truncate(run, at)
    used = _reached(seen, at, loss)
    here = gather(seen, at=used, loss=loss, finished=False)
    if not np.isfinite(here.level[0]):
        msg = (
            f"Run {here.run_id[0]!r} has fewer than 3 finite records of {loss} up to "
            f"{percent(used)} of its plan. Choose a later --at, or the other --loss."
        )
        raise DataError(msg)
    return here


def forecast_track(
    run: xr.Dataset, *, reference: xr.Dataset, at: Sequence[float], **options: Any
) -> xr.Dataset:
    """Predict again as data comes: one forecast at each share of the plan.

    Parameters
    ----------
    run, reference : Dataset
        As in `predict_final`.
    at : sequence of float
        Increasing shares of the plan; those the run has not reached are left out.
    **options
        Passed to `predict_final`.

    Returns
    -------
    Dataset (at)
        ``final_loss`` with ``lower`` and ``upper`` [nats/token].

    Raises
    ------
    DataError
        If the run has reached none of them.
    """
    run = as_runs(run)
    position = record_progress(run).to_numpy()
    reached = float(position.max()) if len(position) else 0.0
    shares = [share for share in at if share <= reached + 1e-9]
    if not shares:
        msg = (
            f"The run has reached {reached:.1%} of its plan, none of {list(at)}. Wait, or ask less."
        )
        raise DataError(msg)
    found = [predict_final(run, reference=reference, at=share, **options) for share in shares]
    columns = {
        "final_loss": [f.estimate for f in found],
        "lower": [f.lower for f in found],
        "upper": [f.upper for f in found],
    }
    return xr.Dataset(
        {name: ("at", values, {"units": "nats/token"}) for name, values in columns.items()},
        coords={"at": shares},
        attrs={"run_id": found[0].run_id, "level": found[0].level},
    )


def _check(at: float, method: str, level: float, aligner: str) -> None:
    if not 0 < at < 1:
        msg = f"at must be a share of training between 0 and 1, found {at!r}. 0.3 means 30 %."
        raise ArgumentError(msg)
    if method not in METHODS:
        msg = f"method must be one of {', '.join(METHODS)}, found {method!r}."
        raise ArgumentError(msg)
    if not 0 < level < 1:
        msg = f"level must be between 0 and 1, found {level!r}. 0.9 gives a 90 % interval."
        raise ArgumentError(msg)
    if aligner not in ALIGNERS:
        msg = f"aligner must be one of {', '.join(ALIGNERS)}, found {aligner!r}."
        raise ArgumentError(msg)


def _reached(seen: xr.Dataset, at: float, loss: LossName) -> float:
    """Return `at`, or the last record where the run has not come that far."""
    position = record_progress(seen).to_numpy()
    last = position[np.isfinite(seen[loss].to_numpy())]
    if not len(last) or last[-1] <= 0:
        msg = f"Run {run_names(seen)[0]!r} has no record of {loss} up to {percent(at)} of its plan."
        raise DataError(msg)
    interval = float(np.diff(last).max()) if len(last) > 2 else 0.0
    near = min(_CLOSE * at, at - interval * (1 + 1e-6))
    return at if last[-1] >= near else float(last[-1])
