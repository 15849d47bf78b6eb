"""Every fitted law against the published or usual way, time and objective, in one run.

python benchmarks/laws.py [FOLDER]

FOLDER holds ``curves`` and ``tables`` of public data; by default ../shared/data beside the
checkout. Without it the fits run on simulated data of the same shape, where there are any. Ways
that are written again here from their descriptions:

- power: 10 x 10 x 10 starts of L-BFGS-B with numerical gradients (Qiu et al. 2025);
- chinchilla: 5 x 5 x 5 x 6 x 6 starts of BFGS on the log-sum-exp form (Hoffmann et al. 2022);
- overtraining: one curve_fit of L(C, M) from one start (Gadre et al. 2024);
- frontier: the envelope (Qiu et al. 2025) against the crossings, by the error on simulated runs;
- sum: the same grid of BFGS starts on the curves, every fortieth of them;
- optimum: the best run of each grid, and a line through those (no surface).

Times are processor seconds of one thread, so that other work on the machine counts little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from machine import keep
from power_law import ladder, recipe
from scipy.optimize import curve_fit, minimize
from scipy.special import logsumexp

from workbench.laws import (
    fit_chinchilla,
    fit_frontier,
    fit_optimum,
    fit_overtraining,
    fit_power_law,
    fit_power_sum,
)
from workbench.laws import kernels_sums as kernels
from workbench.laws.end_points import end_points
from workbench.laws.horizon import horizons, losses_at
from workbench.laws.kernels import huber
from workbench.laws.power_law import PFLOP
from workbench.schema import conform, make_runs

HERE = Path(__file__).resolve().parents[1]
_START = (1.8, 140, 190, 0.13)


def timed(call: Callable[[], object], repeats: int = 1) -> tuple[float, object]:
    """Return the median processor time of a call [s] and its last result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return float(np.median(times)), result


def row(law: str, data: str, ours: float, theirs: float, **figures: object) -> dict[str, object]:
    """Return one line of the table, times in ms."""
    out = {
        "law": law,
        "data": data,
        "ours_ms": round(1e3 * ours, 2),
        "theirs_ms": round(1e3 * theirs, 1),
        "ratio": round(theirs / ours, 1),
        **figures,
    }
    print(out)
    return out


def ladders(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return compute [PFLOP] and loss of each ladder."""
    if not folder.is_dir():
        return {"simulated": ladder(0.54, 0.33, 0.12, 2e-4, 1)}
    out = {}
    for path in sorted((folder / "curves").glob("qiu_*.nc")):
        runs = open_runs(path)
        if "horizon_compute_pflop" not in runs.variables:
            continue
        at = horizons(runs)
        if at is None:
            ends = end_points(runs)
            compute, loss = ends["compute_total"].to_numpy() / PFLOP, ends["loss"].to_numpy()
            size = ends["model_size"].to_numpy()
        else:
            compute, loss, size = at[0], losses_at(runs, at[0]), runs["model_size"].to_numpy()
        cells = [size == value for value in np.unique(size)]
        out[path.stem] = tuple(np.array([v[c].mean() for c in cells]) for v in (compute, loss))
    return out


def open_runs(path: Path) -> xr.Dataset:
    """Return a file of public curves as runs."""
    with xr.open_dataset(path, engine="netcdf4") as ds:
        return conform(ds.load(), source=path.name)


def power(folder: Path) -> list[dict[str, object]]:
    """Compare the power law with the 1000-start recipe."""
    rows = []
    for name, (compute, loss) in ladders(folder).items():
        fit_power_law(compute, loss)
        ours, fit = timed(lambda c=compute, y=loss: fit_power_law(c, y), 20)
        with np.errstate(all="ignore"):
            theirs, (objective, found) = timed(lambda c=compute, y=loss: recipe(c, y))
        rows.append(
            row(
                "power",
                name,
                ours,
                theirs,
                ours_objective=fit.objective,
                theirs_objective=objective,
                ours_L0=fit.L0.estimate,
                theirs_L0=float(found[2]),
            )
        )
    return rows


def grid_of_starts(
    log_x: np.ndarray, log_z: np.ndarray, log_y: np.ndarray, every: int = 1
) -> tuple[float, np.ndarray, int]:
    """Return objective, (e, a, α, b, β) and count of the usual grid of BFGS starts."""

    def objective(p: np.ndarray) -> float:
        terms = [np.full_like(log_y, p[0]), p[1] - p[2] * log_x, p[3] - p[4] * log_z]
        return float(huber(logsumexp(terms, axis=0) - log_y).sum())

    starts = list(
        product(
            np.arange(-1, 1.5, 0.5),
            np.arange(0, 30, 5),
            np.arange(0, 2.5, 0.5),
            np.arange(0, 30, 5),
            np.arange(0, 2.5, 0.5),
        )
    )[::every]
    best = (np.inf, np.empty(5))
    with np.errstate(all="ignore"):
        for start in starts:
            found = minimize(objective, start, method="BFGS")
            if found.fun < best[0]:
                best = (float(found.fun), found.x)
    return best[0] / len(log_y), best[1], len(starts)


def chinchilla_points(folder: Path) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """Return the digitised table without the refit's five outliers, or points like it."""
    if folder.is_dir():
        table = pd.read_csv(folder / "tables" / "chinchilla_digitised.csv")[5:]
        return "chinchilla_digitised", *(
            table[c].to_numpy() for c in ("n_params", "tokens", "loss")
        )
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7.7, 10.2, 240), 10 ** rng.uniform(9, 11.5, 240)
    loss = 1.82 + 482 * n**-0.348 + 2085 * d**-0.366
    return "simulated", n, d, loss * np.exp(5e-3 * rng.standard_normal(240))


