"""One call from runs to a verdict with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import xarray as xr

from workbench.collapse.causes import Diagnosis
from workbench.collapse.compared import comparable, curves_of, odd_one_out, size_rows, sizes_outside
from workbench.collapse.groups import control_labels
from workbench.collapse.notes import offset_label, offset_notes, seed_notes
from workbench.collapse.offset import Offset, OffsetEstimate, resolve_offset
from workbench.collapse.quality import CollapseQuality
from workbench.collapse.scored import diagnosed, scored
from workbench.collapse.statistics import (
    crossing,
    deviation,
    excess_spread,
    noise_floor,
    spread,
)
from workbench.collapse.verdict import HALF, Verdict, write_verdict
from workbench.curves import (
    POINTS,
    Smoother,
    XAxis,
    normalize_by,
    smooth,
    x_scale,
)
from workbench.errors import ArgumentError
from workbench.laws import PFLOP, Horizon, at_horizon
from workbench.schema import LossName
from workbench.text import percent_two_digits, plain, plural

WINDOW_START = 0.2
TRAIN_SMOOTHING = 0.05
_SHOWN = 5
CRITERION = (
    "Δ < σ at every later grid point before the end; Δ = sd/mean over runs, σ = sd/mean over seeds "
    "averaged over settings with two or more seeds, both ddof 0; holds means from half-way or "
    "earlier"
)


@dataclass(frozen=True)
class CollapseReport:
    """What a family's curves show once normalised.

    Parameters
    ----------
    curves : DataArray (run, progress)
        Normalised loss of the runs that were compared, with ``x`` along the chosen axis.
    offset : OffsetEstimate
        What was subtracted.
    deviation, spread : DataArray (progress)
        Δ(x) and max − min.
    noise_floor : DataArray (progress) or None
        σ(x); None when no setting has two seeds.
    beyond : float or None
        Progress from which on Δ < σ.
    excess_spread : (value, lower, upper)
        sd(ℓ)/(⟨ℓ⟩ − 1) averaged over progress ≥ `start`, 95 % interval.
    worst_run : mapping
        ``run_id``, its largest ``residual`` beyond `start` and ``at`` which progress.
    sizes : tuple of mapping
        ``model_size``, ``n_runs`` and ``within_noise_from`` per size.
    left_out : tuple of mapping
        ``run_id`` and ``reason`` of runs that could not be compared.
    verdict : Verdict
        In words.
    x : str
        Axis of ``curves["x"]``.
    start : float
        Means and residuals look at progress from here on.
    horizon : str
        Where long runs were cut, or why not, in words; empty for runs with ends of their own.
    quality : CollapseQuality or None
        S, its interval and what surrounds it, when asked for and possible.
    no_quality : str
        Why there is no S: not asked for, or what is missing.
    diagnosis : Diagnosis or None
        Why `worst_run` is off, when asked for.
    """

    curves: xr.DataArray
    offset: OffsetEstimate
    deviation: xr.DataArray
    spread: xr.DataArray
    noise_floor: xr.DataArray | None
    beyond: float | None
    excess_spread: tuple[float, float, float]
    worst_run: Mapping[str, Any]
    sizes: tuple[Mapping[str, Any], ...]
    left_out: tuple[Mapping[str, str], ...]
    verdict: Verdict
    x: XAxis
    start: float
    horizon: str = ""
    quality: CollapseQuality | None = None
    no_quality: str = "not asked for"
    diagnosis: Diagnosis | None = None

    @property
    def holds(self) -> bool | None:
        """Whether Δ < σ from half-way or earlier; None without a noise floor."""
        if self.noise_floor is None:
            return None
        return self.beyond is not None and self.beyond <= HALF

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers and text, JSON-ready (no NaN, no infinity)."""
        window = self.deviation["progress"] >= self.start
        sigma = self.noise_floor
        ratio = None if sigma is None else (self.deviation / sigma).where(window).mean().item()
        fit = self.offset.fit
        holds = None if sigma is None else {"holds": self.holds, "beyond": self.beyond}
        content: dict[str, Any] = plain(
            {
                "n_runs": self.curves.sizes["run"],
                "model_sizes": [row["model_size"] for row in self.sizes],
                "loss": self.curves.attrs["loss"],
                "x": self.x,
                "from": self.start,
                "smoothing": self.curves.attrs["smoothing"],
                "resample_method": self.curves.attrs["resample_method"],
                "progress": self.deviation["progress"].to_numpy(),
                "horizon": self._horizon(),
                "offset": self.offset.to_dict(),
                "power_law": fit
                and {
                    "a": fit.a.to_dict(),
                    "b": fit.b.to_dict(),
                    "L0": fit.L0.to_dict() | {"identified": fit.identified},
                    "objective": fit.objective,
                    "warnings": list(fit.warnings),
                },
                "deviation": self.deviation.to_numpy(),
                "deviation_mean": self.deviation.where(window).mean().item(),
                "spread": self.spread.to_numpy(),
                "noise_floor": None if sigma is None else sigma.to_numpy(),
                "ratio_mean": ratio,
                "supercollapse": holds and holds | {"criterion": CRITERION},
                "quality": self._quality(),
                "excess_spread": self._excess_spread(),
                "worst_run": dict(self.worst_run)
                | ({} if self.diagnosis is None else self.diagnosis.to_dict()),
                "sizes": [dict(row) for row in self.sizes],
                "left_out": [dict(row) for row in self.left_out],
                "verdict": str(self.verdict),
            }
        )
        return content

    def _excess_spread(self) -> dict[str, Any]:
        return {
            "name": "mean sd(ℓ) / mean (⟨ℓ⟩ − 1) over progress ≥ from",
            **dict(zip(("value", "lower", "upper"), self.excess_spread, strict=True)),
        }

    def _horizon(self) -> dict[str, Any] | None:
        if not self.horizon:
            return None
        compute = self.curves["compute_total"].to_numpy() / PFLOP
        names = map(str, self.curves["run_id"].to_numpy())
        return {
            "method": self.horizon,
            "compute_pflop": dict(zip(names, compute.tolist(), strict=True)),
        }

    def _quality(self) -> dict[str, Any]:
        if self.quality is None:
            return self._excess_spread() | {"no_S": self.no_quality}
        return self.quality.to_dict()

    def __str__(self) -> str:
        sigma = self.noise_floor
        lines = [
            str(self.verdict),
            f"{plural(self.curves.sizes['run'], 'run')}, {plural(len(self.sizes), 'size')}, "
            f"{self.curves.attrs['loss']}, offset {self.offset.value:.4f} nats/token "
            f"({self.offset.lower:.4f} to {self.offset.upper:.4f}; {self.offset.method})",
        ]
        for share in (0.2, 0.5, 0.8):
            noise = "" if sigma is None else f", σ {percent_two_digits(_at(sigma, share))}"
            lines.append(
                f"at {100 * share:.0f} %: Δ {percent_two_digits(_at(self.deviation, share))}{noise}"
            )
        lines += self._scored_lines()
        lines += [f"left out: {r['run_id']} ({r['reason']})" for r in self.left_out[:_SHOWN]]
        if len(self.left_out) > _SHOWN:
            lines.append(f"left out: {len(self.left_out) - _SHOWN} more")
        return "\n".join(lines)

    def _scored_lines(self) -> list[str]:
        value, lower, upper = self.excess_spread
        lines = [f"sd(ℓ)/(⟨ℓ⟩ − 1) {value:.2g} ({lower:.2g} to {upper:.2g})"]
        if self.quality is not None:
            tail = self.quality.tail
            lines.append(
                f"Δ at 90-99 % of training is {tail.closing.estimate:.2g} of Δ at 50-70 % "
                f"({tail.closing.lower:.2g} to {tail.closing.upper:.2g})"
            )
            lines += [self.quality.errors, *self.quality.warnings]
        if self.diagnosis is not None:
            lines.append(f"{self.diagnosis}")
        return lines

    def _repr_html_(self) -> str:
        head, *rest = str(self).splitlines()
        rows = "".join(f"<li>{escape(line)}</li>" for line in rest)
        return f"<p><b>{escape(head)}</b></p><ul>{rows}</ul>"


