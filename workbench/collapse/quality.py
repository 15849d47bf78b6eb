"""How good is a collapse: one number with an absolute meaning, its interval, a second opinion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.collapse import kernels
from workbench.collapse import kernels_quality as quality_kernels
from workbench.collapse.family import Family
from workbench.collapse.noise import FamilyNoise, family_noise
from workbench.collapse.tail import Tail, tail_statistic
from workbench.collapse.verdict import HALF
from workbench.errors import DataError
from workbench.laws import Estimate
from workbench.text import percent

Floats = NDArray[np.float64]
NAME = "Houdayer–Hartmann S"
MEANING = (
    "mean squared distance of each setting's mean curve from the master curve of the other sizes, "
    "in units of both standard errors, over progress ≥ from; 1 when they are one curve"
)
LEVEL = 0.95
DRAWS = 200
_FEW = 4


@dataclass(frozen=True)
class CollapseQuality:
    """S with its interval and what surrounds it.

    Parameters
    ----------
    S : Estimate
        Houdayer–Hartmann S; 1 is expected when all settings follow one curve.
    one_curve : (lower, upper)
        Where S lies, at `level`, when they do: whole curves count, so it can be wide.
    by_size : DataArray (model_size)
        The same mean for the settings of each size.
    by_progress : DataArray (progress)
        The same mean at every point.
    ratio_half : Estimate or None
        Δ/σ half-way; None without seeds.
    beyond : (lower, upper) or None
        Interval of the progress from which on Δ < σ; an end is NaN where that never holds.
    holds_share : float or None
        Share of redrawn families in which Δ < σ from half-way or earlier.
    tail : Tail
        The spread as progress → 1.
    log_evidence : float or None
        ln p(data | one curve) − ln p(data | own curves) of two Gaussian-process models; above 0
        speaks for one curve. None without seeds.
    errors : str
        How the errors were obtained.
    warnings : tuple of str
        What makes the errors themselves uncertain.
    level : float
        Level of all intervals.
    """

    S: Estimate
    one_curve: tuple[float, float]
    by_size: xr.DataArray
    by_progress: xr.DataArray
    ratio_half: Estimate | None
    beyond: tuple[float, float] | None
    holds_share: float | None
    tail: Tail
    log_evidence: float | None
    errors: str
    warnings: tuple[str, ...] = ()
    level: float = LEVEL

    @property
    def one(self) -> bool:
        """Whether S is no larger than it is for one curve."""
        return self.S.estimate <= self.one_curve[1]

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, ``value``, ``lower`` and ``upper`` of S first."""
        value = self.S.to_dict()
        return {
            "name": NAME,
            "value": value["estimate"],
            "lower": value["lower"],
            "upper": value["upper"],
            "level": self.level,
            "meaning": MEANING,
            "one_curve": list(self.one_curve),
            "by_size": [
                {"model_size": float(size), "value": float(s)}
                for size, s in zip(self.by_size["model_size"].values, self.by_size, strict=True)
            ],
            "ratio_half": self.ratio_half and self.ratio_half.to_dict(),
            "beyond": self.beyond and list(self.beyond),
            "holds_share": self.holds_share,
            "tail": self.tail.to_dict(),
            "log_evidence": self.log_evidence,
            "errors": self.errors,
            "warnings": list(self.warnings),
        }

    def sentence(self) -> str:
        """Say S, what it would be for one curve, and the second opinion."""
        low, high = self.one_curve
        s = self.S
        text = (
            f"S = {s.estimate:.2g} ({100 * self.level:.0f} % interval {s.lower:.2g} to "
            f"{s.upper:.2g}; one curve gives {low:.2g} to {high:.2g})"
        )
        if self.log_evidence is not None:
            which = "one curve" if self.log_evidence > 0 else "a curve of its own for every setting"
            text += f"; Gaussian-process evidence for {which}, ln {abs(self.log_evidence):.1f}"
        return text + "."

    def verdict_intervals(self) -> str:
        """Say the intervals that belong to the verdict, then S."""
        parts = []
        if self.ratio_half is not None and self.beyond is not None:
            low, high = self.beyond
            begins = (
                f"between {percent(low)} and {percent(high)} of training"
                if np.isfinite([low, high]).all()
                else f"at {percent(low)} of training or later, or nowhere"
                if np.isfinite(low)
                else "nowhere before the end"
            )
            parts.append(
                f"{100 * self.level:.0f} % intervals: Δ/σ half-way {self.ratio_half.lower:.2g} to "
                f"{self.ratio_half.upper:.2g}, Δ < σ begins {begins}."
            )
        return " ".join([*parts, self.sentence()])


