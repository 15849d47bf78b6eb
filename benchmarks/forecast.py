"""Final loss at 30 % of training: our forecast, the naive own power law, a naive scipy loop.

python benchmarks/forecast.py [LADDER.nc ...]

The largest two sizes of each ladder are predicted from smaller ones. The shipped quickstart family
is always in; further ladders are NetCDF files of runs. The naive ways are written as a notebook
would have them: `curve_fit` of a power law to the run's own records, and `minimize_scalar` of the
squared error against every reference curve, interpolated anew in each call, the mean taken.
Times are processor time.
Beside it the surrogate: all constants together, the paper's alternating grids, and Nelder-Mead.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from machine import keep
from scipy.optimize import curve_fit, minimize, minimize_scalar

from workbench.curves import record_progress
from workbench.forecast import final_levels, own_power_law, predict_final, truncate
from workbench.forecast.kernels_surrogate import (
    alternating_fit,
    controls_to_shape,
    joint_fit,
    macro_mae,
    surrogate_curve,
)
from workbench.schema import conform, iter_runs, select_runs, take_runs

AT = 0.3
QUICKSTART = Path(__file__).parent.parent / "data" / "quickstart.nc"


def naive_own(x: np.ndarray, y: np.ndarray) -> float:
    """Extrapolate a power law fitted to the records of the prefix but its first tenth."""
    x, y = x[x >= AT / 10], y[x >= AT / 10]

    def law(x: np.ndarray, floor: float, a: float, b: float) -> np.ndarray:
        return floor + a * x**-b

    start = (0.8 * y[-1], 0.2 * y[-1], 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = curve_fit(law, x, y, p0=start, maxfev=20_000)
    return float(law(np.array(1.0), *found))


def naive_align(x: np.ndarray, y: np.ndarray, reference: list) -> float:
    """Align the prefix to every reference by a search and take the mean."""
    inside = x >= AT / 2
    x, y = x[inside], y[inside]
    found = []
    for rx, ry in reference:

        def cost(scale: float, rx: np.ndarray = rx, ry: np.ndarray = ry) -> float:
            return float(((y - scale * np.interp(x, rx, ry / ry[-1])) ** 2).sum())

        found.append(minimize_scalar(cost, bounds=(0.1 * y[-1], 2 * y[-1]), method="bounded").x)
    return float(np.mean(found))


def curves(runs: xr.Dataset) -> list:
    """Return (progress, held-out loss) of every run."""
    position = record_progress(runs)
    out = []
    for _, run in iter_runs(runs.assign(position=("obs", position.to_numpy()))):
        y = run["eval_loss"].to_numpy().astype(float)
        known = np.isfinite(y)
        out.append((run["position"].to_numpy()[known], y[known]))
    return out


def ladder(name: str, runs: xr.Dataset) -> dict:
    """Predict the two largest sizes every way, and time it."""
    size = runs["model_size"].to_numpy()
    ways: dict[str, list] = {"ours": [], "own_power_law": [], "naive_own": [], "naive_align": []}
    covered = []
    for value in np.unique(size)[-2:]:
        smaller = take_runs(runs, size < value)
        for i in np.flatnonzero(size == value):
            whole = take_runs(runs, np.array([i]))
            truth = float(np.exp(final_levels(whole, loss="eval_loss")[0]))
            run = truncate(whole, AT)
            x, y = curves(run)[0]
            calls = {
                "ours": lambda run=run, smaller=smaller: predict_final(
                    run, reference=smaller, at=AT, loss="eval_loss"
                ),
                "own_power_law": lambda run=run: own_power_law(run, at=AT, loss="eval_loss"),
                "naive_own": lambda x=x, y=y: naive_own(x, y),
                "naive_align": lambda x=x, y=y, smaller=smaller: naive_align(x, y, curves(smaller)),
            }
            for way, call in calls.items():
                start = time.process_time()
                found = call()
                seconds = time.process_time() - start
                if way == "ours":
                    covered.append(found.lower <= truth <= found.upper)
                    found = found.estimate
                ways[way].append((abs(found / truth - 1), seconds))
    row: dict = {"ladder": name, "runs_predicted": len(covered), "covered": float(np.mean(covered))}
    for way, pairs in ways.items():
        error, seconds = np.array(pairs).T
        row[way] = {
            "mean_error_percent": round(100 * float(error.mean()), 4),
            "median_cpu_ms": round(1e3 * float(np.median(seconds)), 1),
        }
    return row


def surrogate() -> dict:
    """Fit the surrogate to 112 synthetic curves with 1 % noise three ways."""
    rng = np.random.default_rng(0)
    x, n = np.linspace(0.2, 1, 161), 112
    tau, tpp = rng.uniform(np.log(0.02), 0, n), rng.uniform(np.log(10), np.log(320), n)
    controls = (tau - tau.mean(), tpp - tpp.mean())
    b, q = controls_to_shape([np.log(0.05), -0.5, np.log(4.0), -0.4], tau, tpp)
    eta = np.tile((1 - x) / 0.9, (n, 1))
    y = surrogate_curve(x, eta, b, q, 0.05)
    y *= 1 + 0.01 * rng.standard_normal(y.shape)
    calls = {
        "joint": lambda: joint_fit(y, x, eta, controls, m=0.05)[1],
        "alternating_grids": lambda: list(alternating_fit(y, x, eta, controls, m=0.05))[-1][1],
        "nelder_mead": lambda: (
            minimize(
                lambda p: float(macro_mae(p, 0.05, y, x, eta, controls)),
                [-1.6, 0.0, 0.0, 0.0],
                method="Nelder-Mead",
            ).fun
        ),
    }
    row = {}
    for way, call in calls.items():
        start = time.process_time()
        objective = call()
        row[way] = {
            "cpu_ms": round(1e3 * (time.process_time() - start), 1),
            "mae_percent": round(100 * float(objective), 4),
        }
    return row


def main() -> None:
    """Run every ladder and keep the figures."""
    rows = []
    for path in [QUICKSTART, *map(Path, sys.argv[1:])]:
        with xr.open_dataset(path, engine="netcdf4") as ds:
            runs = conform(ds.load())
        if path == QUICKSTART:
            runs = select_runs(runs, ["schedule=linear", "tau>0.1"])
        rows.append(ladder(path.stem, runs))
        print(rows[-1])
    fits = surrogate()
    print(fits)
    print(keep("forecast", {"at": AT, "rows": rows, "surrogate": fits}, "numpy", "scipy"))


if __name__ == "__main__":
    main()