def collapse_report(
    data: xr.Dataset,
    *,
    loss: LossName | None = None,
    offset: Offset = "fit",
    x: XAxis = "progress",
    horizon: Horizon = "auto",
    points: int = POINTS,
    smoothing: float | None = None,
    smoother: Smoother = "local-line",
    start: float = WINDOW_START,
    quality: bool = False,
    neighbours: xr.Dataset | None = None,
) -> CollapseReport:
    """Normalise a family's curves and say whether, and from where on, they are one curve.

    Parameters
    ----------
    data : Dataset (run, obs) or (..., progress)
        Ragged runs, or a cube from ``to_cube``.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss of the runs; by default the held-out one where every run has it.
    offset : "zero", "fit" or float
        Subtracted before normalising [nats/token]: none, the fitted L0, or a number.
    x : {"progress", "tokens", "compute", "step"}
        Axis recorded in ``curves["x"]``. The statistics always compare equal progress.
    horizon : {"auto", "end", "optimal"}
        Where ragged runs are compared: at their own ends, or, for long runs at a constant rate, at
        the compute-optimal horizon of each size; see ``at_horizon``. A cube has its ends only.
    points : int
        Points of progress for ragged runs; a cube keeps its own.
    smoothing : float, optional
        Width of the smoother as a share of the run; by default none for the held-out loss and 5 %
        for the training loss.
    smoother : str
        Which smoother; see ``curves.smooth``.
    start : float
        Means over progress and residuals look only at progress ≥ `start`.
    quality : bool
        Also compute S with its interval, the evidence, intervals of the verdict and why the worst
        run is off: tenths of a second, against hundredths for the rest.
    neighbours : Dataset (run, obs), optional
        Further runs that may show what a coordinate does, such as all runs of the store.

    Returns
    -------
    CollapseReport

    Raises
    ------
    ArgumentError
        If `start` is outside [0, 1) or another argument is not one of its options.
    DataError
        If fewer than two runs can be compared, or the fit of the offset is not possible.
    """
    if not 0 <= start < 1:
        msg = f"start (--from) must be a progress in [0, 1), found {start}."
        raise ArgumentError(msg)
    data, cut = _at_horizon(data, horizon, loss)
    raw = curves_of(data, loss, points)
    width = smoothing
    if width is None:
        width = TRAIN_SMOOTHING if raw.name == "train_loss" else 0.0
    smoothed = partial(smooth, width=width, smoother=smoother)
    curves = smoothed(raw)
    chosen = resolve_offset(curves, offset)
    kept, left_out = comparable(curves, chosen.value)
    ell = normalize_by(kept, offset=chosen.value).assign_attrs(loss=str(curves.name))
    ell = ell.assign_coords(x=ell["progress"] * x_scale(kept, x))
    sigma = noise_floor(kept, offset=chosen.value)
    delta, width_of = deviation(ell), spread(ell)
    beyond = None if sigma is None else crossing(delta, sigma)
    worst, odd = odd_one_out(ell, sigma, start)
    sizes = size_rows(ell, sigma)
    found, why_not, diagnosis = None, "not asked for", None
    if quality:
        found, why_not = scored(kept, raw, smoothed, offset=chosen.value, start=start)
        diagnosis = diagnosed(ell, neighbours, smoothed, str(worst["run_id"]), start=start)
    verdict = write_verdict(
        n_runs=ell.sizes["run"],
        n_sizes=len(sizes),
        offset_label=offset_label(chosen),
        delta_half=_at(delta, HALF),
        sigma_half=None if sigma is None else _at(sigma, HALF),
        beyond=beyond,
        odd=odd,
        outside=sizes_outside(sizes),
        mixed=tuple(dict.fromkeys(control_labels(ell))),
        spread_half=_at(width_of, HALF),
        intervals="" if found is None else found.verdict_intervals(),
        notes=(*filter(None, [cut]), *seed_notes(kept), *offset_notes(kept, chosen)),
    )
    return CollapseReport(
        curves=ell,
        offset=chosen,
        deviation=delta,
        spread=width_of,
        noise_floor=sigma,
        beyond=beyond,
        excess_spread=excess_spread(ell, start=start),
        worst_run=worst,
        sizes=sizes,
        left_out=left_out,
        verdict=verdict,
        x=x,
        start=start,
        horizon=cut,
        quality=found,
        no_quality=why_not,
        diagnosis=diagnosis,
    )


def _at_horizon(
    data: xr.Dataset, horizon: Horizon, loss: LossName | None
) -> tuple[xr.Dataset, str]:
    if "progress" not in data.dims:
        return at_horizon(data, horizon=horizon, loss=loss)
    if horizon == "optimal":
        msg = (
            "A cube has no records past its ends: horizon='optimal' needs the runs it was made of."
        )
        raise ArgumentError(msg)
    return data, ""


def _at(curve: xr.DataArray, share: float) -> float:
    return float(curve.sel(progress=share, method="nearest"))
