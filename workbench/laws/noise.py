"""Loss under a changed schedule from gradient noise (Qiu et al. 2025, Eqs. 16 to 18).

At equal gradient-flow time τ = ∫ η/η_peak, two schedules differ by the noise they carry::

    Eq. 16   L'(τ) = L(τ) + α·(η' − η)·Tr Σ'(τ)                    hindcast: Σ' is the target's own
    Eq. 18   L'(τ) = L0 + (L(τ) − L0)/(1 − α·h(x)·(η' − η))        forecast: h = Tr Σ/(L − L0) of
                                                                   a relative (Eq. 17)

L is the constant-rate run of the same model. The forecast uses nothing of the target but its
schedule: α leaves the target out, h comes from another run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.laws.curve_fit import Score, fit_dict, fit_text, score_curve
from workbench.laws.estimate import LEVEL, Estimate
from workbench.laws.kernels_noise import added_noise, forecast_noise, weighted_median_slope
from workbench.laws.noise_runs import LATE, NoiseRun, noise_runs, reference_of, relative_of
from workbench.laws.power_law import fit_power_law
from workbench.schema import LossName

Floats = NDArray[np.float64]
FORMULA = "L'(flow) = L(flow) + alpha * (lr' - lr)/lr_peak * trace'"
_DRAWS = 200


@dataclass(frozen=True)
class _Pairs:
    """Smoothed late relative effect (y) of a run against its noise change (x)."""

    x: Floats
    y: Floats
    weight: Floats


@dataclass(frozen=True)
class NoiseFit:
    """Gradient-noise law with its one coefficient.

    Parameters
    ----------
    alpha : Estimate
        α, with a bootstrap interval over runs.
    floor : float
        L0 of the forecast [nats/token].
    objective : float
        Mean over runs of the mean |relative error| of the smoothed late loss, as a hindcast.
    n_points : int
        Late records fitted.
    runs : tuple of NoiseRun
        Runs the law was fitted to, the constant-rate references among them.
    pairs : mapping of str to _Pairs
        What each run that changes its rate says about α, by run_id.
    warnings : tuple of str
        What was assumed.
    """

    alpha: Estimate
    floor: float
    objective: float
    n_points: int
    runs: tuple[NoiseRun, ...]
    pairs: Mapping[str, _Pairs]
    warnings: tuple[str, ...] = ()
    level: float = LEVEL

    law = "noise"
    formula = FORMULA
    interval = "bootstrap over runs"
    window = f"smoothed (half-life 1 % of the run), progress ≥ {LATE:g}"

    @property
    def params(self) -> dict[str, Estimate]:
        """The coefficient by name."""
        return {"alpha": self.alpha}

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain numbers and text."""
        return fit_dict(self)

    def __str__(self) -> str:
        return fit_text(self)

    def hindcast(self, target: NoiseRun, *, without: bool = False) -> Floats:
        """Return the loss of Eq. 16 at the target's records [nats/token]; reads its own trace.

        `without` takes an α that was fitted without the target.
        """
        base, change = _at_equal_flow(target, reference_of(target, self.runs))
        alpha = self._alpha_without(target) if without else self.alpha.estimate
        return added_noise(base, change, target.trace, alpha)

    def forecast(self, target: NoiseRun) -> Floats:
        """Return the loss of Eq. 18 at the target's records, from its schedule alone."""
        base, change = _at_equal_flow(target, reference_of(target, self.runs))
        relative = relative_of(target, self.runs)
        ratio = relative.smooth(relative.trace / (relative.loss - self.floor))
        known = np.isfinite(ratio)
        ratio = np.interp(target.progress, relative.progress[known], ratio[known])
        return forecast_noise(base, change, ratio, self._alpha_without(target), self.floor)

    def _alpha_without(self, target: NoiseRun) -> float:
        if target.run_id not in self.pairs:
            return self.alpha.estimate
        others = [pairs for name, pairs in self.pairs.items() if name != target.run_id]
        if not others:
            msg = f"Only {target.run_id!r} changes its learning rate: alpha has no other source."
            raise DataError(msg)
        return _slope(others)

    @property
    def can_forecast(self) -> bool:
        """Whether a run that changes its rate was fitted, to take h from."""
        return any(not run.constant for run in self.runs)

    def score(self, targets: Sequence[NoiseRun], *, forecast: bool = False) -> list[Score]:
        """Compare with measured curves, both smoothed, from a fifth of the run on."""
        out = []
        for target in targets:
            predicted = self.forecast(target) if forecast else self.hindcast(target)
            smooth = target.smooth(np.stack([predicted, target.loss]))
            use = target.late & np.isfinite(smooth).all(0)
            out.append(score_curve(target.run_id, smooth[0, use], smooth[1, use]))
        return out


