"""Final loss of a run from its beginning and from references, with an interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.curves import record_progress
from workbench.errors import ArgumentError, DataError
from workbench.forecast.combine import BackTest, back_test, combine
from workbench.forecast.evidence import Evidence, gather, usable
from workbench.forecast.kernels_prefix import ALIGNERS, Aligner
from workbench.forecast.members import (
    Member,
    MemberRule,
    align_member,
    scaling_member,
    surrogate_member,
)
from workbench.forecast.path import Path, path_to_end
from workbench.forecast.prefix import as_runs, final_levels, loss_of, truncate
from workbench.forecast.schedule import CurveLawFitter, schedule_member, surrogate_law
from workbench.schema import LossName, run_names, take_runs
from workbench.text import percent, plain, plural

Floats = NDArray[np.float64]
Method = Literal["auto", "align", "surrogate", "schedule"]
METHODS: tuple[Method, ...] = get_args(Method)
Progress = Callable[[int, int], None]
LEVEL = 0.9
_EXTRAPOLATES = 1.1
_CLOSE = 0.97


@dataclass(frozen=True)
class FinalForecast:
    """Where a run will end.

    Parameters
    ----------
    run_id : str
        The run.
    at : float
        Share of the plan whose records were used.
    loss : str
        Which loss, nats/token.
    method : str
        How it was predicted: the members that carry weight.
    estimate, lower, upper : float
        Final loss and interval [nats/token].
    level : float
        Level of the interval.
    reference : tuple of str
        Runs it rests on.
    left_out : tuple of dict
        ``run_id`` and ``reason`` of references that could not be used.
    members : tuple of Member
        What each way says by itself.
    weights : dict of str to float
        Weight of each in the combination.
    tests : dict of str to BackTest
        How each did on the references.
    actual : float or None
        Final loss, where the run has ended; never used for the forecast.
    path : Path
        The way from `at` to the end.
    notes : tuple of str
        What to know before relying on it.
    """

    run_id: str
    at: float
    loss: LossName
    method: str
    estimate: float
    lower: float
    upper: float
    level: float
    reference: tuple[str, ...]
    left_out: tuple[dict[str, str], ...]
    members: tuple[Member, ...]
    weights: dict[str, float]
    tests: dict[str, BackTest]
    actual: float | None
    path: Path
    notes: tuple[str, ...]

    def predict(self, progress: ArrayLike) -> xr.Dataset:
        """Return ``loss``, ``lower`` and ``upper`` [nats/token] at progress between `at` and 1."""
        return self.path.interpolate(np.asarray(progress, dtype=np.float64))

    def to_dataset(self) -> xr.Dataset:
        """Return the predicted curve with the forecast in its attributes."""
        attrs = {
            "run_id": self.run_id,
            "at": self.at,
            "method": self.method,
            "final_loss": self.estimate,
            "level": self.level,
        }
        return self.path.to_dataset().assign_attrs(attrs)

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast as plain numbers and text, JSON-ready."""
        interval = {"lower": self.lower, "upper": self.upper, "level": self.level}
        content: dict[str, Any] = plain(
            {
                "run_id": self.run_id,
                "at": self.at,
                "loss": self.loss,
                "method": self.method,
                "reference": list(self.reference),
                "final_loss": {"estimate": self.estimate, **interval},
                "actual": self.actual,
                "curve": self.path.to_dict(),
                "members": [
                    {
                        "name": m.name,
                        "estimate": np.exp(m.log_loss),
                        "lower": np.exp(m.lower),
                        "upper": np.exp(m.upper),
                        "weight": self.weights.get(m.name, 0.0),
                        "back_test_rms": self.tests[m.name].rms if m.name in self.tests else None,
                        **m.detail,
                    }
                    for m in self.members
                ],
                "left_out": list(self.left_out),
                "notes": list(self.notes),
            }
        )
        return content

    def __str__(self) -> str:
        lines = [
            f"{self.run_id} will end at {self.loss} {self.estimate:.4f} nats/token "
            f"({self.lower:.4f} to {self.upper:.4f}, {100 * self.level:.0f} %), "
            f"from its first {percent(self.at)}",
            f"method {self.method}; {plural(len(self.reference), 'reference')}",
        ]
        if self.actual is not None:
            error = self.estimate - self.actual
            lines.append(f"it ended at {self.actual:.4f}: error {error:+.4f} nats/token")
        if len(self.members) > 1:
            lines += [
                f"{m.name}: {np.exp(m.log_loss):.4f}, weight {self.weights[m.name]:.2f}"
                for m in self.members
            ]
        if self.left_out:
            first = self.left_out[0]
            count = plural(len(self.left_out), "reference")
            lines.append(f"left out: {count}, first {first['run_id']} ({first['reason']})")
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        head, *rest = str(self).splitlines()
        rows = "".join(f"<li>{escape(line)}</li>" for line in rest)
        return f"<p><b>{escape(head)}</b></p><ul>{rows}</ul>"


