"""The surrogate of a normalised loss curve in (τ, TPP) under any schedule, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.curves import POINTS, default_loss, on_progress, smooth
from workbench.errors import ArgumentError, DataError
from workbench.forecast.kernels_surrogate import (
    Laws,
    alternating_fit,
    controls_to_shape,
    joint_fit,
    surrogate_curve,
)
from workbench.forecast.learning_rate import learning_rate_factors
from workbench.laws import Estimate
from workbench.schema import LossName, take_runs

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
START = 0.2
LEVEL = 0.9
EXPONENTS = (0.02, 0.035, 0.05, 0.07, 0.1)
"""Values of m that are tried when it is not given."""
_NARROW = 0.2
_BOOTSTRAP_POINTS = 40
_TRAIN_SMOOTHING = 0.05
_NAMES = ("b_const", "b_exp", "q_const", "q_exp")


@dataclass(frozen=True)
class SurrogateFit:
    """Fitted ℓ̂(x) ∝ ((1 + ε₁)/(x + ε₁))^m + b·(η̂(x) + ε₂)^q, divided by its value at the end.

    Parameters
    ----------
    b_const, b_exp, q_const, q_exp : Estimate
        b = b_const·τ^b_exp and q = q_const·TPP^q_exp, with bootstrap intervals over runs.
    m : float
        Exponent of progress.
    mae : float
        Mean over runs of the mean |ℓ̂ − ℓ| over progress ≥ 0.2.
    n_runs : int
        Runs fitted.
    tau_range, tpp_range : (float, float)
        Controls of the runs fitted; outside them ℓ̂ is an extrapolation.
    centre : (float, float)
        Mean log τ and log TPP of the runs fitted.
    level : float
        Level of the intervals.
    warnings : tuple of str
        What the runs do not pin down.
    draws : ndarray of shape (draw, 4)
        Bootstrap draws of (log b₀, b₁, log q₀, q₁) about the centre; empty without bootstrap.
    """

    b_const: Estimate
    b_exp: Estimate
    q_const: Estimate
    q_exp: Estimate
    m: float
    mae: float
    n_runs: int
    tau_range: tuple[float, float]
    tpp_range: tuple[float, float]
    centre: tuple[float, float]
    level: float
    warnings: tuple[str, ...]
    draws: Floats

    formula = (
        "l(x) ~ ((1 + 0.001)/(x + 0.001))**m + b*(lr + 0.1)**q, over its value at x = 1; "
        "b = b_const*tau**b_exp, q = q_const*tpp**q_exp"
    )

    @property
    def params(self) -> dict[str, Estimate]:
        """The four constants by name."""
        return {name: getattr(self, name) for name in _NAMES}

    def predict(
        self, progress: ArrayLike, *, tau: float, tpp: float, lr_factor: ArrayLike
    ) -> xr.Dataset:
        """Predict a normalised curve.

        Parameters
        ----------
        progress : array-like of shape (x,)
            Increasing, ending at 1.
        tau, tpp : float
            Controls of the run; one that is not recorded (NaN) counts as the usual one of the
            runs fitted.
        lr_factor : array-like of shape (x,)
            Learning rate as a share of its peak.

        Returns
        -------
        Dataset (progress)
            ``normalized_loss`` with ``lower`` and ``upper``, the interval of the curve from the
            bootstrap of the constants (NaN without bootstrap).

        Raises
        ------
        ArgumentError
            If progress does not end at 1, where ℓ̂ is defined to be 1.
        """
        x = np.asarray(progress, dtype=np.float64)
        if x.ndim != 1 or not len(x) or abs(x[-1] - 1) > 1e-9:
            msg = f"progress must be 1-d and end at 1, found {x.shape} ending at {x[-1:]!r}."
            raise ArgumentError(msg)
        eta = np.asarray(lr_factor, dtype=np.float64)
        rows = np.vstack([self.centred(), self.draws])
        log_tau, log_tpp = (
            float(np.log(value)) - middle if value > 0 else 0.0
            for value, middle in zip((tau, tpp), self.centre, strict=True)
        )
        b, q = controls_to_shape(rows, [log_tau], [log_tpp])
        curves = surrogate_curve(x, eta, b[:, 0], q[:, 0], self.m)
        tail = (1 - self.level) / 2
        band = np.full((2, len(x)), np.nan)
        if len(self.draws):
            band = np.quantile(curves[1:], [tail, 1 - tail], axis=0)
        columns = {"normalized_loss": curves[0], "lower": band[0], "upper": band[1]}
        attrs = {"formula": self.formula, "level": self.level}
        return xr.Dataset(
            {name: ("progress", values) for name, values in columns.items()},
            coords={"progress": x},
            attrs=attrs,
        )

    def centred(self) -> Floats:
        """Return (log b₀, b₁, log q₀, q₁) about `centre`, as the rows of `draws`."""
        b, q = np.log(self.b_const.estimate), np.log(self.q_const.estimate)
        slope_b, slope_q = self.b_exp.estimate, self.q_exp.estimate
        return np.array(
            [b + slope_b * self.centre[0], slope_b, q + slope_q * self.centre[1], slope_q]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fit as plain numbers and text."""
        return {
            "law": "surrogate",
            "formula": self.formula,
            "params": {name: found.to_dict() for name, found in self.params.items()},
            "m": self.m,
            "objective": self.mae,
            "n_points": self.n_runs,
            "level": self.level,
            "interval": "bootstrap over runs",
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        rows = [
            f"{name} = {p.estimate:.6g} ({p.lower:.6g} to {p.upper:.6g}, {100 * self.level:.0f} %)"
            for name, p in self.params.items()
        ]
        ends = [f"m = {self.m:g}", f"mean error {100 * self.mae:.2g} %", *self.warnings]
        return "\n".join([self.formula, *rows, *ends])

    def to_dataset(self) -> xr.Dataset:
        """Return the parameters as a dataset with dims ``parameter``."""
        columns = {
            key: ("parameter", [row.to_dict()[key] for row in self.params.values()])
            for key in ("estimate", "lower", "upper")
        }
        attrs = {"law": "surrogate", "formula": self.formula, "m": self.m, "level": self.level}
        return xr.Dataset(columns, coords={"parameter": list(_NAMES)}, attrs=attrs)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{name}</th><td>{p.estimate:.4g}</td><td>{p.lower:.4g} to {p.upper:.4g}</td>"
            for name, p in self.params.items()
        )
        notes = "".join(f"<li>{text}</li>" for text in self.warnings)
        return (
            f"<b>{self.formula}</b>, m = {self.m:g}, mean error {100 * self.mae:.2g} %"
            f"<table><tr><th></th><th>estimate</th><th>{100 * self.level:.0f} % interval</th></tr>"
            f"{rows}</table><ul>{notes}</ul>"
        )


