"""Which learning rate a run had at every step, and the loss records a schedule law is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import default_loss, require_loss
from workbench.errors import DataError
from workbench.laws.kernels_schedule import MAX_BLOCKS, Path, make_path
from workbench.recipes import Schedule, schedule_factors
from workbench.schema import LossName, iter_runs

Floats = NDArray[np.float64]
EARLY = 0.02
FIT_RECORDS = 400


@dataclass(frozen=True)
class ScheduledRun:
    """One run as a schedule law sees it.

    Parameters
    ----------
    run_id : str
        Name of the run.
    lr : ndarray of shape (steps,)
        Learning rate of every step from 0 to the last record.
    step : ndarray of int, shape (obs,)
        Steps of the records after the start of the fit window.
    loss : ndarray of shape (obs,)
        Their losses [nats/token].
    note : str
        What had to be assumed about the learning rate; empty for nothing.
    """

    run_id: str
    lr: Floats
    step: NDArray[np.int64]
    loss: Floats
    note: str = ""

    def path(self, *, max_blocks: int = MAX_BLOCKS) -> Path:
        """Return the schedule at the records; see `make_path`."""
        return make_path(self.lr, self.step, max_blocks=max_blocks)

    def thinned(self, records: int = FIT_RECORDS) -> ScheduledRun:
        """Return the run with at most `records` records, each the mean of neighbours."""
        if len(self.step) <= records:
            return self
        group = np.arange(len(self.step)) * records // len(self.step)
        count = np.bincount(group)
        step = np.round(np.bincount(group, self.step) / count).astype(np.int64)
        loss = np.bincount(group, self.loss) / count
        return ScheduledRun(self.run_id, self.lr, step, loss, self.note)


def scheduled_runs(
    runs: xr.Dataset, *, loss: LossName | None = None, start: float = EARLY
) -> list[ScheduledRun]:
    """Read the learning rate and the loss of every run.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs with ``learning_rate`` records, or a known ``schedule`` with ``peak_lr``.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`.
    start : float
        Records before this share of the longest run are left out, as are those of the warm-up:
        the laws have no term for the first fast fall.

    Returns
    -------
    list of ScheduledRun

    Raises
    ------
    DataError
        If the learning rate of a run is unknown or no record is left.

    Notes
    -----
    Between records the rate is a straight line, except where it is flat on both sides of a change:
    that is a jump, and it happens at the later record. Before the first record it rises linearly
    over ``warmup_steps`` (or ``warmup_fraction`` of the run) to the first known rate and stays
    there, so runs that branch off a constant trunk get the trunk's past.
    """
    loss = default_loss(runs) if loss is None else require_loss(runs, loss)
    longest = max(int(one["step"].to_numpy()[-1]) for _, one in iter_runs(runs))
    return [_read(name, one, loss, start * longest) for name, one in iter_runs(runs)]


def learning_rates(run: xr.Dataset) -> tuple[Floats, int, str]:
    """Return the learning rate of every step of one run, the end of its warm-up, and a note.

    Parameters
    ----------
    run : Dataset (obs)
        One run.

    Returns
    -------
    lr : ndarray of shape (last step + 1,)
    warmup_end : int
    note : str
    """
    step = run["step"].to_numpy().astype(np.int64)
    warmup = _warmup(run)
    known = np.zeros(len(step), dtype=bool)
    if "learning_rate" in run.variables:
        rate = run["learning_rate"].to_numpy().astype(np.float64)
        known = np.isfinite(rate)
    if not known.any():
        return _from_recipe(run, int(step[-1]) + 1), int(warmup or 0), ""
    lr = _between(step[known], rate[known], int(step[-1]) + 1)
    note = ""
    if warmup is None and step[known][0] > 0 and not _rises(rate[known]):
        note = "its warm-up is unknown and taken as none; set warmup_steps"
    ramp = min(int(warmup or 0), len(lr))
    after = step[known][step[known] >= ramp]
    top = lr[after[0]] if len(after) else lr[-1]
    return warmed_up(lr, ramp, peak=float(top)), ramp, note


def warmed_up(lr: Floats, warmup_steps: int, *, peak: float) -> Floats:
    """Return the rates with the warm-up as the schedule laws count it: peak·step/warmup_steps.

    The published laws take the rate at the time of a record, before its step, so a run begins at
    rate 0; `recipes.schedule_factors` gives the rate that step applies, (step + 1)/warmup_steps.
    The two differ only within the warm-up. This is the one place where one becomes the other: with
    (step + 1) the published constants score 0.00379 and 0.00440 on their runs instead of 0.00376
    and 0.00434.
    """
    rise = peak * np.arange(warmup_steps) / max(warmup_steps, 1)
    return np.concatenate([rise[: len(lr)], lr[warmup_steps:]])


def planned_rates(
    schedule: Schedule, *, total_steps: int, warmup_steps: int, peak: float, **shape: Any
) -> Floats:
    """Return the learning rate per step of a named schedule as the schedule laws count it.

    Parameters
    ----------
    schedule, total_steps, **shape
        See `recipes.schedule_factors`.
    warmup_steps : int
        Steps of the linear warm-up.
    peak : float
        Highest learning rate.

    Returns
    -------
    ndarray of shape (total_steps,)
    """
    factors = schedule_factors(
        schedule, total_steps=total_steps, warmup_fraction=warmup_steps / total_steps, **shape
    )
    return warmed_up(peak * factors, warmup_steps, peak=peak)


def _read(name: str, run: xr.Dataset, loss: LossName, first: float) -> ScheduledRun:
    lr, warmup, note = learning_rates(run)
    step, values = run["step"].to_numpy().astype(np.int64), run[loss].to_numpy().astype(np.float64)
    keep = np.isfinite(values) & (step >= max(warmup, first)) & (step > 0)
    if not keep.any():
        msg = f"Run {name!r} has no finite {loss} after its warm-up (step {warmup}). Leave it out."
        raise DataError(msg)
    if (values[keep] <= 0).any():
        msg = f"Schedule laws need positive losses; run {name!r} has {values[keep].min():g}."
        raise DataError(msg)
    return ScheduledRun(name, lr, step[keep], values[keep], note)


def _number(run: xr.Dataset, name: str) -> float:
    return float(run[name]) if name in run.variables else float("nan")


def _warmup(run: xr.Dataset) -> float | None:
    steps = _number(run, "warmup_steps")
    if np.isnan(steps):
        steps = _number(run, "warmup_fraction") * _number(run, "total_steps")
    return None if np.isnan(steps) else float(np.round(steps))


def _rises(rate: Floats) -> bool:
    """Whether the records themselves show the warm-up."""
    return bool(rate[0] < 0.5 * rate.max())


def _between(step: NDArray[np.int64], rate: Floats, n: int) -> Floats:
    lr = np.interp(np.arange(n), step, rate)
    tolerance = 1e-6 * rate.max()
    change = np.abs(np.diff(rate)) > tolerance
    flat = np.concatenate([[True], ~change, [True]])
    for i in np.flatnonzero(change & flat[:-2] & flat[2:]):
        lr[step[i] : step[i + 1]] = rate[i]
    return lr


def _from_recipe(run: xr.Dataset, n: int) -> Floats:
    name = str(run["run_id"].to_numpy())
    schedule = str(run["schedule"].to_numpy()) if "schedule" in run.variables else ""
    peak, total = _number(run, "peak_lr"), _number(run, "total_steps")
    if schedule not in get_args(Schedule) or np.isnan([peak, total]).any():
        msg = (
            f"The learning rate of run {name!r} is unknown: no learning_rate records, and schedule "
            f"{schedule!r} with peak_lr {peak:g} and total_steps {total:g} does not say it. Import "
            "the learning rate, or set schedule, peak_lr and total_steps with --set."
        )
        raise DataError(msg)
    decay, final = _number(run, "decay_fraction"), _number(run, "final_lr_fraction")
    rates = planned_rates(
        cast(Schedule, schedule),
        total_steps=int(total),
        warmup_steps=int(_warmup(run) or 0),
        peak=peak,
        decay_fraction=None if np.isnan(decay) or schedule == "constant" else decay,
        final_lr_fraction=0.0 if np.isnan(final) else final,
    )
    return np.concatenate([rates, np.full(max(0, n - len(rates)), rates[-1])])[:n]


def stretches(runs: Sequence[ScheduledRun], per_run: int = 8) -> NDArray[np.int64]:
    """Return the stretch of neighbouring records that each record belongs to.

    Parameters
    ----------
    runs : sequence of ScheduledRun
        Fitted runs, their records end to end.
    per_run : int
        Stretches a run is cut into.

    Returns
    -------
    ndarray of int, shape (obs,)
    """
    parts = [
        np.arange(len(run.step)) * per_run // len(run.step) + i * per_run
        for i, run in enumerate(runs)
    ]
    return np.unique(np.concatenate(parts), return_inverse=True)[1]
