"""The ways to predict a final loss, each a function of the references and the run alone.

Every member returns a `Member`: a log final loss with an interval. None of them looks at more than
`Evidence` shows, and the evidence of the run to predict ends at `at`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from workbench.forecast.evidence import Evidence
from workbench.forecast.kernels_drop import Mixture, drop_law
from workbench.forecast.kernels_prefix import Aligner, align_scale
from workbench.laws import PFLOP, fit_power_law
from workbench.laws.kernels import profile_power_law

Floats = NDArray[np.float64]
MemberName = Literal["align", "surrogate", "scaling", "schedule", "multi-power", "own"]
_MOST_CELLS = 120
_NEAREST = 0.05
_VARIES = 0.05
_FEWEST_POINTS = 4
_BIAS_SHARE = 0.3
_NOISE_SHARE = 0.03
_GUESSES = 2.0
_MATCHED_TRENDS = ((), (0,), (1,), (0, 1))


@dataclass(frozen=True)
class Member:
    """One way's answer.

    Parameters
    ----------
    name : str
        Which way.
    log_loss : float
        Log final loss.
    lower, upper : float
        Interval of the log final loss at the level asked for.
    sd : float
        Standard deviation that goes with it.
    detail : dict
        What else it found, by name.
    """

    name: MemberName
    log_loss: float
    lower: float
    upper: float
    sd: float
    detail: dict[str, float | str] = field(default_factory=dict)

    def scaled(self, factor: float) -> Member:
        """Return it with its interval stretched about the estimate."""
        return Member(
            self.name,
            self.log_loss,
            self.log_loss + factor * (self.lower - self.log_loss),
            self.log_loss + factor * (self.upper - self.log_loss),
            factor * self.sd,
            self.detail,
        )


MemberRule = Callable[[Evidence, Evidence, float], Member | None]


def cell_means(values: Floats, cells: list[NDArray[np.int64]]) -> Floats:
    """Return the mean of every cell, shape (cell, ...)."""
    return np.array([values[rows].mean(0) for rows in cells])


def seed_variance(values: Floats, cells: list[NDArray[np.int64]]) -> float:
    """Return the variance between runs of one cell, pooled; 0 when no cell has two runs."""
    many = [values[rows] for rows in cells if len(rows) > 1]
    degrees = sum(len(v) - 1 for v in many)
    return sum(float(((v - v.mean()) ** 2).sum()) for v in many) / max(degrees, 1)


def surrogate_member(reference: Evidence, run: Evidence, level: float) -> Member | None:
    """Predict by the law of the remaining drop.

    Where the references share the run's controls, its trends are none, model size, the local slope
    of the prefix, and both. Where τ or TPP vary, the shape is taken to depend on them (a power of
    each, as Bergsma et al. 2025 find) with a smooth deviation over size, τ and TPP; slope and size
    then say the same as the controls and are left out of the trend.
    """
    reference = reference.take(reference.schedule == run.schedule[0])
    if not len(reference):
        return None
    cells = _nearest_cells(reference, run)
    features, trends, deviates = _features(reference, run, cells)
    log_drop = reference.log_drop
    mixture, weight = drop_law(
        cell_means(log_drop, cells),
        features,
        trends=trends,
        distance=features if deviates else None,
    )
    mixture = mixture.widened(variance=seed_variance(log_drop, cells))
    detail = {"trend": "controls" if deviates else _trend_name(weight)}
    return _from_drop("surrogate", mixture, float(run.level[0]), level, detail)


def _trend_name(weight: Floats) -> str:
    names = ("none", "size", "slope", "size and slope")
    return names[int(np.argmax(weight))]


def _from_drop(
    name: MemberName, mixture: Mixture, at_level: float, level: float, detail: dict[str, str]
) -> Member:
    tail = (1 - level) / 2
    drop = np.exp(mixture.quantile(np.array([0.1586553, 0.8413447, 1 - tail, tail])))
    estimate = at_level - float(np.exp(mixture.moments()[0]))
    sd = float(drop[1] - drop[0]) / 2
    return Member(name, estimate, at_level - drop[2], at_level - drop[3], sd, {**detail})


def _nearest_cells(reference: Evidence, run: Evidence) -> list[NDArray[np.int64]]:
    cells = reference.cells
    if len(cells) <= _MOST_CELLS:
        return cells
    columns = [np.log(getattr(reference, n) / getattr(run, n)[0]) for n in ("size", "tau", "tpp")]
    distance = np.nansum(np.square(columns), axis=0)
    order = np.argsort([distance[rows[0]] for rows in cells], kind="stable")
    return [cells[i] for i in order[:_MOST_CELLS]]


def _features(
    reference: Evidence, run: Evidence, cells: list[NDArray[np.int64]]
) -> tuple[Floats, tuple[tuple[int, ...], ...], bool]:
    """Return log controls relative to the run, the trends to try, and whether controls vary."""
    size = np.log(reference.size / run.size[0])
    known = bool(np.isfinite(size).all())
    mixed = not reference.matches(run).all()
    if mixed:
        controls = [np.log(getattr(reference, n) / getattr(run, n)[0]) for n in ("tpp", "tau")]
        varying = [
            c for c in controls if np.isfinite(c).all() and np.ptp(np.append(c, 0)) > _VARIES
        ]
        if varying:
            columns = [*varying, *([size] if known else [])]
            trend = (tuple(range(len(varying))),)
            return cell_means(np.column_stack(columns), cells), trend, True
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.log(reference.slope / run.slope[0])
    falls = bool(np.isfinite(slope).all())
    trends = tuple(t for t in _MATCHED_TRENDS if (known or 0 not in t) and (falls or 1 not in t))
    columns = [np.where(known, size, 0.0), np.where(falls, slope, 0.0)]
    return cell_means(np.column_stack(columns), cells), trends, False


def align_member(
    reference: Evidence, run: Evidence, level: float, *, aligner: Aligner = "robust"
) -> Member | None:
    """Predict by aligning the prefix to each matched reference curve, its trend in size removed.

    The bias of an alignment between two sizes, log S − log L(1), is proportional to their log
    ratio (quadratic from four sizes on); it is fitted to all pairs of references and taken off.
    The prediction is the mean over references weighted by 1/log ratio.
    """
    reference = reference.take(reference.matches(run))
    if not len(reference) or not np.isfinite(np.append(reference.size, run.size)).all():
        return None
    cells = reference.cells
    curves, finals = cell_means(reference.curves, cells), cell_means(reference.final, cells)
    size = np.log(np.array([reference.size[rows[0]] for rows in cells]))
    begin = max(float(run.start[0]), float(reference.start.max()))
    window = (run.progress >= begin - 1e-9) & (run.progress <= run.at + 1e-9)
    shapes = np.exp(curves - finals[:, None])[:, window]

    def scale(curve: Floats, i: int) -> float:
        return float(np.log(align_scale(np.exp(curve[window]), shapes[i], aligner=aligner)))

    if not (np.isfinite(run.curves[0][window]) & np.isfinite(shapes).all(0)).any():
        return None
    gaps = np.log(run.size[0]) - size
    points = np.array([scale(run.curves[0], i) for i in range(len(cells))])
    pairs = [(i, j) for i in range(len(cells)) for j in range(len(cells)) if size[i] < size[j]]
    bias = np.array([scale(curves[j], i) - finals[j] for i, j in pairs])
    apart = np.array([size[j] - size[i] for i, j in pairs])
    drop = float(np.median(cell_means(reference.level, cells) - finals))
    corrected, trend_sd = _without_trend(
        points, gaps, bias, apart, powers=(1,) if len(np.unique(size)) < 4 else (1, 2), drop=drop
    )
    weight = 1 / np.maximum(np.abs(gaps), _NEAREST)
    weight /= weight.sum()
    estimate = float(weight @ corrected)
    spread = float(weight @ (corrected - estimate) ** 2)
    seeds = seed_variance(reference.final, cells)
    sd = float(np.sqrt(spread + float(weight @ trend_sd) ** 2 + seeds))
    half = float(stdtrit(max(len(cells) - 1, 2), (1 + level) / 2)) * sd
    detail: dict[str, float | str] = {
        "aligner": aligner,
        "aligner_spread": _aligner_spread(
            np.exp(run.curves[0][window]), shapes[int(np.argmin(np.abs(gaps)))]
        ),
    }
    return Member("align", estimate, estimate - half, estimate + half, sd, detail)


def _aligner_spread(loss: Floats, shape: Floats) -> float:
    """Return the relative range over aligners of S against the nearest reference."""
    found = [align_scale(loss, shape, aligner=a) for a in ("squared", "absolute", "robust")]
    return max(found) / min(found) - 1


def _without_trend(
    points: Floats,
    gaps: Floats,
    bias: Floats,
    apart: Floats,
    *,
    powers: tuple[int, ...],
    drop: float,
) -> tuple[Floats, Floats]:
    """Take the fitted bias off; return the corrected values and their standard deviations.

    The bias is a fit to pairs of references with a normal prior on its coefficients, 30 % of the
    usual remaining `drop` per factor e of size, so that one or two close pairs are not carried
    far; with no pair at all that prior is the whole error.
    """
    prior = _BIAS_SHARE * drop
    design = np.column_stack([apart**p for p in powers])
    ahead = np.column_stack([gaps**p for p in powers])
    noise = guess = _NOISE_SHARE * drop
    identity = np.eye(len(powers))
    beta: Floats = np.zeros(len(powers))
    for _ in range(3):
        normal = design.T @ design + (noise / prior) ** 2 * identity
        beta = np.asarray(np.linalg.solve(normal, design.T @ bias), dtype=np.float64)
        left = bias - design @ beta
        degrees = max(len(bias) - len(powers), 0) + _GUESSES
        noise = float(np.sqrt(((left**2).sum() + _GUESSES * guess**2) / degrees))
    covariance = noise**2 * np.linalg.inv(normal)
    variance = np.einsum("ij,jk,ik->i", ahead, covariance, ahead) + noise**2
    return points - ahead @ beta, np.sqrt(variance)


def scaling_member(reference: Evidence, run: Evidence, level: float) -> Member | None:
    """Predict by the power law over the final losses of matched references; no prefix is used.

    The interval joins the scatter about the law with what the interval of L0 leaves open at the
    compute of the run.
    """
    reference = reference.take(reference.matches(run))
    compute = np.append(reference.compute, run.compute)
    if not len(reference) or not np.isfinite(compute).all():
        return None
    cells = reference.cells
    at = cell_means(reference.compute, cells) / PFLOP
    log_loss = cell_means(reference.final, cells)
    if len(np.unique(at)) < _FEWEST_POINTS:
        return None
    fit = fit_power_law(at, np.exp(log_loss), level=level)
    constants = np.array([fit.L0.estimate, fit.L0.lower, fit.L0.upper])
    centre = float(np.log(at).mean())
    u, b, _ = profile_power_law(np.log(at) - centre, log_loss, constants)
    ahead = np.log(run.compute[0] / PFLOP) - centre
    found = np.log(np.exp(u - b * ahead) + constants)
    degrees = len(at) - 3
    left = np.log(fit.predict(at)) - log_loss
    scatter = float((left**2).sum() / degrees) + seed_variance(reference.final, cells)
    quantile = float(stdtrit(degrees, (1 + level) / 2))
    low, high = (
        float(np.sqrt(edge**2 + quantile**2 * scatter))
        for edge in (found.min() - found[0], found.max() - found[0])
    )
    sd = (low + high) / (2 * quantile)
    estimate = float(found[0])
    return Member("scaling", estimate, estimate - low, estimate + high, sd, {"L0": constants[0]})
