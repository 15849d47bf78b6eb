"""What a monitor reports: alarms, onsets, annotations, and the report of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import numpy as np
import xarray as xr

from workbench.text import percent, plain

Kind = Literal["spike", "jump", "drift", "divergence", "nan", "stall", "data"]
FATAL: tuple[Kind, ...] = ("nan", "divergence")
"""Alarms after which a run is lost."""
FAULTS: tuple[Kind, ...] = ("jump", "drift", "divergence", "nan", "stall")
"""Alarms that say something is wrong with the run: neither a spike it got over, nor its data."""
_LOOKS = {
    "spike": "spike",
    "jump": "jump",
    "drift": "drift",
    "divergence": "divergence",
    "nan": "loss that is no number",
    "stall": "standstill",
    "data": "data artefact",
}


@dataclass(frozen=True)
class Onset:
    """When it began, with a 90 % interval [progress]."""

    progress: float
    lower: float
    upper: float

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Annotation:
    """Something that happened to a run: a restart, another batch size, or what a user noted."""

    step: int
    progress: float
    kind: str
    text: str


@dataclass(frozen=True)
class Alarm:
    """One alarm.

    Parameters
    ----------
    step : int
        When it was raised.
    progress : float
        The same, share of the plan.
    kind : str
        ``jump`` and ``drift``: the run left its family at once, or gradually. ``spike``: it left
        and came back. ``divergence``: the loss stays far above its best. ``nan``, ``stall``.
        ``data``: sister runs show the same at the same data, so it is no fault of the run.
    statistic, threshold : float
        What was compared.
    onset : Onset or None
        When it began.
    size : float
        By how much the loss is off, as a share of it; of a drift the rise over 10 % of training.
    recovered : int or None
        Step at which the run was back.
    note : str
        What else is known, such as a restart within the onset's interval.
    """

    step: int
    progress: float
    kind: Kind
    statistic: float
    threshold: float
    onset: Onset | None = None
    size: float = math.nan
    recovered: int | None = None
    note: str = ""

    @property
    def fatal(self) -> bool:
        """Whether the run is lost by it."""
        return self.kind in FATAL and self.recovered is None

    @property
    def fault(self) -> bool:
        """Whether something is wrong with the run."""
        return self.kind in FAULTS and self.recovered is None

    def to_dict(self) -> dict[str, Any]:
        """Return the alarm as plain numbers and text."""
        out = dict(vars(self)) | {"fatal": self.fatal}
        out["onset"] = self.onset.to_dict() if self.onset else None
        return out

    def __str__(self) -> str:
        parts = [f"{_LOOKS[self.kind]} at step {self.step} ({percent(self.progress)} of its plan)"]
        if math.isfinite(self.size):
            over = " over 10 % of training" if self.kind == "drift" else ""
            parts.append(f"{100 * self.size:+.2g} %{over}")
        if self.onset is not None:
            low, high = 100 * self.onset.lower, 100 * self.onset.upper
            parts.append(f"began at {100 * self.onset.progress:.1f} % ({low:.1f} to {high:.1f} %)")
        if self.recovered is not None:
            parts.append(f"back at step {self.recovered}")
        return ", ".join([*parts, self.note] if self.note else parts)


@dataclass(frozen=True)
class MonitorReport:
    """Where a watched run stands.

    Parameters
    ----------
    run_id : str
        The run.
    loss : str
        Which loss.
    at : float
        Progress of its last record.
    false_alarm : float
        Chance per healthy run that the tests against the reference alarm.
    alarms : tuple of Alarm
        In the order they came.
    artefacts : tuple of Alarm
        What the data did, which is no fault of the run and no alarm.
    annotations : tuple of Annotation
        Restarts, changes of batch size, notes.
    baselines : dict of str to int or None
        First alarm of the rules other tools use, a step.
    final_loss : tuple of float or None
        Final loss that the alignment points to, with its 90 % interval [nats/token].
    reference : str
        What it was compared with.
    score, threshold : float
        The sequential test now, and where it alarms; NaN without a reference.
    sensitivity : dict of str to float
        Smallest jump, and smallest drift over 10 % of training, that would be alarmed within 5 %
        of training, shares of the loss.
    blind_spots : tuple of str
        What cannot be seen.
    track : Dataset (progress)
        ``residual`` against the rolling alignment's start, ``level``, ``score``, one a block.
    """

    run_id: str
    loss: str
    at: float
    false_alarm: float
    alarms: tuple[Alarm, ...]
    artefacts: tuple[Alarm, ...]
    annotations: tuple[Annotation, ...]
    baselines: dict[str, int | None]
    final_loss: tuple[float, float, float] | None
    reference: str
    score: float
    threshold: float
    sensitivity: dict[str, float]
    blind_spots: tuple[str, ...]
    track: xr.Dataset = field(repr=False)

    @property
    def faults(self) -> tuple[Alarm, ...]:
        """Alarms that say something is wrong with the run."""
        return tuple(alarm for alarm in self.alarms if alarm.fault)

    @property
    def onset(self) -> Onset | None:
        """When the first fault began."""
        return next((alarm.onset for alarm in self.faults if alarm.onset), None)

    @property
    def state(self) -> str:
        """One word: healthy, flagged, fault or lost."""
        if any(alarm.fatal for alarm in self.alarms):
            return "lost"
        if self.faults:
            return "fault"
        return "flagged" if self.alarms else "healthy"

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.faults:
            worst = next((a for a in self.faults if a.fatal), self.faults[0])
            return f"{self.run_id} is {self.state}: {worst}."
        if self.alarms:
            kinds = sorted({_LOOKS[alarm.kind] for alarm in self.alarms})
            return f"{self.run_id} is flagged and has recovered: {', '.join(kinds)}."
        if not math.isfinite(self.threshold):
            return f"{self.run_id} shows no alarm by rules that need no reference."
        return f"{self.run_id} follows its family at {percent(self.at)} of its plan."

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers and text, JSON-ready."""
        raw = self.baselines.get("raw_rise")
        final = None
        if self.final_loss is not None:
            names = ("estimate", "lower", "upper")
            final = dict(zip(names, self.final_loss, strict=True)) | {"level": 0.9}
        content: dict[str, Any] = plain(
            {
                "run_id": self.run_id,
                "false_alarm": self.false_alarm,
                "alarms": [alarm.to_dict() for alarm in self.alarms],
                "data_artefacts": [alarm.to_dict() for alarm in self.artefacts],
                "onset": self.onset.to_dict() if self.onset else None,
                "raw_loss_alarm": None if raw is None else {"step": raw},
                "verdict": self.verdict,
                "state": self.state,
                "loss": self.loss,
                "at": self.at,
                "score": self.score,
                "threshold": self.threshold,
                "final_loss": final,
                "reference": self.reference,
                "baselines": self.baselines,
                "annotations": [vars(note) for note in self.annotations],
                "sensitivity": self.sensitivity,
                "blind_spots": list(self.blind_spots),
            }
        )
        return content

    def to_dataset(self) -> xr.Dataset:
        """Return the track with the verdict in its attributes."""
        return self.track.assign_attrs(run_id=self.run_id, verdict=self.verdict)

    def __str__(self) -> str:
        lines = [self.verdict, *(f"- {alarm}" for alarm in (*self.alarms, *self.artefacts))]
        if self.final_loss is not None:
            low, high = self.final_loss[1:]
            lines.append(
                f"its alignment points to a final {self.loss} of {self.final_loss[0]:.4f} "
                f"({low:.4f} to {high:.4f}, 90 %)"
            )
        if np.isfinite(self.threshold):
            lines.append(
                f"score {self.score:.2f}, alarm at {self.threshold:.2f} "
                f"({100 * self.false_alarm:g} % false alarms a run); against {self.reference}"
            )
        lines += [f"step {note.step}: {note.text}" for note in self.annotations]
        return "\n".join([*lines, *(f"Not seen: {text}" for text in self.blind_spots)])

    def _repr_html_(self) -> str:
        head, *rest = str(self).splitlines()
        rows = "".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in rest)
        return f"<p><b>{escape(head)}</b></p><ul>{rows}</ul>"