def collapse_quality(
    loss: xr.DataArray,
    *,
    offset: float = 0.0,
    start: float = 0.2,
    raw: xr.DataArray | None = None,
    smoother: Callable[[xr.DataArray], xr.DataArray] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    rng: int | np.random.Generator = 0,
) -> CollapseQuality:
    """Score the collapse of finished runs of two or more sizes.

    Parameters
    ----------
    loss : DataArray (run, progress)
        Loss curves [nats/token], smoothed as they are to be compared, with run coordinates.
    offset : float
        Subtracted loss [nats/token].
    start : float
        S looks at progress ≥ `start`.
    raw : DataArray (run, progress), optional
        The curves before smoothing, and `smoother`, what smoothed them: needed for honest errors
        of smoothed curves where no setting has two seeds.
    smoother : callable, optional
        See `raw`.
    level : float
        Level of the intervals.
    draws : int
        Families redrawn for them.
    rng : int or Generator
        Source of the draws.

    Returns
    -------
    CollapseQuality

    Raises
    ------
    DataError
        If there are fewer than two sizes, or the runs show no noise to compare with.

    Notes
    -----
    The seed variance of ℓ is pooled over settings. An estimate from n degrees of freedom alone
    would lift S by n/(n − 2); S is divided by that. Intervals shift the draws by their median on
    the scale of the square root.
    """
    sizes = np.unique(loss["model_size"].to_numpy())
    if len(sizes) < 2:
        msg = f"S compares sizes, found {len(sizes)}. Select runs of two or more sizes."
        raise DataError(msg)
    loss = loss.transpose("run", ...)
    noise = family_noise(loss, offset=offset, draws=draws, raw=raw, smoother=smoother)
    family = Family(loss, offset, start, noise)
    point, owner = family.distances(), family.owner
    generator = np.random.default_rng(rng)
    drawn = _redraw(family, noise, draws, generator)
    value = float(point.mean())
    ratio_half, beyond, share = _against_seeds(family, drawn, level)
    return CollapseQuality(
        S=Estimate(value, *quality_kernels.centred_interval(value, drawn["S"], level)),
        one_curve=_quantiles(drawn["one"], level),
        by_size=xr.DataArray(
            [point[owner == k].mean() for k in range(len(sizes))],
            dims="model_size",
            coords={"model_size": sizes},
            name="S",
        ),
        by_progress=xr.DataArray(
            point.mean(axis=0),
            dims="progress",
            coords={"progress": family.progress[family.used]},
            name="S",
        ),
        ratio_half=ratio_half,
        beyond=beyond,
        holds_share=share,
        tail=tail_statistic(
            family.progress, family.delta, drawn["delta"], family.ratio, level=level
        ),
        log_evidence=family.evidence(),
        errors=noise.said,
        warnings=_warnings(noise),
        level=level,
    )


def _redraw(
    family: Family, noise: FamilyNoise, draws: int, rng: np.random.Generator
) -> dict[str, Floats]:
    parts = [family.drawn(relative) for relative in noise.chunks(draws, family.ell.size, rng)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _quantiles(values: Floats, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(values[np.isfinite(values)], [tail, 1 - tail])
    return float(low), float(high)


def _against_seeds(
    family: Family, drawn: dict[str, Floats], level: float
) -> tuple[Estimate | None, tuple[float, float] | None, float | None]:
    """Return Δ/σ half-way, the interval of where Δ < σ begins, and how often it holds."""
    if family.ratio is None:
        return None, None, None
    k = int(np.abs(family.progress - HALF).argmin())
    half = float(family.ratio[k])
    ratios = drawn["ratio"][np.isfinite(drawn["ratio"][:, k])]
    centred = np.full_like(ratios, np.nan)
    known = np.isfinite(family.ratio)
    with np.errstate(divide="ignore", invalid="ignore"):
        centred[:, known] = ratios[:, known] * (family.ratio / np.median(ratios, axis=0))[known]
    last = np.array([kernels.last_exceedance(row, np.ones_like(row)) for row in centred])
    position = np.append(family.progress[:-1], np.inf)[
        np.minimum(last + 1, len(family.progress) - 1)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(position, [tail, 1 - tail], method="nearest")
    ends = tuple(float(end) if np.isfinite(end) else float("nan") for end in (low, high))
    estimate = Estimate(half, *quality_kernels.centred_interval(half, ratios[:, k], level))
    return estimate, (ends[0], ends[1]), float((position <= HALF).mean())


def _warnings(noise: FamilyNoise) -> tuple[str, ...]:
    if not noise.seeds or noise.freedom >= _FEW:
        return ()
    return (
        f"Seed noise rests on {noise.freedom} degrees of freedom: add seeds before trusting S.",
    )
