"""The finished runs a reference is made of, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.curves import default_loss, record_progress, require_loss
from workbench.curves.kernels import local_linear
from workbench.errors import DataError
from workbench.forecast.learning_rate import learning_rate_factors
from workbench.forecast.prefix import final_levels, warmup_end
from workbench.schema import LOSSES, LossName, row_bounds, run_names, take_runs
from workbench.watch.expected import Controls
from workbench.watch.kernels_records import (
    BLOCKS,
    block_means,
    departed,
    on_same_data,
    shared_part,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
GRID: Floats = np.arange(1, BLOCKS + 1) / BLOCKS
_ENOUGH = 200
SMOOTHED = 8
"""Half-width, in blocks, of the line that smooths a member's curve: 3 % of the run in all."""


@dataclass(frozen=True)
class Records:
    """The records of one run: progress, log loss (NaN where not logged), place in the data."""

    x: Floats
    log_loss: Floats
    position: Ints


@dataclass(frozen=True)
class Members:
    """Finished runs: their curves, their controls, and what their records share.

    Parameters
    ----------
    run_id : list of str
        Names.
    controls : Controls
        Of each.
    log_shape, factors : ndarrays of shape (member, 512)
        Smoothed log L(x)/L(1), and the learning rate over its peak (NaN when unknown).
    away : ndarray of bool, shape (member, 512)
        Where a member no longer saw the data of its sisters.
    log_final : ndarray of shape (member,)
        log L(1).
    records : list of Records
        Of each.
    start : ndarray of shape (member,)
        End of the warm-up, progress.
    position : ndarray of int, shape (position,)
        Places in the data, increasing, at which several runs have a record.
    deviation : ndarray of shape (sister, position)
        Log loss less the smooth curve of every run on the same data, unfinished ones too.
    sisters : list of str
        Names of those.
    data_wander : float
        Spread, in logs of the loss, of what the data alone does to a loss over some percent of
        training; 0 where no runs share their data.
    """

    run_id: list[str]
    controls: Controls
    log_shape: Floats
    factors: Floats
    away: NDArray[np.bool_]
    log_final: Floats
    records: list[Records]
    start: Floats
    position: Ints
    deviation: Floats
    sisters: list[str]
    data_wander: float

    def shared(self, *, without: str = "") -> tuple[Floats, Floats]:
        """Return what the runs on the same data share, and its spread, one run left out.

        See `shared_part`; shapes (position,).
        """
        kept = np.array([name != without for name in self.sisters], dtype=bool)
        if int(kept.sum()) < 2 or not len(self.position):
            return np.full(len(self.position), np.nan), np.full(len(self.position), np.nan)
        return shared_part(self.deviation[kept])


def watched_loss(runs: xr.Dataset) -> LossName:
    """Return the loss to watch: `default_loss`, or the training loss where it tells far more.

    A held-out loss of a dozen records would hide for long what every step of the training loss
    shows: it is only watched with 200 finite records a run, or half as many as the training loss.
    """
    loss = default_loss(runs)
    if loss == "train_loss" or "train_loss" not in runs.variables:
        return loss
    held_out, trained = (int(np.isfinite(runs[n].to_numpy()).sum()) for n in LOSSES)
    few = held_out < min(_ENOUGH * runs.sizes["run"], trained / 2)
    try:
        return require_loss(runs, "train_loss") if few else loss
    except DataError:
        return loss


def data_positions(runs: xr.Dataset) -> Ints:
    """Return where in the data every record is: tokens seen where known, else steps; (obs,).

    Runs on the same data in the same order meet the same batch at the same position.
    """
    steps = runs["step"].to_numpy()
    batch = runs["batch_size"].to_numpy() if "batch_size" in runs.coords else np.nan
    factor = np.repeat(
        np.broadcast_to(np.where(np.isfinite(batch), batch, 1.0), runs.sizes["run"]),
        runs["row_size"].to_numpy(),
    )
    out: Ints = np.rint(steps * factor).astype(np.int64)
    if "tokens" in runs.variables:
        tokens = runs["tokens"].to_numpy()
        out = np.where(np.isfinite(tokens), np.nan_to_num(tokens), out).astype(np.int64)
    return out


def smooth_log_curve(x: Floats, log_loss: Floats) -> Floats:
    """Return a run's smoothed log loss on the 512 blocks; NaN beyond its records."""
    mean, count = block_means(x, log_loss)
    seen = np.flatnonzero(count)
    if not len(seen):
        return mean
    filled = np.interp(GRID, GRID[seen], mean[seen], left=np.nan)
    filled[seen[-1] + 1 :] = np.nan
    if GRID[seen[-1]] >= 0.97:
        filled[seen[-1] + 1 :] = mean[seen[-1]]
    # In log progress curves bend far less, but blocks are few early: the width shrinks there.
    wide = local_linear(filled, SMOOTHED)
    narrow = local_linear(filled, 2)
    early = np.clip((np.arange(BLOCKS) - 8) / 24, 0.0, 1.0)
    return np.asarray(early * wide + (1 - early) * narrow)


