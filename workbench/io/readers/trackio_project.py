"""Runs of one Trackio project, as its database and its Parquet snapshot both record them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from workbench.io.trackers import TrackedRun, number, numbers

_NAIVE = "its times carry no time zone (an older Trackio); they are taken as UTC"


class Project:
    """Collects the runs of one project.

    Parameters
    ----------
    name : str
        The project, which is the family of its runs.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._runs: dict[str, TrackedRun] = {}

    def runs(self) -> list[TrackedRun]:
        """Return the runs in the order they were first met."""
        return list(self._runs.values())

    def run(self, key: object, name: object) -> TrackedRun:
        """Return a run; before Trackio 0.24 its name was its only key, given as None here."""
        own = f"{self.name}/{name}" if key is None else str(key)
        if own not in self._runs:
            self._runs[own] = TrackedRun(own, str(name or ""), family=self.name)
        return self._runs[own]

    def record(self, run: TrackedRun, step: object, timestamp: object, values: Any) -> None:
        """Add what was logged by one call.

        Parameters
        ----------
        run : TrackedRun
            Receives it.
        step : object
            Should be a number.
        timestamp : object
            Should be text in ISO 8601.
        values : object
            Should be a mapping of names to values.
        """
        at, time = number(step), self._seconds(run, timestamp)
        if not isinstance(values, Mapping):
            run.left_out["record without readable values"] += 1
        elif at is None:
            run.left_out["record without a step"] += 1
        else:
            run.started = run.started or (0.0 if math.isnan(time) else time)
            for name, value in numbers(values, run.left_out):
                run.log(name, at, value, time)

    def configure(self, run: TrackedRun, config: Any, created: object) -> None:
        """Set a run's config; keys that start with an underscore are Trackio's own."""
        settings = config if isinstance(config, Mapping) else {}
        run.config = {str(k): v for k, v in settings.items() if not str(k).startswith("_")}
        time = self._seconds(run, settings.get("_Created", created))
        run.started = run.started if math.isnan(time) else time
        if isinstance(settings.get("_Group"), str):
            run.more["group"] = settings["_Group"]

    def _seconds(self, run: TrackedRun, timestamp: object) -> float:
        try:
            time = datetime.fromisoformat(str(timestamp))
            if time.tzinfo is None:
                time = time.replace(tzinfo=UTC)
                if _NAIVE not in run.notes:
                    run.notes.append(_NAIVE)
            return time.timestamp()
        except (ValueError, OverflowError):
            return math.nan