def chinchilla(folder: Path, every: int) -> dict[str, object]:
    """Compare Chinchilla's law with the usual grid of starts, `every`-th of them."""
    name, n, d, loss = chinchilla_points(folder)
    fit_chinchilla(n, d, loss, outliers=None)
    bare, fit = timed(lambda: fit_chinchilla(n, d, loss, outliers=None, draws=0), 15)
    whole, _ = timed(lambda: fit_chinchilla(n, d, loss, outliers=None), 15)
    some, found = timed(lambda: grid_of_starts(np.log(n), np.log(d), np.log(loss), every))
    objective, parameters, count = found
    return row(
        "chinchilla",
        name,
        bare,
        some * 4500 / count,
        with_intervals_ms=round(1e3 * whole, 1),
        starts_run=count,
        ratio_with_intervals=round(some * 4500 / count / whole, 1),
        ours_objective=fit.objective,
        theirs_objective=objective,
        ours_params={k: v.estimate for k, v in fit.params.items()},
        theirs_params=dict(
            zip(
                ("E", "A", "alpha", "B", "beta"),
                (
                    float(np.exp(parameters[0])),
                    float(np.exp(parameters[1])),
                    float(parameters[2]),
                    float(np.exp(parameters[3])),
                    float(parameters[4]),
                ),
                strict=True,
            )
        ),
    )


def overtraining(folder: Path) -> list[dict[str, object]]:
    """Compare the prediction of TPP 80 from 40 and fewer with one plain curve_fit.

    Ours leaves out long warm-ups and anchors each size; both were chosen by how well 20 and fewer
    predict 40. Its time holds 200 bootstrap draws.
    """
    if not folder.is_dir():
        return []
    table = pd.read_csv(folder / "tables" / "gadre_overtraining_final.csv")
    warm_up = table["warmup"] * table["batch_sequences"] * 2048 / table["tokens"]

    def law(x: np.ndarray, e: float, a: float, b: float, eta: float) -> np.ndarray:
        c, m = x
        return e + (a * m**eta + b * m**-eta) * c**-eta

    rows = []
    for name, runs in table.assign(warm_up=warm_up).groupby("dataset"):
        early, late = runs[runs["tpp"] <= 40], runs[runs["tpp"] == 80]
        calm = early[early["warm_up"] < 0.3]
        y = late["loss:c4_val"].to_numpy()
        columns = [calm[c].to_numpy() for c in ("n_params", "tpp", "loss:c4_val")]
        ours, fit = timed(lambda c=columns: fit_overtraining(*c), 5)
        x = [
            np.array([6.0 * r["n_params"] * r["tokens"].astype(float), r["tpp"]])
            for r in (early, late)
        ]
        loss = early["loss:c4_val"]
        theirs, (found, _) = timed(
            lambda p=x[0], q=loss: curve_fit(law, p, q, _START, bounds=(0, np.inf))
        )
        off = fit.predict(late["n_params"], late["tpp"], anchored=True) / y - 1
        plain = law(x[1], *found) / y - 1
        rows.append(
            row(
                "overtraining",
                f"gadre {name}",
                ours,
                theirs,
                ours_error=float(np.abs(off).mean()),
                theirs_error=float(np.abs(plain).mean()),
                ours_errors=[round(float(v), 5) for v in off],
            )
        )
    return rows


def simulated_runs(seed: int, mu: float = 0.33, nu: float = 0.343) -> xr.Dataset:
    """Return eight long runs whose curves wander by 0.3 %, optimal at 1.2e8 tokens for 6e6."""
    rng = np.random.default_rng(seed)
    size, records = np.geomspace(1.5e6, 4e7, 8), 300
    tokens = np.geomspace(1e6, 5e9, records)
    weight = mu * 1.2e8**-mu / (nu * 6e6**-nu)
    wander = np.array(
        [np.convolve(r, np.ones(20) / np.sqrt(20), "same") for r in rng.normal(size=(8, records))]
    )
    loss = (tokens**-mu + weight * size[:, None] ** -nu) * np.exp(3e-3 * wander)
    runs = make_runs(
        {"run_id": [str(i) for i in range(8)], "model_size": size, "tokens_total": [5e9] * 8},
        {
            "step": np.tile(np.arange(1, records + 1), 8),
            "tokens": np.tile(tokens, 8),
            "eval_loss": loss.ravel(),
        },
        row_size=[records] * 8,
    )
    return conform(runs)


