"""A run in progress, watched record by record."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.watch.against import AgainstReference
from workbench.watch.alarms import FATAL, Alarm, Annotation, Kind, MonitorReport, Onset
from workbench.watch.baselines import Baselines
from workbench.watch.reference import Reference
from workbench.watch.rules import DivergenceRule, StallRule

PATIENCE = 0.005
"""A run that diverged is given this share of training to come back before it should stop."""
_SEEN_WITHIN = 26
_LEVEL = 1.645


class Monitor:
    """Watches one run; `update` takes a fraction of a millisecond a record.

    Parameters
    ----------
    reference : Reference or path or None
        The run's family; without one only the rules that need none apply.
    run_id : str
        For people.
    false_alarm : float
        Chance that a healthy run is alarmed by the tests against the reference.
    stop_on : sequence of str
        Kinds of alarm after which `should_stop` is true.
    patience : float
        Share of training that a run has to come back from a divergence before that.
    **controls : number or text
        ``total_steps`` (or ``tokens_total``) is needed with a reference; ``model_size``, ``tau``,
        ``tpp``, ``schedule``, ``batch_size``, ``warmup_fraction``, … say which curve to expect.

    Raises
    ------
    ArgumentError
        If an argument is out of range.
    DataError
        If the planned length is not given.

    Examples
    --------
    >>> watch = Monitor("family.nc", total_steps=20_000, model_size=1e8)  # doctest: +SKIP
    >>> for step, loss in training():  # doctest: +SKIP
    ...     if watch.update(step, loss) and watch.should_stop:
    ...         break
    """

    def __init__(
        self,
        reference: Reference | str | os.PathLike[str] | None,
        *,
        run_id: str = "run",
        false_alarm: float = 0.01,
        stop_on: tuple[Kind, ...] = FATAL,
        patience: float = PATIENCE,
        **controls: Any,
    ) -> None:
        if isinstance(reference, str | os.PathLike):
            reference = Reference.load(reference)
        self.run_id, self.false_alarm = run_id, false_alarm
        self._stop_on, self._patience = stop_on, patience
        self._controls = controls
        self._total = _total(controls, run_id)
        self._family = None
        self._loss = "train_loss"
        self._about = "no reference"
        if reference is not None:
            self._family = AgainstReference(reference, controls, false_alarm=false_alarm)
            self._loss = reference.loss
            name = reference.data.attrs["name"] or "reference"
            self._about = f"{name} {reference.version[:12]}: {self._family.expected.how}"
        elif not 0 < false_alarm <= 0.5:
            msg = f"false_alarm is a chance per run in (0, 0.5], found {false_alarm!r}. Try 0.01."
            raise ArgumentError(msg)
        self.annotations: list[Annotation] = []
        self._baselines = Baselines()
        self._divergence, self._stall = DivergenceRule(), StallRule()
        self._own: list[Alarm] = []
        self._open: dict[Kind, int] = {}
        self._step, self._x = -1, 0.0
        self._batch = math.nan
        self._idle = False

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Alarms in the order they came."""
        both = [*self._own, *(self._family.alarms if self._family else ())]
        alarms = [alarm for alarm in both if alarm.kind != "data"]
        return tuple(sorted(alarms, key=lambda alarm: alarm.progress))

    @property
    def artefacts(self) -> tuple[Alarm, ...]:
        """What the data did, in the order it came: no fault of the run, and no alarm."""
        known = self._family.alarms if self._family else ()
        return tuple(alarm for alarm in known if alarm.kind == "data")

    @property
    def should_stop(self) -> bool:
        """Whether an alarm of the kinds asked for stands, and has stood for the patience given."""
        for alarm in self.alarms:
            if alarm.kind in self._stop_on and alarm.recovered is None:
                waits = self._patience if alarm.kind == "divergence" else 0.0
                if self._x - alarm.progress >= waits:
                    return True
        return False

    def update(
        self,
        step: int,
        loss: float,
        *,
        tokens: float | None = None,
        batch_size: float | None = None,
        time: float | None = None,
    ) -> list[Alarm]:
        """Take in one record.

        Parameters
        ----------
        step : int
            Optimiser step. One that goes back is a restart: records up to where the run had been
            are only looked at by the rules that need no reference.
        loss : float
            The loss the reference is of.
        tokens : float, optional
            Tokens seen.
        batch_size : float, optional
            Tokens a step, where it may change.
        time : float, optional
            Wall clock [s], for stalls.

        Returns
        -------
        list of Alarm
            Those that are new, or have recovered with this record; artefacts of the data among
            them; usually none.
        """
        x = self._progress(step, tokens)
        again = self._annotate(step, x, batch_size)
        value = float(loss)
        if not math.isfinite(value) or value <= 0:
            return self._no_number(step, x, value)
        found = self._rules(step, x, value, math.nan if time is None else time)
        if again:
            return self._noted(found)
        self._baselines.update(step, x, value)
        if self._family is not None:
            left = self._family.left_data
            found += self._family.update(step, x, math.log(value), self._place(step, tokens))
            if left is None and self._family.left_data is not None:
                self.note("sees other data than the reference's runs from here on", kind="data")
        return self._noted(found)

    def note(self, text: str, *, kind: str = "note", step: int | None = None) -> None:
        """Annotate the run at a step, by default the latest one; alarms near it will name it."""
        at = self._step if step is None else step
        x = self._x if step is None else self._progress(step, None)
        self.annotations.append(Annotation(at, x, kind, text))

    def idle(self, now: float) -> list[Alarm]:
        """Alarm a stall when no record came for ten usual intervals and a minute, by `now` [s]."""
        silent = self._stall.idle(now)
        if silent is None or self._idle:
            return []
        self._idle = True
        alarm = Alarm(self._step, self._x, "stall", silent, 0.0, note=f"silent for {silent:.0f} s")
        self._own.append(alarm)
        return [alarm]

    def report(self) -> MonitorReport:
        """Return where the run stands."""
        family = self._family
        final, score, threshold = None, math.nan, math.nan
        sensitivity: dict[str, float] = {}
        if family is not None:
            level, sd = family.test.at_end()
            score, threshold = family.test.score, family.thresholds.score
            if math.isfinite(level):
                final = (
                    math.exp(level),
                    math.exp(level - _LEVEL * sd),
                    math.exp(level + _LEVEL * sd),
                )
            sensitivity = family.test.smallest(threshold, blocks=_SEEN_WITHIN)
        return MonitorReport(
            run_id=self.run_id,
            loss=self._loss,
            at=self._x,
            false_alarm=self.false_alarm,
            alarms=tuple(self._named(alarm) for alarm in self.alarms),
            artefacts=tuple(self._named(alarm) for alarm in self.artefacts),
            annotations=tuple(self.annotations),
            baselines=self._baselines.alarms(),
            final_loss=final,
            reference=self._about,
            score=score,
            threshold=threshold,
            sensitivity={name: math.expm1(min(v, 50.0)) for name, v in sensitivity.items()},
            blind_spots=_blind_spots(family, sensitivity),
            track=_track(family),
        )

    def _progress(self, step: int, tokens: float | None) -> float:
        steps, by_tokens = self._total
        if tokens is not None and by_tokens > 0 and math.isfinite(tokens):
            return float(tokens) / by_tokens
        return step / steps if steps > 0 else 0.0

    def _place(self, step: int, tokens: float | None) -> int:
        if tokens is not None and math.isfinite(tokens):
            return int(tokens)
        batch = self._controls.get("batch_size")
        return round(step * (float(batch) if batch and math.isfinite(float(batch)) else 1.0))

    def _annotate(self, step: int, x: float, batch_size: float | None) -> bool:
        """Note restarts and changes of batch size; return whether the step was there before."""
        if batch_size is not None and math.isfinite(batch_size):
            if self._batch == self._batch and batch_size != self._batch:
                text = f"batch size {self._batch:g} became {batch_size:g} tokens"
                self.annotations.append(Annotation(step, x, "batch", text))
            self._batch = batch_size
        if step > self._step:
            self._step, self._x = step, x
            return False
        last = self.annotations[-1] if self.annotations else None
        if last is None or last.kind != "restart" or step <= last.step:
            text = f"restarted from step {step}, had been at {self._step}"
            self.annotations.append(Annotation(step, x, "restart", text))
        return True

    def _no_number(self, step: int, x: float, value: float) -> list[Alarm]:
        if "nan" in self._open:
            return []
        self._open["nan"] = len(self._own)
        alarm = Alarm(step, x, "nan", value, 0.0, Onset(x, x, x), note=f"the loss is {value:g}")
        self._own.append(alarm)
        return [alarm]

    def _rules(self, step: int, x: float, value: float, time: float) -> list[Alarm]:
        found = []
        log_loss = math.log(value)
        rise = self._divergence.update(x, log_loss)
        if rise is not None:
            onset = Onset(rise.since, rise.before, rise.since)
            self._open["divergence"] = len(self._own)
            size = math.expm1(rise.size)
            found.append(Alarm(step, x, "divergence", rise.size, rise.limit, onset, size))
            self._own.append(found[-1])
        elif self._divergence.recovered(log_loss):
            index = self._open.pop("divergence")
            self._own[index] = replace(self._own[index], kind="spike", recovered=step)
            found.append(self._own[index])
        if self._stall.update(value, time):
            found.append(Alarm(step, x, "stall", value, 0.0, note="the loss repeats itself"))
            self._own.append(found[-1])
        self._idle = False
        return found

    def _noted(self, found: list[Alarm]) -> list[Alarm]:
        return [self._named(alarm) for alarm in found]

    def _named(self, alarm: Alarm) -> Alarm:
        """Add to an alarm what happened to the run within the interval of its onset."""
        if alarm.onset is None or not self.annotations:
            return alarm
        low, high = alarm.onset.lower - 0.01, max(alarm.onset.upper, alarm.onset.progress) + 0.005
        near = [n.text for n in self.annotations if low <= n.progress <= high]
        said = "; ".join(filter(None, [alarm.note, *near]))
        return replace(alarm, note=said) if near else alarm