def fit_noise(
    runs: xr.Dataset,
    *,
    loss: LossName | None = None,
    targets: xr.Dataset | None = None,
    rng: int = 0,
) -> NoiseFit:
    """Fit α of the gradient-noise law.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Constant-rate runs and runs that change their rate, with ``noise_trace`` records.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`.
    targets : Dataset (run, obs), optional
        Where α is fitted if no run in `runs` changes its rate. Then what is said of these targets
        is a hindcast with a coefficient of their own.
    rng : int
        Seed of the bootstrap.

    Returns
    -------
    NoiseFit

    Raises
    ------
    DataError
        If a run has no constant-rate reference, or no run carries a noise trace.

    Notes
    -----
    α minimises the mean over runs of the mean |relative error| of the smoothed loss, progress 0.2
    and later: a weighted median of slopes, exact and in one pass.
    """
    given = noise_runs(runs, loss=loss)
    notes = []
    fitted = [run for run in given if not run.constant]
    if not fitted and targets is not None:
        fitted = [run for run in noise_runs(targets, loss=loss) if not run.constant]
        notes.append(
            f"No fitted run changes its learning rate: alpha comes from the {len(fitted)} "
            "predicted runs themselves."
        )
    by_run = {run.run_id: _pairs(run, given) for run in fitted}
    pairs = list(by_run.values())
    if not pairs:
        msg = "The noise law needs a run that changes its learning rate; every run is constant."
        raise DataError(msg)
    floor, note = _floor(given)
    alpha = _slope(pairs)
    return NoiseFit(
        alpha=Estimate(alpha, *_interval(pairs, rng)),
        floor=floor,
        objective=float(np.mean([np.abs(p.y - alpha * p.x).mean() for p in pairs])),
        n_points=sum(len(p.x) for p in pairs),
        runs=tuple(given),
        pairs=by_run,
        warnings=(*notes, *note),
    )


def _at_equal_flow(target: NoiseRun, reference: NoiseRun) -> tuple[Floats, Floats]:
    base = np.interp(target.flow, reference.flow, reference.loss)
    return base, target.factor - np.interp(target.flow, reference.flow, reference.factor)


def _pairs(run: NoiseRun, among: Sequence[NoiseRun]) -> _Pairs:
    if not np.isfinite(run.trace[run.late]).all():
        msg = (
            f"Run {run.run_id!r} has no noise_trace from progress {LATE:g} on: Eq. 16 needs it. "
            "Log the trace of the preconditioned gradient covariance, or leave the run out."
        )
        raise DataError(msg)
    base, change = _at_equal_flow(run, reference_of(run, among))
    noise, measured, plain = run.smooth(np.stack([change * run.trace, run.loss, base]))
    use = run.late & np.isfinite(noise)
    relative = np.full(int(use.sum()), 1 / use.sum())
    x, y = noise[use] / measured[use], (measured[use] - plain[use]) / measured[use]
    return _Pairs(x, y, relative)


def _slope(pairs: Sequence[_Pairs]) -> float:
    x, y, weight = (
        np.concatenate([getattr(pair, name) for pair in pairs]) for name in ("x", "y", "weight")
    )
    return weighted_median_slope(x, y, weight)


def _interval(pairs: Sequence[_Pairs], rng: int) -> tuple[float, float]:
    if len(pairs) < 3:
        return -np.inf, np.inf
    generator = np.random.default_rng(rng)
    drawn = [
        _slope([pairs[i] for i in generator.integers(0, len(pairs), len(pairs))])
        for _ in range(_DRAWS)
    ]
    low, high = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def _floor(runs: Sequence[NoiseRun]) -> tuple[float, list[str]]:
    """Return L0 from the ends of the constant-rate runs, a power law in steps times size."""
    ends = {run.size: run for run in runs if run.constant and np.isfinite(run.size)}
    if len(ends) < 4:
        return 0.0, ["L0 of the forecast taken as 0: fewer than 4 sizes have a constant-rate run."]
    compute = np.array([size * run.steps for size, run in ends.items()])
    final = np.array([run.smooth(run.loss)[-1] for run in ends.values()])
    return fit_power_law(compute / compute.min(), final).L0.estimate, []