def fit_surrogate(
    runs: xr.Dataset,
    *,
    loss: LossName | None = None,
    m: float | None = None,
    method: Literal["joint", "alternating"] = "joint",
    bootstrap: int = 60,
    level: float = LEVEL,
    rng: int = 0,
    progress: Progress | None = None,
) -> SurrogateFit:
    """Fit the surrogate to finished runs under one or several schedules.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs with τ, TPP and a recorded or named learning-rate schedule. Unfinished runs
        are left out.
    loss : {"eval_loss", "train_loss"}, optional
        Which loss; by default `default_loss`. The training loss is smoothed over 5 % of the run.
    m : float, optional
        Exponent of progress; by default the best of `EXPONENTS`.
    method : {"joint", "alternating"}
        All constants together, or the paper's alternating 2-d grids.
    bootstrap : int
        Draws of runs with replacement for the intervals; 0 for none.
    level : float
        Level of the intervals.
    rng : int
        Seed of the bootstrap.
    progress : callable, optional
        Called with (done, total) fits; an interrupt between two of them stops the fit.

    Returns
    -------
    SurrogateFit

    Raises
    ------
    DataError
        If fewer than three finished runs are left or a schedule is unknown.
    """
    loss = default_loss(runs) if loss is None else loss
    curves = on_progress(runs, loss=loss, points=POINTS)
    if loss == "train_loss":
        curves = smooth(curves, width=_TRAIN_SMOOTHING)
    done = np.isfinite(curves.isel(progress=-1).to_numpy())
    if int(done.sum()) < 3:
        msg = f"The surrogate needs 3 or more finished runs, found {int(done.sum())}. Add runs."
        raise DataError(msg)
    factors = learning_rate_factors(take_runs(runs, done), points=POINTS).to_numpy()
    window = curves["progress"].to_numpy() >= START - 1e-9
    x = curves["progress"].to_numpy()[window]
    ell = curves.to_numpy()[done]
    ell = (ell / ell[:, -1:])[:, window]
    tau, tpp = runs["tau"].to_numpy()[done], runs["tpp"].to_numpy()[done]
    logs, centre, laws, warnings = _centred_controls(tau, tpp)
    problem = _Problem(x, ell, factors[:, window], logs, laws)
    trial = EXPONENTS if m is None else (m,)
    total = len(trial) + bootstrap
    report = progress or (lambda _done, _total: None)
    found = []
    for i, exponent in enumerate(trial):
        found.append((*problem.fit(exponent, method), exponent))
        report(i + 1, total)
    best, mae, exponent = min(found, key=lambda item: item[1])
    draws = np.empty((bootstrap, 4))
    generator, coarse = np.random.default_rng(rng), problem.coarse(_BOOTSTRAP_POINTS)
    for i in range(bootstrap):
        rows = generator.integers(0, len(ell), len(ell))
        draws[i] = coarse.take(rows).refit(exponent, best)
        report(len(trial) + i + 1, total)
    return SurrogateFit(
        **_estimates(best, draws, centre, level),
        m=exponent,
        mae=mae,
        n_runs=len(ell),
        tau_range=_range(tau),
        tpp_range=_range(tpp),
        centre=centre,
        level=level,
        warnings=warnings,
        draws=draws,
    )