def _total(controls: Mapping[str, Any], run_id: str) -> tuple[float, float]:
    """Return the planned steps and tokens, 0 where unknown."""
    out = []
    for name in ("total_steps", "tokens_total"):
        value = controls.get(name)
        number = 0.0 if value is None or value == "" else float(value)
        out.append(number if math.isfinite(number) else 0.0)
    if not any(total > 0 for total in out):
        msg = (
            f"The planned length of run {run_id!r} is unknown. Give total_steps=N or "
            "tokens_total=N: progress is the share of the plan."
        )
        raise DataError(msg)
    return out[0], out[1]


def _track(family: AgainstReference | None) -> xr.Dataset:
    rows = np.array(family.rows if family else [], dtype=np.float64).reshape(-1, 4)
    names = ("residual", "level", "score")
    return xr.Dataset(
        {name: ("progress", rows[:, k + 1]) for k, name in enumerate(names)},
        coords={"progress": rows[:, 0]},
    )


def _blind_spots(
    family: AgainstReference | None, sensitivity: Mapping[str, float]
) -> tuple[str, ...]:
    if family is None:
        return ("anything but a rise of the loss: there is no reference",)
    found = [
        f"faults that began before {100 * family.start:.0f} % of training, and a loss that is off "
        "by a constant factor all along",
    ]
    drift = sensitivity.get("ramp", math.inf)
    if math.isfinite(drift):
        found.append(
            f"drifts slower than {100 * math.expm1(drift):.2g} % over 10 % of training and jumps "
            f"below {100 * math.expm1(sensitivity['jump']):.2g} %, within 5 % of training"
        )
    if family.expected.distance > 0:
        found.append(
            f"what the reference cannot know of this setting: it rests on {family.expected.how}"
        )
    return tuple(found)
