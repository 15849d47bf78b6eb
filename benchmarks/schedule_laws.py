"""Schedule laws fitted our way and the usual way, in one run: time and objective.

python benchmarks/schedule_laws.py [MPL.nc MODEL_SIZE] [--noise SCHEDULES.nc]

Without a file the curves are synthetic: constant, cosine and two-stage runs of 24,000 steps from a
known Multi-Power Law. The usual way is written again from its description: the sum over every step
for every record, numerical gradients, L-BFGS-B with default stopping from a few starts, for the
annealing law with a Python recursion and a grid over lambda. It stops after `BUDGET` seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import xarray as xr
from machine import keep
from scipy.optimize import minimize

from workbench.laws.annealing import fit_annealing
from workbench.laws.kernels import huber
from workbench.laws.learning_rates import ScheduledRun, scheduled_runs
from workbench.laws.multi_power import fit_multi_power, published_multi_power
from workbench.laws.noise import fit_noise
from workbench.laws.noise_runs import noise_runs, reference_of
from workbench.schema import conform, select_runs

BUDGET = 60.0
LAMBDAS = (0.99, 0.995, 0.997, 0.999)
STARTS = ((0.5, 0.5, 300.0, 2.0, 0.5, 0.5), (0.6, 0.4, 500.0, 1.0, 0.6, 0.6))


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
) -> tuple[float, float, int]:
    """Return the objective reached, seconds and starts finished within the budget."""
    begun, best, finished = time.perf_counter(), np.inf, 0

    def objective(p: np.ndarray) -> float:
        nonlocal best
        if time.perf_counter() - begun > BUDGET:
            raise OutOfTimeError
        residual = [np.log(np.maximum(model(run, p), 1e-6)) - np.log(run.loss) for run in runs]
        value = float(huber(np.concatenate(residual)).mean())
        best = min(best, value) if np.isfinite(value) else best
        return value

    with np.errstate(all="ignore"):
        try:
            for start in starts:
                bounds = [(0, 10)] + [(1e-8, None)] * (len(start) - 1)
                minimize(objective, start, method="L-BFGS-B", bounds=bounds)
                finished += 1
        except OutOfTimeError:
            pass
    return best, time.perf_counter() - begun, finished


def timed(fit: Callable[[], object]) -> tuple[object, float]:
    """Return the result and the median seconds of three calls."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        result = fit()
        times.append(time.perf_counter() - begun)
    return result, float(np.median(times))


def row(name: str, ours: object, seconds: float, usual: tuple[float, float, int]) -> dict:
    """Return one line of the table."""
    return {
        "law": name,
        "ours_s": round(seconds, 3),
        "usual_s": round(usual[1], 2),
        "ratio": round(usual[1] / seconds),
        "ours_objective": ours.objective,
        "usual_objective": usual[0],
        "usual_starts_finished": usual[2],
    }


def noise_row(path: str) -> dict:
    """Compare the weighted median with a scan of alpha by hundredths."""
    with xr.open_dataset(path, engine="netcdf4") as ds:
        runs = conform(ds.load(), source="schedules")
    ours, seconds = timed(lambda: fit_noise(runs))
    begun, read = time.perf_counter(), noise_runs(runs)
    best = np.inf
    for alpha in np.arange(0.01, 0.5, 0.01):
        errors = []
        for run in (r for r in read if not r.constant):
            reference = reference_of(run, read)
            base = np.interp(run.flow, reference.flow, reference.loss)
            before = np.interp(run.flow, reference.flow, reference.factor)
            predicted = base + alpha * (run.factor - before) * run.trace
            smooth, measured = run.smooth(np.stack([predicted, run.loss]))
            errors.append(np.abs(smooth / measured - 1)[run.late].mean())
        best = min(best, float(np.mean(errors)))
    return row("noise", ours, seconds, (best, time.perf_counter() - begun, 1))


def main() -> None:
    """Fit each law both ways and keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("curves", nargs="*")
    parser.add_argument("--noise")
    given = parser.parse_args()
    runs = synthetic()
    if given.curves:
        path, size = given.curves
        with xr.open_dataset(path, engine="netcdf4") as ds:
            whole = conform(ds.load(), source="curves")
        runs = scheduled_runs(select_runs(whole, ["role=fit", f"model_size={size}"]))
    floor = min(float(run.loss.min()) for run in runs) - 0.3
    rows = []
    ours, seconds = timed(lambda: fit_multi_power(runs, form="published"))
    starts = [np.array([floor, *start]) for start in STARTS]
    rows.append(
        row(
            "multi-power, published form", ours, seconds, usual_fit(runs, naive_multi_power, starts)
        )
    )
    ours, seconds = timed(lambda: fit_multi_power(runs))
    rows.append({"law": "multi-power, regularised", "ours_s": round(seconds, 3)})
    ours, seconds = timed(lambda: fit_annealing(runs))
    starts = [np.array([floor, 0.5, 0.5, 1.0, factor]) for factor in LAMBDAS]
    rows.append(row("annealing", ours, seconds, usual_fit(runs, naive_annealing, starts)))
    if given.noise:
        rows.append(noise_row(given.noise))
    for line in rows:
        print(line)
    data = "public curves" if given.curves else "synthetic curves"
    print(keep("schedule_laws", {"data": data, "rows": rows}, "numpy", "scipy"))


if __name__ == "__main__":
    main()