def predict_final(
    run: xr.Dataset,
    *,
    reference: xr.Dataset,
    at: float = 0.3,
    method: Method = "auto",
    loss: LossName | None = None,
    level: float = LEVEL,
    aligner: Aligner = "robust",
    law: CurveLawFitter = surrogate_law,
    progress: Progress | None = None,
) -> FinalForecast:
    """Predict the final loss of a run from its records up to `at` and from finished runs.

    Parameters
    ----------
    run : Dataset (run: 1, obs) or (obs)
        The run. What it recorded beyond `at` is cut off first and looked at again only to report
        `actual`.
    reference : Dataset (run, obs) or cube
        Finished runs; the run itself and unfinished ones are left out, with a reason.
    at : float
        Share of the **planned** run in (0, 1); a run that has not come that far is used up to
        its last record.
    method : {"auto", "align", "surrogate", "schedule"}
        ``align``: the prefix is aligned to each reference of the same schedule, τ and TPP.
        ``surrogate``: the law of the remaining drop over the run's controls. ``schedule``: a law
        of curves fitted to references of any schedule. ``auto``: the first two and the scaling
        law of the final losses, weighted by how well each predicts the references; or
        ``schedule`` where no reference shares the schedule.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default the held-out one where run and references have it.
    level : float
        Level of the interval.
    aligner : {"squared", "normalized", "absolute", "robust"}
        How ``align`` fits the scale.
    law : callable
        Fits the law of ``schedule`` to references; by default the (τ, TPP) surrogate.
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
    run, reference = as_runs(run), as_runs(reference)
    if run.sizes["run"] != 1:
        msg = f"A forecast is made for one run, found {run.sizes['run']}. Select one by run_id."
        raise ArgumentError(msg)
    seen = truncate(run, at)
    loss = loss_of(seen, reference, loss)
    used = _reached(seen, at, loss)
    here = gather(seen, at=used, loss=loss, finished=False)
    if not np.isfinite(here.level[0]):
        msg = (
            f"Run {here.run_id[0]!r} has fewer than 3 finite records of {loss} up to "
            f"{percent(used)} of its plan. Choose a later --at, or the other --loss."
        )
        raise DataError(msg)
    evidence, left_out = usable(gather(reference, at=used, loss=loss, finished=True), here)
    rules = _rules(method, evidence, here, aligner)
    tests: dict[str, BackTest] = {}
    if rules:
        tests = back_test(evidence, here, rules, level=level, progress=progress)
        members = [found for rule in rules.values() if (found := rule(evidence, here, level))]
        if not members:
            raise DataError(_does_not_apply(method, evidence, here))
        joined, weights = combine(members, tests, level=level)
    else:
        kept = take_runs(reference, np.isin(run_names(reference), evidence.run_id))
        joined = schedule_member(kept, seen, at=used, loss=loss, level=level, fitter=law)
        members, weights = [joined], {"schedule": 1.0}
    path = path_to_end(evidence, here, joined)
    end = float(final_levels(run, loss=loss)[0])
    return FinalForecast(
        run_id=here.run_id[0],
        at=used,
        loss=loss,
        method="+".join(name for name, weight in weights.items() if weight >= 0.01),
        estimate=float(np.exp(joined.log_loss)),
        lower=float(np.exp(joined.lower)),
        upper=float(np.exp(joined.upper)),
        level=level,
        reference=tuple(evidence.run_id),
        left_out=tuple(left_out),
        members=tuple(members),
        weights=weights,
        tests=tests,
        actual=float(np.exp(end)) if np.isfinite(end) else None,
        path=path,
        notes=_notes(evidence, here, at, used),
    )


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


def _rules(
    method: Method, evidence: Evidence, run: Evidence, aligner: Aligner
) -> dict[str, MemberRule]:
    """Return the members to ask; none where only a law of curves can answer."""
    align: MemberRule = partial(align_member, aligner=aligner)
    if method == "align":
        return {"align": align}
    if method == "surrogate":
        return {"surrogate": surrogate_member}
    same = evidence.schedule == run.schedule[0]
    if method == "schedule" or not same.any():
        return {}
    if evidence.take(same).matches(run).all():
        return {"surrogate": surrogate_member, "align": align, "scaling": scaling_member}
    return {"surrogate": surrogate_member}


def _does_not_apply(method: Method, evidence: Evidence, run: Evidence) -> str:
    own = f"{run.schedule[0] or 'schedule not recorded'}, τ {run.tau[0]:.3g}, TPP {run.tpp[0]:.3g}"
    schedules = ", ".join(sorted({str(s) or "not recorded" for s in evidence.schedule}))
    if method == "surrogate":
        return (
            f"No reference shares the schedule of {run.run_id[0]!r} ({own}): they have "
            f"{schedules}. Choose references of that schedule, or --method schedule."
        )
    return (
        f"No reference matches {run.run_id[0]!r} ({own}) in schedule, τ and TPP, or a model size "
        "is not recorded. Choose other references, or --method surrogate."
    )


def _notes(evidence: Evidence, run: Evidence, asked: float, used: float) -> tuple[str, ...]:
    found = []
    if used < asked:
        found.append(f"The run has reached {percent(used)} of its plan, not {percent(asked)}.")
    for name, label in (("tau", "τ"), ("tpp", "TPP"), ("size", "model size")):
        own, known = getattr(run, name)[0], getattr(evidence, name)
        known = known[np.isfinite(known)]
        if not np.isfinite(own) or not len(known):
            continue
        ratio = max(known.min() / own, own / known.max())
        limit = _EXTRAPOLATES if name != "size" else 4.0
        if ratio > limit:
            found.append(
                f"{label} {own:.3g} lies outside the references ({known.min():.3g} to "
                f"{known.max():.3g}): the forecast extrapolates."
            )
    if len(np.unique(evidence.cell)) == 1:
        found.append("One setting of references: nothing shows how far forecasts from it stray.")
    return tuple(found)
