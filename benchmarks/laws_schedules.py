"""Schedule laws and the gradient-noise law against the published or usual way of fitting them.

The usual way of the schedule laws is written again from its description: the sum over every step
for every record, numerical gradients, L-BFGS-B with default stopping from a few starts, for the
annealing law with a Python recursion and a grid over lambda. It stops after `BUDGET` processor
seconds. That of the noise law is a scan of its one coefficient by hundredths.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from comparison import row, timed
from laws_points import open_runs
from scipy.optimize import minimize

from workbench.laws import (
    ScheduledRun,
    fit_annealing,
    fit_multi_power,
    fit_noise,
    published_multi_power,
    scheduled_runs,
)
from workbench.laws.kernels import huber
from workbench.laws.noise_runs import noise_runs, reference_of
from workbench.schema import select_runs

BUDGET = 60.0
LAMBDAS = (0.99, 0.995, 0.997, 0.999)
STARTS = ((0.5, 0.5, 300.0, 2.0, 0.5, 0.5), (0.6, 0.4, 500.0, 1.0, 0.6, 0.6))
MODEL_SIZE = 25_000_000

Row = dict[str, Any]


class OutOfTimeError(Exception):
    """Ends an optimiser that has used its time."""


def synthetic() -> list[ScheduledRun]:
    """Return three runs of a known law with 0.1 % of noise."""
    law = published_multi_power(L0=3.0, A=0.53, alpha=0.5, B=400, C=1.0, beta=0.4, gamma=0.7)
    rng, total, warmup, peak = np.random.default_rng(0), 24_000, 2160, 3e-4
    step = np.arange(total)
    ramp = peak * np.minimum(step / warmup, 1)
    fall = peak * (0.55 + 0.45 * np.cos(np.pi * (step - warmup) / (total - warmup)))
    paths = {
        "constant": ramp,
        "cosine": np.where(step < warmup, ramp, fall),
        "two-stage": np.where(step < 8000, ramp, 9e-5)[:16_000],
    }
    runs = []
    for name, lr in paths.items():
        at = np.arange(2176, len(lr), 128)
        wobble = np.exp(1e-3 * rng.standard_normal(len(at)))
        runs.append(ScheduledRun(name, lr, at, law.predict(lr, at) * wobble))
    return runs


def naive_multi_power(run: ScheduledRun, p: np.ndarray) -> np.ndarray:
    """Return the law summed over all steps, one record at a time."""
    floor, a, alpha, b, c, beta, gamma = p
    total, drop, rate = np.cumsum(run.lr), -np.diff(run.lr), run.lr[1:]
    out = np.empty(len(run.step))
    for i, t in enumerate(run.step):
        passed = total[t] - total[:t]
        gain = 1 - (1 + c * rate[:t] ** -gamma * passed) ** -beta
        out[i] = floor + a * total[t] ** -alpha - b * np.sum(drop[:t] * gain)
    return out


def naive_annealing(run: ScheduledRun, p: np.ndarray) -> np.ndarray:
    """Return the law with its momentum recursion written as a loop."""
    floor, a, alpha, c, factor = p
    momentum = total = 0.0
    s2 = np.zeros(len(run.lr))
    for i in range(1, len(run.lr)):
        momentum = factor * momentum + run.lr[i - 1] - run.lr[i]
        total += momentum
        s2[i] = total
    return floor + a * np.cumsum(run.lr)[run.step] ** -alpha - c * s2[run.step]


def usual_fit(
    runs: list[ScheduledRun],
    model: Callable[[ScheduledRun, np.ndarray], np.ndarray],
    starts: list[np.ndarray],
) -> tuple[float, float, int, np.ndarray]:
    """Return objective, processor seconds, starts finished within the budget, and parameters."""
    begun, best, at, finished = time.process_time(), np.inf, starts[0], 0

    def objective(p: np.ndarray) -> float:
        nonlocal best, at
        if time.process_time() - begun > BUDGET:
            raise OutOfTimeError
        residual = [np.log(np.maximum(model(run, p), 1e-6)) - np.log(run.loss) for run in runs]
        value = float(huber(np.concatenate(residual)).mean())
        if np.isfinite(value) and value < best:
            best, at = value, np.array(p)
        return value

    with np.errstate(all="ignore"):
        try:
            for start in starts:
                bounds = [(0, 10)] + [(1e-8, None)] * (len(start) - 1)
                minimize(objective, start, method="L-BFGS-B", bounds=bounds)
                finished += 1
        except OutOfTimeError:
            pass
    return best, time.process_time() - begun, finished, at


def held_out_error(
    runs: list[ScheduledRun], predict: Callable[[ScheduledRun], np.ndarray]
) -> float:
    """Return the mean over runs of the mean absolute error [nats/token]."""
    return float(np.mean([np.abs(predict(run) - run.loss).mean() for run in runs]))


def schedule_laws(folder: Path) -> list[Row]:
    """Compare the Multi-Power Law and the annealing law with their usual fits.

    The objective is that of the runs fitted; beside it the error on the runs kept for the test.
    """
    data, runs, test = "simulated", synthetic(), []
    if folder.is_dir():
        whole = open_runs(folder / "curves" / "mpl.nc")
        size = f"model_size={MODEL_SIZE}"
        data = "mpl, 25M, 3 runs"
        runs = scheduled_runs(select_runs(whole, ["role=fit", size]))
        test = scheduled_runs(select_runs(whole, ["role=test", size]))
    floor = min(float(run.loss.min()) for run in runs) - 0.3
    laws = (
        ("multi-power", lambda: fit_multi_power(runs, form="published"), naive_multi_power, STARTS),
        (
            "annealing",
            lambda: fit_annealing(runs),
            naive_annealing,
            [(0.5, 0.5, 1.0, factor) for factor in LAMBDAS],
        ),
    )
    rows = []
    for law, fit, model, starts in laws:
        ours, found = timed(fit, 3)
        begun = [np.array([floor, *start]) for start in starts]
        objective, usual, finished, at = usual_fit(runs, model, begun)
        more: dict[str, Any] = {"usual_starts_finished": finished}
        if test:
            more["test_mae"] = held_out_error(test, lambda r, f=found: f.predict(r.lr, r.step))
            more["usual_test_mae"] = held_out_error(test, lambda r, m=model, p=at: m(r, p))
        if law == "multi-power":
            seconds, kept = timed(lambda: fit_multi_power(runs), 3)
            more["regularised_ms"] = round(1e3 * seconds, 1)
            if test:
                more["regularised_test_mae"] = held_out_error(
                    test, lambda r, f=kept: f.predict(r.lr, r.step)
                )
        rows.append(
            row(
                law,
                data,
                seconds=(ours, usual),
                objective="mean Huber loss",
                values=(found.objective, objective),
                usual_way=f"L-BFGS-B, {len(begun)} starts, at most {BUDGET:.0f} s",
                **more,
            )
        )
    return rows


def noise(folder: Path) -> list[Row]:
    """Compare the weighted median of Eq. 16 with a scan of its coefficient by hundredths."""
    if not folder.is_dir():
        return []
    runs = open_runs(folder / "curves" / "qiu_c5m_schedules.nc")
    ours, fit = timed(lambda: fit_noise(runs))

    def scan() -> tuple[float, float]:
        read = noise_runs(runs)
        return min((late_error(read, alpha), alpha) for alpha in np.arange(0.01, 0.5, 0.01))

    usual, (error, alpha) = timed(scan)
    return [
        row(
            "noise, Eq. 16",
            "qiu_c5m_schedules",
            seconds=(ours, usual),
            objective="mean relative error, late",
            values=(fit.objective, error),
            usual_way="scan of alpha by hundredths",
            alpha=fit.params["alpha"].to_dict(),
            usual_alpha=float(alpha),
        )
    ]


def late_error(read: Any, alpha: float) -> float:
    """Return the mean relative error after a fifth of training at one coefficient."""
    errors = []
    for run in (r for r in read if not r.constant):
        reference = reference_of(run, read)
        base = np.interp(run.flow, reference.flow, reference.loss)
        before = np.interp(run.flow, reference.flow, reference.factor)
        predicted = base + alpha * (run.factor - before) * run.trace
        smooth, measured = run.smooth(np.stack([predicted, run.loss]))
        errors.append(np.abs(smooth / measured - 1)[run.late].mean())
    return float(np.mean(errors))