def frontier(folder: Path, count: int = 30) -> list[dict[str, object]]:
    """Compare three ways to the frontier's exponent on simulated runs; the public one if there."""
    found = []
    for seed in range(count):
        runs = simulated_runs(seed)
        both, summed = fit_frontier(runs), fit_power_sum(runs, draws=0)
        found.append(
            [both.exponent.estimate, both.crossing_exponent.estimate, 1 + summed.gamma.estimate]
        )
    error = np.sqrt(np.mean((np.array(found) - (1 + 0.343 / 0.33)) ** 2, axis=0))
    rows = [
        {
            "law": "frontier",
            "data": f"{count} simulated families",
            "rms_error_of_exponent": dict(
                zip(("envelope", "crossings", "sum"), map(float, error), strict=True)
            ),
        }
    ]
    if folder.is_dir():
        runs = open_runs(folder / "curves" / "qiu_mlp_const.nc")
        seconds, fit = timed(lambda: fit_frontier(runs), 5)
        rows.append(
            {
                "law": "frontier",
                "data": "qiu_mlp_const",
                "ours_ms": round(1e3 * seconds, 1),
                "scale": fit.scale.estimate,
                "exponent": fit.exponent.estimate,
                "published": [1346251.612836, 2.040882],
                "crossing_exponent": fit.crossing_exponent.to_dict(),
            }
        )
    for one in rows:
        print(one)
    return rows


def power_sum(folder: Path, every: int) -> dict[str, object]:
    """Compare the sum of power laws through curves with the usual grid of starts."""
    real = folder.is_dir()
    runs = open_runs(folder / "curves" / "qiu_mlp_const.nc") if real else simulated_runs(0)
    ours, fit = timed(lambda: fit_power_sum(runs, draws=0), 5)
    size = np.unique(runs["model_size"].to_numpy())
    t = np.geomspace(1e8, 5e9, 200)
    x, z = (g.ravel() for g in np.meshgrid(np.log(t), np.log(size)))
    y = np.log(fit.predict(np.exp(z), np.exp(x)))
    y = y + 9e-3 * np.repeat(np.random.default_rng(0).standard_normal(len(size)), 200)
    features = np.zeros((3, len(y), 2))
    features[1, :, 0], features[2, :, 1] = x - x.mean(), z - z.mean()
    side = np.geomspace(0.05, 1.5, 8)
    trial = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    same, (_, objective) = timed(lambda: kernels.fit_log_sum(features, y, trial), 5)
    theirs, (slow, _, count) = timed(lambda: grid_of_starts(x, z, y, every))
    return row(
        "sum",
        "qiu_mlp_const" if real else "simulated",
        same,
        theirs * 4500 / count,
        whole_fit_ms=round(1e3 * ours, 1),
        starts_run=count,
        ours_objective=objective,
        theirs_objective=slow,
        rms=fit.rms,
    )


def optimum(folder: Path) -> list[dict[str, object]]:
    """Compare the bowls' laws with lines through the best run of each grid, and the published."""
    if not folder.is_dir():
        return []
    table = pd.read_csv(folder / "tables" / "steplaw_dense_final.csv")
    table["batch"] = table["batch_sequences"] * 2048
    names = ("n_params", "tokens", "peak_lr", "batch", "smooth_loss")
    columns = [table[name].to_numpy() for name in names]
    ours, fit = timed(lambda: fit_optimum(*columns, weight_decay=0.1), 3)

    def best_runs() -> tuple[np.ndarray, np.ndarray]:
        best = table.loc[table.groupby(["n_params", "tokens"])["smooth_loss"].idxmin()]
        one, d = np.ones(len(best)), np.log(best["tokens"])
        lr = np.stack([one, np.log(best["n_params"]), d], 1)
        return (
            np.linalg.lstsq(lr, np.log(best["peak_lr"]), rcond=None)[0],
            np.linalg.lstsq(lr[:, [0, 2]], np.log(best["batch"]), rcond=None)[0],
        )

    theirs, (lr, batch) = timed(best_runs, 3)
    return [
        row(
            "optimum",
            "steplaw_dense",
            ours,
            theirs,
            ours_params={k: v.to_dict() for k, v in fit.params.items()},
            best_runs={"lr_N": lr[1], "lr_D": lr[2], "batch_D": batch[1]},
            published=dict(fit.published),
            ours_excess=float(fit.cells["excess"].mean()),
            published_excess=float(fit.cells["excess_published"].mean()),
        )
    ]


def main() -> None:
    """Run every comparison and keep the figures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "shared" / "data"
    rows = [
        *power(folder),
        chinchilla(folder, every=45),
        *overtraining(folder),
        *frontier(folder),
        power_sum(folder, every=450),
        *optimum(folder),
    ]
    print(keep("laws", {"public_data": folder.is_dir(), "rows": rows}, "numpy", "scipy"))


if __name__ == "__main__":
    main()
