"""Watch a recorded run as if it were being trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from workbench.errors import ArgumentError
from workbench.forecast.prefix import as_runs
from workbench.schema import coordinate_names, run_names
from workbench.watch.alarms import Alarm, MonitorReport
from workbench.watch.monitor import Monitor
from workbench.watch.reference import Reference

_SILENT = 3


def controls_of_run(run: xr.Dataset) -> dict[str, Any]:
    """Return the coordinates of one run (run: 1, obs) as plain values; unknown ones left out."""
    out: dict[str, Any] = {}
    for name in coordinate_names(run):
        value = run[name].to_numpy()[0]
        if isinstance(value, str | np.str_):
            if value:
                out[name] = str(value)
        elif np.isfinite(value):
            out[name] = float(value)
    return out


class Feed:
    """Feeds the records of a ragged run to a monitor, and again whatever is new of it.

    A record without the loss is skipped, because runs log several things at different steps; where
    a loss that came at every record stops coming, that is a loss which is no number.

    Parameters
    ----------
    monitor : Monitor
        Of the run.
    loss : str
        Which loss to watch.
    """

    def __init__(self, monitor: Monitor, *, loss: str) -> None:
        self.monitor, self.loss = monitor, loss
        self._fed = -1
        self._interval = 0
        self._last = -1
        self._silent = 0
        self._unknown = False

    def take(self, run: xr.Dataset) -> list[Alarm]:
        """Feed the records beyond those fed before; return new alarms."""
        step = run["step"].to_numpy()
        new = step > self._fed
        names = ("tokens", "wall_time", "batch_size")
        columns = [
            run[n].to_numpy()[new].astype(float).tolist()
            if n in run.variables and run[n].dims == ("obs",)
            else [None] * int(new.sum())
            for n in names
        ]
        values = run[self.loss].to_numpy()[new].astype(float).tolist()
        found: list[Alarm] = []
        for at, value, tokens, time, batch in zip(
            step[new].tolist(), values, *columns, strict=True
        ):
            self._fed = at
            if value != value:
                if not self._missing():
                    continue
            else:
                self._seen(at)
            found += self.monitor.update(
                at, value, tokens=_known(tokens), time=_known(time), batch_size=_known(batch)
            )
        return found

    def _seen(self, step: int) -> None:
        self._interval = max(self._interval, self._silent + 1) if self._last >= 0 else 1
        self._last, self._silent = step, 0

    def _missing(self) -> bool:
        """Count a record without the loss; tell whether it should long have come."""
        self._silent += 1
        return self._last >= 0 and self._silent == max(_SILENT * self._interval, _SILENT)


def _known(value: float | None) -> float | None:
    return None if value is None or value != value else value


def monitor_for(run: xr.Dataset, reference: Reference | None, **options: Any) -> Monitor:
    """Return a monitor for one run (run: 1, obs), with the run's coordinates as its controls."""
    controls = controls_of_run(run)
    run_id = str(controls.pop("run_id"))
    controls.pop("status", None)
    return Monitor(reference, run_id=run_id, **options, **controls)


def monitor_run(
    run: xr.Dataset,
    *,
    reference: Reference | None,
    loss: str | None = None,
    **options: Any,
) -> MonitorReport:
    """Watch a recorded run from its first record to its last.

    Parameters
    ----------
    run : Dataset (run: 1, obs) or (obs)
        The run.
    reference : Reference or None
        Its family, made without it.
    loss : str, optional
        Which loss; by default that of the reference, or the training loss.
    **options
        ``false_alarm``, ``stop_on`` and ``patience`` of `Monitor`.

    Returns
    -------
    MonitorReport

    Raises
    ------
    ArgumentError
        If there is not one run, or it was a member of the reference.
    """
    run = as_runs(run)
    if run.sizes["run"] != 1:
        msg = f"One run is watched at a time, found {run.sizes['run']}. Select one by run_id."
        raise ArgumentError(msg)
    name = run_names(run)[0]
    if reference is not None and name in reference.members:
        msg = (
            f"Run {name!r} is a member of the reference, so that it would be compared with itself. "
            "Make the reference from the other runs."
        )
        raise ArgumentError(msg)
    if loss is None:
        loss = reference.loss if reference is not None else "train_loss"
    monitor = monitor_for(run, reference, **options)
    Feed(monitor, loss=loss).take(run)
    return monitor.report()
