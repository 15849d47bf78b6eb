"""How far healthy runs of a family stray from the curve that the others predict, record by record.

Every member is watched with the reference that the other members make: what it does there is what
a healthy run may do. Noise, wander and thresholds are read off these residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.curves.kernels import local_linear
from workbench.errors import DataError
from workbench.watch.expected import Surrogate, expect
from workbench.watch.kernels_glr import null_maxima
from workbench.watch.kernels_records import Tail, block_means, fit_tail, robust_sd
from workbench.watch.kernels_state import Wander, fit_wander, starting_slope
from workbench.watch.members import GRID, SMOOTHED, Members, at_positions
from workbench.watch.records import Place, RecordStage, winsorised
from workbench.watch.sequential import RunTest

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
START = 0.1
"""No run is judged before this share of its plan: curves of a family bend too differently there."""
ALIGNED = (0.25, 0.5)
"""The band is that of runs aligned over this window, as in the paper (Bergsma et al. 2025)."""
DRAWS = 3000
_ASSUMED_LEVEL, _ASSUMED_SLOPE = 0.003, 0.01
_MOST_WATCHED = 24
_LEAST_NOISE = 1e-7
_SETTLE = 0.02
_PARTS = 16
_FEWEST = 5


@dataclass(frozen=True)
class Calibration:
    """What healthy runs do.

    Parameters
    ----------
    wander : Wander
        Model of the block residuals.
    slope_sd : float
        Spread of their slope at the start, per unit of ln x.
    own, plain : ndarrays of shape (512,)
        Variance of a record's noise, with and without what runs on the same data share taken off.
    band : ndarray of shape (512,)
        Spread of healthy residuals aligned over 25 to 50 % of training; log loss.
    simulated : ndarray of shape (draw,)
        Largest scores of simulated healthy runs, sorted.
    scores, spikes : ndarrays of shape (watched,)
        Largest score, and furthest record in units of its noise, of the members themselves.
    tail : Tail
        Of the distances of all their records.
    assumed : bool
        Wander was assumed, as one run cannot show it.
    """

    wander: Wander
    slope_sd: float
    own: Floats
    plain: Floats
    band: Floats
    simulated: Floats
    scores: Floats
    spikes: Floats
    tail: Tail
    assumed: bool


@dataclass(frozen=True)
class _Watched:
    """A member against what the others predict, record by record."""

    x: Floats
    raw: Floats
    shared: Floats
    spread: Floats
    start: float

    def places(self, own: Floats, plain: Floats) -> list[Place]:
        """Return the places of the records, given the family's noise on the blocks."""
        noise = (np.interp(self.x, GRID, v).tolist() for v in (own, plain))
        known = self.shared.tolist(), self.spread.tolist()
        return [Place(*row) for row in zip(*known, *noise, strict=True)]


def calibrate(
    members: Members, surrogate: Surrogate | None, *, progress: Progress | None = None
) -> Calibration:
    """Watch every member with the others and read off what is healthy.

    Parameters
    ----------
    members : Members
        Finished runs.
    surrogate : Surrogate or None
        As in `expect`.
    progress : callable, optional
        Called with (done, total) members.

    Returns
    -------
    Calibration
    """
    alone = len(members.run_id) == 1
    chosen = np.unique(np.linspace(0, len(members.run_id) - 1, _MOST_WATCHED).astype(int))
    found = [_left_out(members, int(i), surrogate, alone=alone) for i in chosen]
    plain = _profile([(run.x, run.raw) for run in found])
    own = plain
    if members.sisters:
        own = np.fmin(_profile([(run.x, run.raw - run.shared) for run in found]), plain)
    if not np.isfinite(plain).all():
        msg = (
            f"Runs of {max(len(run.x) for run in found)} records after {START:.0%} of training are "
            f"too short for a reference: at least one needs {_FEWEST + 1}. Log more often."
        )
        raise DataError(msg)
    blocks = [_blocks(run, own, plain) for run in found]
    white = np.array([b[2] for b in blocks])
    z, variance, x = _judged(found, blocks)
    wander, slope_sd = fit_wander(z, variance, white, x), starting_slope(z, x)
    if alone:
        level, slope = max(wander.level, _ASSUMED_LEVEL**2), max(wander.slope, _ASSUMED_SLOPE**2)
        wander = Wander(wander.lasting, wander.memory, level, slope)
        slope_sd = 2 * _ASSUMED_SLOPE
    noise = np.median(variance, axis=0), float(np.median(white))
    simulated = null_maxima(x, *noise, wander, slope_sd=slope_sd, draws=DRAWS)
    reached = []
    for done, run in enumerate(found):
        test = RunTest(wander, slope_sd=slope_sd, start=run.start, data_wander=members.data_wander)
        reached.append(_reached(run, run.places(own, plain), test))
        if progress is not None:
            progress(done + 1, len(found))
    scores = np.array([score for score, _ in reached])
    distance = [np.array(far) for _, far in reached]
    spikes = np.array([far.max(initial=1.0) for far in distance])
    tail = fit_tail(np.concatenate(distance))
    band = _band(np.stack([b[0] for b in blocks]), wander)
    found_out = (simulated, scores, spikes, tail, alone)
    return Calibration(wander, slope_sd, own, plain, band, *found_out)


