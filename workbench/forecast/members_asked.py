"""Which members are asked about a run, and their answers as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import xarray as xr

from workbench.errors import DataError
from workbench.forecast.combine import BackTest, back_test, combine
from workbench.forecast.evidence import Evidence, gather, usable
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
from workbench.forecast.prefix import final_levels, hide_losses, truncate
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
    here : Evidence
        The prefix of the run.
    loss : {"eval_loss", "train_loss"}
        Which loss.
    level : float
        Level of the interval.
    aligner : str
        How ``align`` fits the scale.
    """

    reference: xr.Dataset
    run: xr.Dataset
    here: Evidence
    loss: LossName
    level: float
    aligner: Aligner

    def answer(
        self, method: Method, law: CurveLawFitter | None, progress: Progress | None
    ) -> Answer:
        """Ask every member that applies and weigh the answers.

        Raises
        ------
        DataError
            If no reference can be used, or the method does not apply.
        """
        asks_law = law is None and method in ("auto", "schedule")
        known = gather(self.reference, at=self.here.at, loss=self.loss, finished=True)
        try:
            evidence, left_out = usable(known, self.here)
        except DataError:
            by_law, noted = self._by_law() if asks_law else (None, ())
            if by_law is None:
                raise
            return self._joined([], {}, by_law, None, noted)
        members, tests = self._by_rules(method, evidence, progress)
        # The law answers where no member has been tested on other references: beside tested ones
        # it did not help (public cosine runs from other cosine runs, 20 to 50 % of training).
        tested = any(len(tests[member.name].error) for member in members)
        by_law, noted = self._by_law() if asks_law and not tested else (None, ())
        if by_law is not None:
            members = []
            left_out = [row for row in left_out if row["run_id"] not in by_law.runs]
        elif not members:
            members = [self._by_curves(evidence, law or surrogate_law)]
        notes = (*_notes(evidence, self.here), *noted)
        made = self._joined(members, tests, by_law, evidence, notes)
        return replace(made, left_out=tuple(left_out))

    def _by_rules(
        self, method: Method, evidence: Evidence, progress: Progress | None
    ) -> tuple[list[Member], dict[str, BackTest]]:
        rules = _rules(method, evidence, self.here, self.aligner)
        if not rules:
            return [], {}
        tests = back_test(evidence, self.here, rules, level=self.level, progress=progress)
        answers = [rule(evidence, self.here, self.level) for rule in rules.values()]
        members = [member for member in answers if member is not None]
        if not members:
            raise DataError(_does_not_apply(method, evidence, self.here))
        return members, tests

    def _by_curves(self, evidence: Evidence, fitter: CurveLawFitter) -> Member:
        return schedule_member(
            take_runs(self.reference, np.isin(run_names(self.reference), evidence.run_id)),
            hide_losses(self.run, self.here.at),
            at=self.here.at,
            loss=self.loss,
            level=self.level,
            fitter=fitter,
        )

    def _by_law(self) -> tuple[LawForecast | None, tuple[str, ...]]:
        """Ask the law of the schedule; a finished reference serves it from wherever it begins."""
        done = np.isfinite(final_levels(self.reference, loss=self.loss).to_numpy())
        plan = hide_losses(self.run, self.here.at)
        if not done.any():
            return None, ()
        finished = take_runs(self.reference, done)
        try:
            found = law_forecast(finished, plan, self.here, loss=self.loss, level=self.level)
        except DataError as error:
            return None, (f"The Multi-Power Law of the schedule was not asked: {error}",)
        return found, ()

    def _joined(
        self,
        members: list[Member],
        tests: dict[str, BackTest],
        by_law: LawForecast | None,
        evidence: Evidence | None,
        notes: tuple[str, ...],
    ) -> Answer:
        members = members + ([] if by_law is None else [by_law.member])
        joined, weights = combine(members, tests, level=self.level)
        course = by_law.course if by_law is not None and joined.name == "multi-power" else None
        names = [*([] if evidence is None else evidence.run_id), *(by_law.runs if by_law else ())]
        return Answer(
            self.here,
            joined,
            tuple(members),
            weights,
            path_to_end(evidence, self.here, joined, course=course),
            notes,
            tests,
            tuple(dict.fromkeys(names)),
        )


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
