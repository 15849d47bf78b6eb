"""Which members are asked about a run, and their answers as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args

import numpy as np
import xarray as xr

from workbench.errors import DataError
from workbench.forecast.combine import BackTest, back_test, combine
from workbench.forecast.evidence import Evidence
from workbench.forecast.kernels_prefix import Aligner
from workbench.forecast.members import (
    Member,
    MemberRule,
    align_member,
    scaling_member,
    surrogate_member,
)
from workbench.forecast.own import own_member
from workbench.forecast.path import Path, path_to_end, straight_path
from workbench.forecast.prefix import hide_losses, truncate
from workbench.forecast.schedule import CurveLawFitter, schedule_member, surrogate_law
from workbench.forecast.schedule_laws import LawForecast, law_forecast, planned_rates_of
from workbench.schema import LossName, run_names, take_runs
from workbench.text import percent

Method = Literal["auto", "align", "surrogate", "schedule", "own"]
METHODS: tuple[Method, ...] = get_args(Method)
Progress = Callable[[int, int], None]
_EXTRAPOLATES = 1.1
_FALLS = 0.9


@dataclass(frozen=True)
class Answer:
    """A forecast before it is put into words."""

    here: Evidence
    joined: Member
    members: tuple[Member, ...]
    weights: dict[str, float]
    path: Path
    notes: tuple[str, ...]
    tests: dict[str, BackTest] = field(default_factory=dict)
    reference: tuple[str, ...] = ()
    left_out: tuple[dict[str, str], ...] = ()


def answer_alone(run: xr.Dataset, here: Evidence, loss: LossName, level: float) -> Answer:
    """Return what can be said of a run where no other has ended."""
    plan = hide_losses(run, here.at)
    try:
        lr = planned_rates_of(plan)
        falls = bool(lr[-1] < _FALLS * lr[int(here.at * len(lr))])
        course = "its rate falls after that" if falls else "its rate stays after that"
    except DataError:
        falls, course = None, "whether its rate falls after that is not known"
    own = own_member(truncate(run, here.at), here, loss=loss, level=level, falls=falls)
    note = (
        f"No finished run is used: this is the run's own power law from its first "
        f"{percent(here.at)}, {course}. The interval comes from how finished public runs went on, "
        "not from runs like this one."
    )
    return Answer(here, own, (own,), {"own": 1.0}, straight_path(here, own), (note,))


@dataclass(frozen=True)
class Question:
    """Run and references of one forecast.

    Parameters
    ----------
    reference, run : Dataset (run, obs)
        Ragged runs.
    evidence, here : Evidence
        The usable references and the prefix of the run.
    loss : {"eval_loss", "train_loss"}
        Which loss.
    level : float
        Level of the interval.
    aligner : str
        How ``align`` fits the scale.
    """

    reference: xr.Dataset
    run: xr.Dataset
    evidence: Evidence
    here: Evidence
    loss: LossName
    level: float
    aligner: Aligner

    def answer(
        self, method: Method, law: CurveLawFitter | None, progress: Progress | None
    ) -> Answer:
        """Ask every member that applies and weigh the answers."""
        evidence, here, level = self.evidence, self.here, self.level
        rules = _rules(method, evidence, here, self.aligner)
        kept = take_runs(self.reference, np.isin(run_names(self.reference), evidence.run_id))
        plan = hide_losses(self.run, here.at)
        by_law, notes = None, _notes(evidence, here)
        if law is None and method in ("auto", "schedule"):
            by_law, note = self._by_law(kept, plan)
            notes = (*notes, *note)
        tests: dict[str, BackTest] = {}
        members = []
        if rules:
            tests = back_test(evidence, here, rules, level=level, progress=progress)
            members = [found for rule in rules.values() if (found := rule(evidence, here, level))]
        if by_law is not None:
            # A member that no other size has tested does not join one whose error is measured.
            members = [m for m in members if len(tests[m.name].error)] + [by_law.member]
        if not members and rules:
            raise DataError(_does_not_apply(method, evidence, here))
        if not members:
            members = [
                schedule_member(
                    kept,
                    plan,
                    at=here.at,
                    loss=self.loss,
                    level=level,
                    fitter=law or surrogate_law,
                )
            ]
        joined, weights = combine(members, tests, level=level)
        lone = by_law is not None and joined.name == by_law.member.name
        course = by_law.course if by_law is not None and lone else None
        return Answer(
            here,
            joined,
            tuple(members),
            weights,
            path_to_end(evidence, here, joined, course=course),
            notes,
            tests,
            tuple(evidence.run_id),
        )

    def _by_law(
        self, kept: xr.Dataset, plan: xr.Dataset
    ) -> tuple[LawForecast | None, tuple[str, ...]]:
        try:
            found = law_forecast(kept, plan, self.here, loss=self.loss, level=self.level)
        except DataError as error:
            return None, (f"The Multi-Power Law of the schedule was not asked: {error}",)
        return found, ()


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


def _notes(evidence: Evidence, run: Evidence) -> tuple[str, ...]:
    found = []
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
