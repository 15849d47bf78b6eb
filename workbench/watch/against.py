"""One run against a reference: the expected curve and place of every record, tests, open cases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.watch.alarms import Alarm, Kind, Onset
from workbench.watch.calibrate import start_of
from workbench.watch.kernels_glr import RAMP_UNIT, Change
from workbench.watch.kernels_records import BLOCKS, normal_bound, robust_sd
from workbench.watch.kernels_state import Wander
from workbench.watch.records import Place
from workbench.watch.reference import Reference, warmup_of
from workbench.watch.sequential import RunTest, Tested

SETTLE = 0.05
"""An open case is closed, and its onset no longer refined, after this share of training."""
_BACK_BLOCKS = 3
_BACK_BLOCKS_TRIED = (3, 4, 6, 8, 12, 16, 24)
_BACK_SHARE = 0.4
_NEAR = 2e-3
_CALM = 4.0
_UNSURE_SLOPE = 10.0
_SHARED_SHARE = 0.5
_LEAVING = 0.02
_OTHER_DATA = "the run no longer sees the data of its sisters, which may be all there is to it"


@dataclass
class _Case:
    """A change that was alarmed and may yet pass: which alarm, and for how long it looks over."""

    index: int
    x: float
    change: Change
    calm: int = 0
    peak: float = 0.0


class AgainstReference:
    """Tests one run against its family.

    Parameters
    ----------
    reference : Reference
        The family.
    controls : mapping
        The run's coordinates, as for `Reference.expect`; ``warmup_fraction`` sets when it begins.
    false_alarm : float
        Chance that a healthy run is alarmed.
    """

    def __init__(
        self, reference: Reference, controls: Mapping[str, Any], *, false_alarm: float
    ) -> None:
        self.thresholds = reference.thresholds(false_alarm)
        self.expected = reference.expect(controls)
        self.alarms: list[Alarm] = []
        """Alarms, and among them what is of the data and so no alarm."""
        self.left_data: tuple[int, float] | None = None
        self.rows: list[tuple[float, float, float, float]] = []
        data = reference.data
        self._curve = self.expected.log_shape.tolist()
        self._own = data["own_noise"].to_numpy().astype(float).tolist()
        self._plain = data["plain_noise"].to_numpy().astype(float).tolist()
        self._position = data["position"].to_numpy()
        self._shared = data["shared"].to_numpy().astype(float)
        self._spread = data["spread"].to_numpy().astype(float)
        outlier = normal_bound(false_alarm, float(len(self._shared)))
        self._artefact = outlier * robust_sd(self._shared) if len(self._shared) else math.inf
        self.start = start_of(warmup_of(controls))
        wander, mismatch = reference.wander, self.expected.slope_sd
        wander = Wander(wander.lasting, wander.memory, wander.level, wander.slope + mismatch**2)
        slope_sd = math.hypot(float(data.attrs["slope_sd"]), mismatch)
        self.test = RunTest(
            wander,
            slope_sd=slope_sd,
            start=self.start,
            data_wander=float(data.attrs["data_wander"]),
        )
        self._last = self._now = 0.0
        self._case: _Case | None = None
        self._passing: dict[Kind, tuple[int, float]] = {}

    def update(self, step: int, x: float, log_loss: float, position: int) -> list[Alarm]:
        """Take in a record; return the alarms that are new, or known better.

        Parameters
        ----------
        step : int
            Optimiser step.
        x : float
            Progress.
        log_loss : float
            Finite.
        position : int
            Place in the data, as `data_positions`.
        """
        expected, place = self._at(x, position)
        if expected != expected:
            return []
        raw = log_loss - expected
        self._last, self._now = self._now, x
        tested = self.test.record(x, raw, place)
        if self.test.departed and self.left_data is None:
            self._leave(step, x)
        found = self._single(step, x, tested, place)
        if tested.score == tested.score:
            self.rows.append((x, raw, self.test.level[0], tested.score))
            found += self._block(step, x, tested.score)
        return found

    def _leave(self, step: int, x: float) -> None:
        """Note that the run sees other data now; what looked like spikes just before was that."""
        self.left_data = (step, x)
        for index, alarm in enumerate(self.alarms):
            if alarm.kind == "spike" and alarm.progress > x - _LEAVING:
                self.alarms[index] = replace(alarm, kind="data", note=_OTHER_DATA)
        if self._case is not None:
            known = self.alarms[self._case.index]
            self.alarms[self._case.index] = replace(known, kind="data", note=_OTHER_DATA)

    def _at(self, x: float, position: int) -> tuple[float, Place]:
        """Return the expected log shape at progress `x`, and what is known of the place."""
        cell = min(max(x * BLOCKS - 1, 0.0), BLOCKS - 1.0)
        k = min(int(cell), BLOCKS - 2)
        share = cell - k
        expected = (1 - share) * self._curve[k] + share * self._curve[k + 1]
        own, plain = self._own[k], self._plain[k]
        i = int(np.searchsorted(self._position, position))
        if i < len(self._position) and self._position[i] == position:
            return expected, Place(float(self._shared[i]), float(self._spread[i]), own, plain)
        return expected, Place(math.nan, 0.0, own, plain)

    def _single(self, step: int, x: float, tested: Tested, place: Place) -> list[Alarm]:
        """Look at one record by itself: a spike, or what the data did to all."""
        off = tested.off
        if off != off or self._case is not None:
            return []
        kind: Kind = "spike"
        limit, size = self.thresholds.spike, tested.cleaned.residual - self.test.level[0]
        if abs(off) <= limit:
            size = tested.cleaned.plain - self.test.level[0]
            limit = self._artefact / math.sqrt(tested.cleaned.plain_variance)
            shared = tested.cleaned.gain * place.shared
            explained = tested.cleaned.gain > 0 and shared > _SHARED_SHARE * size
            if not (explained and place.shared > self._artefact):
                return self._passed(step, x, off)
            kind, off = "data", tested.plain_off
        known = self._passing.get(kind)
        self._passing[kind] = (known[0] if known else len(self.alarms), x)
        if known is not None:
            before = self.alarms[known[0]]
            if abs(size) > abs(math.log1p(before.size)):
                self.alarms[known[0]] = replace(before, statistic=off, size=math.expm1(size))
            return []
        onset = Onset(x, self._last, x)
        note = "sister runs show it at the same data" if kind == "data" else ""
        alarm = Alarm(step, x, kind, off, limit, onset, math.expm1(size), note=note)
        self.alarms.append(alarm)
        return [alarm]

    def _passed(self, step: int, x: float, off: float) -> list[Alarm]:
        """Mark a spike or artefact that is over."""
        over = []
        for kind, (index, last) in list(self._passing.items()):
            if x - last > _NEAR or abs(off) < _CALM:
                del self._passing[kind]
                self.alarms[index] = replace(self.alarms[index], recovered=step)
                over.append(self.alarms[index])
        return over

    def _block(self, step: int, x: float, score: float) -> list[Alarm]:
        if self._case is None:
            if score <= self.thresholds.score:
                return []
            change = self.test.change()
            note = _OTHER_DATA if self.test.departed else ""
            index = self._begun_as_spike(change)
            alarm = _as_alarm(step, x, change, self.thresholds.score, note)
            if index == len(self.alarms):
                self.alarms.append(alarm)
            else:
                first = self.alarms[index]
                self.alarms[index] = replace(alarm, step=first.step, progress=first.progress)
            self._case = _Case(index, x, change)
            return [self.alarms[index]]
        return self._follow(step, x, score, self._case)

    def _begun_as_spike(self, change: Change) -> int:
        """Return which alarm a change continues: the spike it began with, or a new one."""
        known = self._passing.pop("spike", None)
        if known is not None and known[1] >= change.lower:
            return known[0]
        return len(self.alarms)

    def _follow(self, step: int, x: float, score: float, case: _Case) -> list[Alarm]:
        """Refine an open case, and see whether the run came back or stays away."""
        if score > case.change.score:
            case.change = self.test.change()
            known = self.alarms[case.index]
            fresh = _as_alarm(known.step, known.progress, case.change, known.threshold, known.note)
            self.alarms[case.index] = fresh
        if self._back(x, case):
            self.alarms[case.index] = replace(
                self.alarms[case.index],
                kind="data" if self.alarms[case.index].note else "spike",
                recovered=step,
                size=math.expm1(math.copysign(case.peak, case.change.amplitude)),
            )
            level = self.test.foreseen(x, before=case.change.lower)
            noise = self.test.block_sd(_BACK_BLOCKS)
            self._close(x, level, level_sd=2 * noise, slope_sd=self.test.slope_sd)
            return [self.alarms[case.index]]
        if x - case.x > SETTLE:
            level, noise = self.test.latest(_BACK_BLOCKS), self.test.block_sd(_BACK_BLOCKS)
            slope_sd = _UNSURE_SLOPE * self.test.slope_sd
            self._close(x, level, level_sd=3 * noise, slope_sd=slope_sd)
        return []

    def _back(self, x: float, case: _Case) -> bool:
        """Tell whether the run is back where it would have been, by enough blocks to tell."""
        change = case.change
        height = abs(change.amplitude)
        if change.shape == "ramp":
            height *= max(x - change.onset, 0.0) / RAMP_UNIT
        blocks = next((m for m in _BACK_BLOCKS_TRIED if self.test.block_sd(m) < 0.25 * height), 0)
        if not blocks or x - change.onset < blocks / BLOCKS:
            return False
        away = self.test.latest(blocks) - self.test.foreseen(x, before=change.lower)
        away = math.copysign(away, away * change.amplitude)
        case.peak = max(case.peak, away)
        case.calm = case.calm + 1 if away < _BACK_SHARE * height else 0
        return case.calm >= 2

    def _close(self, x: float, level: float, *, level_sd: float, slope_sd: float) -> None:
        self._case = None
        self.test.restart(x, level, level_sd=level_sd, slope_sd=slope_sd)


def _as_alarm(step: int, x: float, change: Change, threshold: float, note: str) -> Alarm:
    kind: Kind = "jump" if change.shape == "jump" else "drift"
    onset = Onset(change.onset, change.lower, change.upper)
    size = math.expm1(change.amplitude)
    score = math.copysign(change.score, size)
    return Alarm(step, x, "data" if note else kind, score, threshold, onset, size, note=note)