@dataclass(frozen=True)
class _Problem:
    """Curves to fit on a common grid; `controls` are log τ and log TPP about their means."""

    x: Floats
    ell: Floats
    eta: Floats
    controls: tuple[Floats, Floats]
    laws: Laws

    def fit(self, m: float, method: str) -> tuple[Floats, float]:
        arguments = (self.ell, self.x, self.eta, self.controls)
        if method == "alternating":
            return list(alternating_fit(*arguments, m=m, laws=self.laws))[-1]
        # Nested starts: each richer law begins where a poorer one ended, so it can only gain.
        found = joint_fit(*arguments, m=m, laws="none")
        tried = [found]
        for laws in ("b", "q", self.laws):
            if laws == "none" or (laws != self.laws and self.laws != "both"):
                continue
            starts = [item[0] for item in tried]
            tried += [joint_fit(*arguments, m=m, laws=laws, start=s) for s in starts]
        return min(tried, key=lambda item: item[1])

    def refit(self, m: float, start: Floats) -> Floats:
        arguments = (self.ell, self.x, self.eta, self.controls)
        return joint_fit(*arguments, m=m, laws=self.laws, start=start, iterations=25)[0]

    def coarse(self, points: int) -> _Problem:
        step = max(1, len(self.x) // points)
        kept = slice((len(self.x) - 1) % step, None, step)  # the end stays in
        return _Problem(
            self.x[kept], self.ell[:, kept], self.eta[:, kept], self.controls, self.laws
        )

    def take(self, rows: NDArray[np.int64]) -> _Problem:
        controls = (self.controls[0][rows], self.controls[1][rows])
        return _Problem(self.x, self.ell[rows], self.eta[rows], controls, self.laws)


def _centred_controls(
    tau: Floats, tpp: Floats
) -> tuple[tuple[Floats, Floats], tuple[float, float], Laws, tuple[str, ...]]:
    """Return log controls about their means, the means, which laws they allow, and warnings."""
    logs, centre, vary, warnings = [], [], [], []
    for name, symbol, values in (("tau", "b", tau), ("tpp", "q", tpp)):
        known = bool(np.isfinite(values).all())
        log = np.log(values) if known else np.zeros(len(values))
        varies = known and float(np.ptp(log)) > _NARROW
        if not varies:
            why = "is not recorded for every run" if not known else "hardly varies"
            warnings.append(f"{name} {why}: {symbol} is one constant, its exponent is not fitted.")
        centre.append(float(log.mean()))
        logs.append(log - log.mean())
        vary.append(varies)
    laws: Laws = ("both" if vary[1] else "b") if vary[0] else ("q" if vary[1] else "none")
    return (logs[0], logs[1]), (centre[0], centre[1]), laws, tuple(warnings)


def _estimates(
    best: Floats, draws: Floats, centre: tuple[float, float], level: float
) -> dict[str, Estimate]:
    rows = np.vstack([best, draws])
    plain = np.column_stack(
        [
            np.exp(rows[:, 0] - rows[:, 1] * centre[0]),
            rows[:, 1],
            np.exp(rows[:, 2] - rows[:, 3] * centre[1]),
            rows[:, 3],
        ]
    )
    tail = (1 - level) / 2
    low, high = np.full(4, np.nan), np.full(4, np.nan)
    if len(draws):
        low, high = np.quantile(plain[1:], [tail, 1 - tail], axis=0)
    columns = zip(plain[0], np.fmin(low, plain[0]), np.fmax(high, plain[0]), strict=True)
    found = [Estimate(float(value), float(a), float(b)) for value, a, b in columns]
    return dict(zip(_NAMES, found, strict=True))


def _range(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)