def gather_members(runs: xr.Dataset, *, loss: LossName) -> Members:
    """Read the members of a reference from runs.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Finished runs, and unfinished ones that only tell what the same data did to them.
    loss : {"eval_loss", "train_loss"}
        Which loss.

    Raises
    ------
    DataError
        If a loss is not positive, or no run has finished.
    """
    x, values = record_progress(runs).to_numpy(), runs[loss].to_numpy().astype(np.float64)
    if (values[np.isfinite(values)] <= 0).any():
        msg = (
            f"A reference compares logs of {loss}, and some of it is not positive. Leave such runs "
            "out with --where, or watch another loss."
        )
        raise DataError(msg)
    log_loss = np.log(np.where(np.isfinite(values), values, np.nan))
    position = data_positions(runs)
    records = [Records(x[a:b], log_loss[a:b], position[a:b]) for a, b in pairwise(row_bounds(runs))]
    smooth = np.stack([smooth_log_curve(r.x, r.log_loss) for r in records])
    final = final_levels(runs, loss=loss).to_numpy()
    log_final = smooth[:, -1].copy()
    done = np.flatnonzero(np.isfinite(final) & np.isfinite(log_final))
    if not len(done):
        msg = f"None of {len(final)} runs has finished with a {loss}. Choose finished runs."
        raise DataError(msg)
    places, deviation, sisters = _same_data(records, smooth)
    away = _departed(records, places, deviation, sisters)
    names = run_names(runs)
    finished = take_runs(runs, done)
    return Members(
        run_id=[names[i] for i in done],
        controls=controls_of(finished),
        log_shape=smooth[done] - log_final[done, None],
        factors=known_factors(finished),
        away=away[done],
        log_final=log_final[done],
        records=[records[i] for i in done],
        start=warmup_end(finished),
        position=places,
        deviation=deviation,
        sisters=[names[i] for i in sisters],
        data_wander=_data_wander(np.where(away, np.nan, smooth)[sisters]),
    )


def at_positions(position: Ints, values: Floats, asked: Ints) -> Floats:
    """Return `values` (position,) at the places `asked` (obs,), NaN where there is none."""
    out = np.full(len(asked), np.nan)
    if len(position):
        index = np.minimum(np.searchsorted(position, asked), len(position) - 1)
        there = position[index] == asked
        out[there] = values[index[there]]
    return out


def controls_of(runs: xr.Dataset) -> Controls:
    """Return the controls of runs."""
    size = runs.sizes["run"]

    def number(name: str) -> Floats:
        return runs[name].to_numpy() if name in runs else np.full(size, np.nan)

    schedule = runs["schedule"].to_numpy().astype(str) if "schedule" in runs else np.full(size, "")
    sizes = number("model_size"), number("tau"), number("tpp")
    return Controls(*sizes, warmup_end(runs), schedule)


def known_factors(runs: xr.Dataset) -> Floats:
    """Return each run's learning rate over its peak on the blocks; NaN rows where unknown."""
    out = np.full((runs.sizes["run"], BLOCKS), np.nan)
    for i in range(len(out)):
        try:
            out[i] = learning_rate_factors(take_runs(runs, np.array([i])), points=BLOCKS).to_numpy()
        except DataError:
            continue
    return out


def _departed(
    records: list[Records], places: Ints, deviation: Floats, sisters: Ints
) -> NDArray[np.bool_]:
    """Return on which blocks a run no longer sees the data of its sisters, shape (run, 512).

    Its deviations there are set to NaN. Over some percent of training, what a shard of the data
    does to a loss is more than how healthy runs on the same data differ.
    """
    out = np.zeros((len(records), BLOCKS), dtype=bool)
    if len(sisters):
        first = records[int(sisters[0])]
        x = np.interp(places, first.position, first.x)
        parts = departed(deviation, x)
        parts[:, :-1] |= parts[:, 1:]  # it left somewhere in the part before
        deviation[parts[:, np.minimum((x * parts.shape[1]).astype(int), parts.shape[1] - 1)]] = (
            np.nan
        )
        block = np.minimum(((GRID - 0.5 / BLOCKS) * parts.shape[1]).astype(int), parts.shape[1] - 1)
        out[sisters] = parts[:, block]
    return out


def _data_wander(smooth: Floats) -> float:
    """Return how far the curves of runs on the same data swing together about their trend."""
    if not len(smooth):
        return 0.0
    late = slice(BLOCKS // 5, None)
    swing = smooth - local_linear(smooth, BLOCKS // 10)
    with np.errstate(invalid="ignore"):
        together = np.nanmedian(swing[:, late], axis=0)
    return float(np.nanstd(together)) if np.isfinite(together).any() else 0.0


def _same_data(records: list[Records], smooth: Floats) -> tuple[Ints, Floats, Ints]:
    """Return the places several runs share, their deviations there, and which runs they are."""
    empty = np.empty(0, np.int64), np.empty((0, 0)), np.empty(0, np.int64)
    if len(records) < 2:
        return empty
    place, count = np.unique(np.concatenate([r.position for r in records]), return_counts=True)
    place = place[count >= 2]
    deviation = np.full((len(records), len(place)), np.nan, dtype=np.float64)
    for row, record, curve in zip(deviation, records, smooth, strict=True):
        index = np.searchsorted(place, record.position)
        inside = (index < len(place)) & np.isfinite(record.log_loss)
        inside[inside] = place[index[inside]] == record.position[inside]
        row[index[inside]] = (record.log_loss - np.interp(record.x, GRID, curve))[inside]
    if not len(place):
        return empty
    group = np.flatnonzero(on_same_data(deviation))
    return (place, deviation[group], group) if len(group) else empty
