"""Where the tests of a monitor alarm, for a stated false-alarm rate per run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from workbench.watch.kernels_records import Tail

Floats = NDArray[np.float64]
_PRIOR_RUNS = 4
_SPIKE_SPREAD = 0.15
_TAIL = 0.05


@dataclass(frozen=True)
class Thresholds:
    """Where the tests of a monitor alarm, for a false-alarm rate per run split between them.

    Parameters
    ----------
    false_alarm : float
        Chance that a healthy run is alarmed at all.
    score : float
        Of the sequential test, standard deviations.
    spike : float
        Of a single record, standard deviations of its noise.
    """

    false_alarm: float
    score: float
    spike: float


def thresholds_for(
    false_alarm: float,
    *,
    records: float,
    simulated: Floats,
    scores: Floats,
    spikes: Floats,
    tail: Tail,
) -> Thresholds:
    """Split a false-alarm rate between the tests and bound what healthy runs reach.

    Parameters
    ----------
    false_alarm : float
        Chance that a healthy run is alarmed: half for the sequential test, half for records.
    records : float
        Records of a whole run.
    simulated : ndarray of shape (draw,)
        Largest scores of simulated healthy runs, sorted.
    scores, spikes : ndarrays of shape (watched,)
        Largest score, and furthest record, of healthy members.
    tail : Tail
        Of all their records.

    Returns
    -------
    Thresholds
    """
    half = false_alarm / 2
    log = np.log(simulated)
    score = _bound(np.log(scores), half, centre=float(log.mean()), spread=float(log.std()))
    log = np.log(spikes)
    spike = _bound(log, half, centre=float(log.mean()), spread=_SPIKE_SPREAD)
    return Thresholds(
        false_alarm,
        max(score, _upper_tail(simulated, half)),
        max(spike, tail.bound(half, records)),
    )


def _bound(log: Floats, level: float, *, centre: float, spread: float) -> float:
    """Bound the next value; a prior worth four runs has this centre and spread (of logs).

    The spread is that of the upper half, so that quiet runs do not raise the bound.
    """
    n = len(log)
    weight = n + _PRIOR_RUNS
    mean = (float(log.sum()) + _PRIOR_RUNS * centre) / weight
    above = log[log >= np.median(log)] - np.median(log)
    square = n * float((above**2).mean()) + _PRIOR_RUNS * spread**2
    sd = math.sqrt(square / (weight - 1) * (1 + 1 / weight))
    return math.exp(mean + float(stdtrit(weight - 1, 1 - level)) * sd)


def _upper_tail(ordered: Floats, level: float) -> float:
    """Return the upper quantile of simulated maxima, by an exponential tail beyond the 95th."""
    edge = float(np.quantile(ordered, 1 - _TAIL))
    if level >= _TAIL:
        return float(np.quantile(ordered, 1 - level))
    beyond = ordered[ordered > edge] - edge
    return edge + float(beyond.mean()) * math.log(_TAIL / level)
