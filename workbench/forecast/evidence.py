"""What a forecast may look at: a run's beginning, and its references' beginnings and ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.collapse.groups import CONTROL_TOLERANCE, replicate_cells
from workbench.curves import on_progress, snap
from workbench.errors import DataError
from workbench.forecast.prefix import describe_prefix, final_levels, truncate, warmup_end
from workbench.schema import LossName, run_names

Floats = NDArray[np.float64]
POINTS = 200
_CONTROLS = ("tpp", "tau")


@dataclass(frozen=True)
class Evidence:
    """Runs as a forecast sees them; arrays of shape (run,) unless said.

    Parameters
    ----------
    run_id : list of str
        Names.
    at : float
        Progress up to which the prefixes go.
    level, slope : ndarray
        Log loss at `at` and −d log L/d log x there.
    final : ndarray
        Log final loss; NaN where it is not known, as for the run to predict.
    size, tau, tpp : ndarray
        Model size, τ and TPP; NaN where not recorded.
    compute : ndarray
        Training compute [FLOP].
    schedule : ndarray of str
        Name of the learning-rate schedule, "" where not recorded.
    cell : ndarray of int
        Runs alike in everything but the seed share a number.
    progress : ndarray of shape (x,)
        Grid of `curves`.
    curves : ndarray of shape (run, x)
        Log loss, NaN where not known.
    start : ndarray
        Where each run's window begins.
    """

    run_id: list[str]
    at: float
    level: Floats
    slope: Floats
    final: Floats
    size: Floats
    tau: Floats
    tpp: Floats
    compute: Floats
    schedule: NDArray[np.str_]
    cell: NDArray[np.int64]
    progress: Floats
    curves: Floats
    start: Floats

    def __len__(self) -> int:
        return len(self.run_id)

    @property
    def log_drop(self) -> Floats:
        """Log of the remaining drop of log loss."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.log(self.level - self.final))

    @property
    def cells(self) -> list[NDArray[np.int64]]:
        """Positions of the runs of every cell, in order of first appearance."""
        return [np.flatnonzero(self.cell == c) for c in dict.fromkeys(self.cell.tolist())]

    def take(self, index: ArrayLike) -> Evidence:
        """Keep some runs: positions or a mask."""
        chosen = np.asarray(index)
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        columns: dict[str, Any] = {
            name: value[rows]
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray) and name != "progress"
        }
        return replace(self, run_id=[self.run_id[i] for i in rows], **columns)

    def matches(self, run: Evidence) -> NDArray[np.bool_]:
        """Return which runs share schedule, τ and TPP (within 10 %) with the first of `run`."""
        out = self.schedule == run.schedule[0]
        for name in _CONTROLS:
            values, own = getattr(self, name), getattr(run, name)[0]
            together = snap(np.append(values, own), tolerance=CONTROL_TOLERANCE)
            same = together[:-1] == together[-1]
            out &= same | (np.isnan(values) & np.isnan(own))
        return np.asarray(out)


def gather(runs: xr.Dataset, *, at: float, loss: LossName, finished: bool) -> Evidence:
    """Describe runs for a forecast at progress `at`.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.
    at : float
        Share of the plan.
    loss : {"eval_loss", "train_loss"}
        Which loss.
    finished : bool
        Whether the ends may be looked at: true for references. For the run to predict everything
        beyond `at` is cut off before anything else is computed.

    Returns
    -------
    Evidence
    """
    if not finished:
        runs = truncate(runs, at)
    prefix = describe_prefix(runs, at=at, loss=loss)
    size = runs.sizes["run"]
    final = final_levels(runs, loss=loss).to_numpy() if finished else np.full(size, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        curves = np.log(on_progress(runs, loss=loss, points=POINTS).to_numpy())
    cell = np.empty(size, np.int64)
    for number, rows in enumerate(replicate_cells(runs)):
        cell[rows] = number

    def column(name: str) -> Floats:
        return runs[name].to_numpy() if name in runs else np.full(size, np.nan)

    return Evidence(
        run_id=run_names(runs),
        at=at,
        level=prefix["level"].to_numpy(),
        slope=prefix["slope"].to_numpy(),
        final=final,
        size=column("model_size"),
        tau=column("tau"),
        tpp=column("tpp"),
        compute=column("compute_total"),
        schedule=runs["schedule"].to_numpy().astype(str) if "schedule" in runs else _blank(size),
        cell=cell,
        progress=np.arange(1, POINTS + 1) / POINTS,
        curves=curves,
        start=np.maximum(at / 2, warmup_end(runs)),
    )


def _blank(size: int) -> NDArray[np.str_]:
    return np.full(size, "", dtype="<U1")


def usable(reference: Evidence, run: Evidence) -> tuple[Evidence, list[dict[str, str]]]:
    """Drop what cannot serve as a reference, with the reason for each.

    Raises
    ------
    DataError
        If nothing is left.
    """
    own = set(run.run_id)
    with np.errstate(invalid="ignore"):
        reasons = [
            (np.array([name in own for name in reference.run_id]), "is the run itself"),
            (np.isnan(reference.final), "has not finished its plan"),
            (np.isnan(reference.level), f"has too few records up to {reference.at:.0%}"),
            (~(reference.level > reference.final), "ends above its level at that point"),
        ]
    keep, left_out = np.ones(len(reference), dtype=bool), []
    for mask, reason in reasons:
        for i in np.flatnonzero(mask & keep):
            left_out.append({"run_id": reference.run_id[i], "reason": reason})
        keep &= ~mask
    if not keep.any():
        first = f", first {left_out[0]['run_id']!r}, which {left_out[0]['reason']}" * bool(left_out)
        msg = (
            f"None of {len(reference)} references can be used{first}. Give finished runs other "
            "than the one to predict with --reference."
        )
        raise DataError(msg)
    return reference.take(keep), left_out