def _judged(
    found: list[_Watched], blocks: list[tuple[Floats, Floats, float]]
) -> tuple[Floats, Floats, Floats]:
    """Return block residuals and their variance (run, block), and progress, where judged."""
    late = min(run.start for run in found) - 1e-9 <= GRID
    z, variance = (np.stack([b[k] for b in blocks])[:, late] for k in (0, 1))
    for row, run in zip(z, found, strict=True):
        row[GRID[late] < run.start] = np.nan
    some = np.isfinite(z).any(axis=0)
    return z[:, some], variance[:, some], GRID[late][some]


def _left_out(members: Members, i: int, surrogate: Surrogate | None, *, alone: bool) -> _Watched:
    others = np.array([k for k in range(len(members.run_id)) if alone or k != i])
    expected = expect(
        members.controls.take(np.array([i])),
        members.factors[i],
        members.controls.take(others),
        members.log_shape[others],
        members.factors[others],
        GRID,
        surrogate,
        away=members.away[others],
    )
    record = members.records[i]
    raw = record.log_loss - np.interp(record.x, GRID, expected.log_shape)
    places = members.shared(without=members.run_id[i])
    shared, spread = (at_positions(members.position, v, record.position) for v in places)
    known = np.isfinite(raw)
    return _Watched(
        record.x[known],
        raw[known],
        shared[known],
        np.nan_to_num(spread[known]),
        start_of(float(members.start[i])),
    )


def start_of(warmup: float) -> float:
    """Return the progress from which a run with this warm-up is judged."""
    return max(START, warmup + _SETTLE)


def _profile(runs: list[tuple[Floats, Floats]]) -> Floats:
    """Return the variance of a record's noise on the blocks, the median over runs.

    It is read from successive differences in 16 parts of each run; of runs too short for that,
    from all of their differences.
    """
    stacked = np.stack([_noise(x, values, parts=_PARTS) for x, values in runs])
    if not np.isfinite(stacked).any():
        stacked = np.stack([_noise(x, values, parts=1) for x, values in runs])
    known = np.isfinite(stacked).any(axis=0)
    if not known.any():
        return np.full(len(GRID), np.nan)
    median = np.log(np.nanmedian(stacked[:, known], axis=0))
    centre = (np.arange(stacked.shape[1]) + 0.5) / stacked.shape[1]
    return np.exp(np.interp(GRID, centre[known], median))


def _noise(x: Floats, values: Floats, *, parts: int) -> Floats:
    """Return the noise variance in equal parts of one run; NaN in parts of few records."""
    step = np.diff(values)
    late = (x[1:] >= START) & np.isfinite(step) if parts == 1 else np.isfinite(step)
    part = np.minimum((x[1:] * parts).astype(int), parts - 1)
    out = np.full(parts, np.nan)
    for k in range(parts):
        own = step[(part == k) & late]
        if len(own) >= _FEWEST:
            out[k] = max(robust_sd(own), _LEAST_NOISE) ** 2 / 2
    return out


def _blocks(run: _Watched, own: Floats, plain: Floats) -> tuple[Floats, Floats, float]:
    """Return a member's block means (512,), their noise variance (512,), that of a record."""
    stage = RecordStage()
    taught = run.x >= 0.5 * run.start
    x, white = run.x[taught], []
    rows, gone = [], []
    pairs = zip(run.raw, run.places(own, plain), taught, strict=True)
    for raw, place, kept in pairs:
        if kept:
            rows.append(stage.record(float(raw), place))
            white.append(stage.white)
            gone.append(stage.departed)
    residual = np.array([row.residual for row in rows])
    noise = np.array([row.variance for row in rows])
    rough, _ = block_means(x, residual)
    level = np.interp(x, GRID, _filled(local_linear(rough, SMOOTHED)))
    drawn = [winsorised(*row) for row in zip(residual, level, noise, strict=True)]
    within = np.where(np.array(gone), np.nan, drawn)  # other data is another model's business
    mean, count = block_means(x, within)
    spread, _ = block_means(x, noise)
    return mean, np.where(count > 0, spread / np.maximum(count, 1), 1.0), float(np.median(white))


def _filled(values: Floats) -> Floats:
    known = np.isfinite(values)
    return np.interp(GRID, GRID[known], values[known])


def _reached(run: _Watched, places: list[Place], test: RunTest) -> tuple[float, list[float]]:
    """Return the largest score of a whole run, and how far off each of its records was."""
    score, far = 0.0, []
    for x, raw, place in zip(run.x.tolist(), run.raw.tolist(), places, strict=True):
        tested = test.record(x, raw, place)
        if tested.off == tested.off:
            far.append(abs(tested.off))
        if tested.score == tested.score:
            score = max(score, tested.score)
    return score, far


def _band(z: Floats, wander: Wander) -> Floats:
    window = (ALIGNED[0] <= GRID) & (ALIGNED[1] >= GRID)
    smooth = np.stack([_filled(local_linear(row, SMOOTHED)) for row in z])
    smooth = smooth - smooth[:, window].mean(axis=1, keepdims=True)
    if len(z) > 1:
        return np.asarray(np.sqrt((smooth**2).mean(axis=0)))
    du = np.abs(np.log(GRID / np.sqrt(ALIGNED[0] * ALIGNED[1])))
    return np.asarray(np.sqrt(wander.level * du + wander.slope * du**3 / 3))
