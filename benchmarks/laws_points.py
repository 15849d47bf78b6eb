"""Laws through end points against the published or usual way of fitting them.

Each usual way is written again from its description:

- power: 10 x 10 x 10 starts of L-BFGS-B with numerical gradients and default stopping on the mean
  Huber loss of log residuals, the best kept (Qiu et al. 2025);
- chinchilla: 5 x 5 x 5 x 6 x 6 starts of BFGS on the log-sum-exp form (Hoffmann et al. 2022);
- isoflop: a parabola for every compute and a line through their minima (Hoffmann et al. 2022);
- overtraining: least squares from 4 x 4 x 2 x 4 starts (Gadre et al. 2024);
- optimum: the runs within 0.25 % of the best of each grid, ordinary least squares, 1000 redraws
  (Li et al. 2025); and the best run of each grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from comparison import row, timed
from scipy.optimize import curve_fit, minimize
from scipy.special import logsumexp

from workbench.laws import (
    PFLOP,
    fit_chinchilla,
    fit_isoflop,
    fit_optimum,
    fit_overtraining,
    fit_power_law,
)
from workbench.laws.end_points import end_points
from workbench.laws.horizon import horizons, losses_at
from workbench.laws.kernels import huber
from workbench.schema import conform

Row = dict[str, Any]
SEQUENCE = 2048


def open_runs(path: Path) -> xr.Dataset:
    """Return a file of public curves as runs."""
    with xr.open_dataset(path, engine="netcdf4") as ds:
        return conform(ds.load(), source=path.name)


def recipe(compute: np.ndarray, loss: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the objective and (a, b, L0) of the best of 1000 starts."""

    def objective(p: np.ndarray) -> float:
        return float(huber(np.log(p[0] * compute ** -p[1] + p[2]) - np.log(loss)).mean())

    best = (np.inf, np.empty(3))
    floors = np.linspace(0.1 * loss.min(), loss.min(), 10)
    with np.errstate(all="ignore"):
        for start in product(np.linspace(0.1, 1, 10), np.linspace(0.01, 0.3, 10), floors):
            found = minimize(objective, start, method="L-BFGS-B", bounds=[(0, None)] * 3)
            if found.fun < best[0]:
                best = (float(found.fun), found.x)
    return best


def ladders(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return compute [PFLOP] and loss of each ladder."""
    if not folder.is_dir():
        compute = np.geomspace(400, 13_000, 8)
        wobble = 2e-4 * np.random.default_rng(1).standard_normal(8)
        return {"simulated": (compute, (0.54 + 0.33 * compute**-0.12) * np.exp(wobble))}
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


def power(folder: Path) -> list[Row]:
    """Compare the power law, intervals included, with the 1000-start recipe."""
    rows = []
    for name, (compute, loss) in ladders(folder).items():
        fit_power_law(compute, loss)
        ours, fit = timed(lambda c=compute, y=loss: fit_power_law(c, y), 20)
        usual, (objective, found) = timed(lambda c=compute, y=loss: recipe(c, y))
        rows.append(
            row(
                "power",
                name,
                seconds=(ours, usual),
                objective="mean Huber loss",
                values=(fit.objective, objective),
                usual_way="1000 starts of L-BFGS-B",
                L0=fit.L0.to_dict(),
                usual_L0=float(found[2]),
            )
        )
    return rows


def grid_of_starts(
    log_x: np.ndarray, log_z: np.ndarray, log_y: np.ndarray, every: int
) -> tuple[float, np.ndarray, int]:
    """Return objective, (e, a, α, b, β) and count of the usual grid of BFGS starts."""

    def objective(p: np.ndarray) -> float:
        terms = [np.full_like(log_y, p[0]), p[1] - p[2] * log_x, p[3] - p[4] * log_z]
        return float(huber(logsumexp(terms, axis=0) - log_y).sum())

    halves, fives = np.arange(0, 2.5, 0.5), np.arange(0, 30, 5)
    starts = list(product(np.arange(-1, 1.5, 0.5), fives, halves, fives, halves))[::every]
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
        points = pd.read_csv(folder / "tables" / "chinchilla_digitised.csv")[5:]
        return "chinchilla_digitised", *(
            points[c].to_numpy() for c in ("n_params", "tokens", "loss")
        )
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7.7, 10.2, 240), 10 ** rng.uniform(9, 11.5, 240)
    loss = 1.82 + 482 * n**-0.348 + 2085 * d**-0.366
    return "simulated", n, d, loss * np.exp(5e-3 * rng.standard_normal(240))


def chinchilla(folder: Path, every: int = 45) -> Row:
    """Compare Chinchilla's law with the usual grid of starts, `every`-th of them."""
    name, n, d, loss = chinchilla_points(folder)
    fit_chinchilla(n, d, loss, outliers=None)
    bare, fit = timed(lambda: fit_chinchilla(n, d, loss, outliers=None, draws=0), 15)
    whole, _ = timed(lambda: fit_chinchilla(n, d, loss, outliers=None), 15)
    some, found = timed(lambda: grid_of_starts(np.log(n), np.log(d), np.log(loss), every))
    objective, parameters, count = found
    e, a, alpha, b, beta = map(float, parameters)
    usual = {"E": np.exp(e), "A": np.exp(a), "alpha": alpha, "B": np.exp(b), "beta": beta}
    return row(
        "chinchilla",
        name,
        seconds=(whole, some * 4500 / count),
        objective="mean Huber loss",
        values=(fit.objective, objective),
        usual_way=f"4500 starts of BFGS (time of {count} scaled)",
        without_intervals_ms=round(1e3 * bare, 2),
        params={k: v.estimate for k, v in fit.params.items()},
        usual_params=usual,
    )


def parabolas(compute: np.ndarray, n: np.ndarray, loss: np.ndarray, at: float) -> float:
    """Return the size at `at` on the line through the minima of one parabola for every compute."""
    where, best = [], []
    for value in np.unique(compute):
        rows = compute == value
        second, first, _ = np.polyfit(np.log(n[rows]), np.log(loss[rows]), 2)
        where.append(np.log(value))
        best.append(-first / (2 * second))
    return float(np.exp(np.polyval(np.polyfit(where, best, 1), np.log(at))))


def isoflop(count: int = 20) -> Row:
    """Compare the optimal size beyond the slices: parabolas, and the surface fitted beside them.

    Slices reach from a tenth to ten times the optimal size, with noise of 0.1 %; α is twice β.
    """
    alpha, beta, at = 0.5, 0.25, 1e23

    def optimal(c: np.ndarray | float) -> Any:
        best = (alpha * 400 / (beta * 2000)) ** (1 / (alpha + beta))
        return best * (c / 6) ** (beta / (alpha + beta))

    compute = np.repeat(np.geomspace(1e18, 1e21, 6), 9)
    n = optimal(compute) * np.tile(np.geomspace(0.1, 10, 9), 6)
    d = compute / 6 / n
    errors, seconds, stated = [], [], []
    for seed in range(count):
        wobble = np.exp(1e-3 * np.random.default_rng(seed).standard_normal(len(n)))
        loss = (1.8 + 400 * n**-alpha + 2000 * d**-beta) * wobble
        ours, fit = timed(lambda y=loss: fit_isoflop(n, d, y))
        usual, size = timed(lambda y=loss: parabolas(compute, n, y, at))
        seconds.append((ours, usual))
        sizes = np.array([float(fit.surface.optimal(at)[0]), size])
        errors.append(sizes / optimal(at) - 1)
        stated.append(list(fit.off_at.values())[-1])
    rms = np.sqrt(np.mean(np.square(errors), axis=0))
    return row(
        "isoflop",
        f"{count} simulated sets of slices",
        seconds=tuple(map(float, np.median(seconds, axis=0))),
        objective="rms error of size, 100 x beyond",
        values=tuple(map(float, rms)),
        usual_way="parabolas and a line; ours by the surface",
        parabolas_off=float(np.mean(errors, axis=0)[1]),
        parabolas_off_as_we_warn=float(np.mean(stated)),
    )


def least_squares_from_starts(x: np.ndarray, loss: np.ndarray) -> Callable[..., np.ndarray]:
    """Return the published law of N and M fitted from the published 128 starts."""

    def law(x: np.ndarray, a: float, b: float, power: float, e: float) -> np.ndarray:
        n, m = x
        return a * n**power + b * 6 ** (power / 2) * (m * n) ** power + e

    best, least = None, np.inf
    scales = (1e2, 3e2, 1e3, 3e3)
    with np.errstate(all="ignore"):
        for start in product(scales, scales, (-0.1, -0.3), (0.0, 1.0, 2.0, 10.0)):
            try:
                found, _ = curve_fit(law, x, loss, p0=start, maxfev=10_000)
            except RuntimeError:  # this start ran out of evaluations
                continue
            squares = float(((law(x, *found) - loss) ** 2).sum())
            if squares < least:
                best, least = found, squares
    return lambda at: law(at, *best)


def overtraining(folder: Path) -> list[Row]:
    """Compare the prediction of 80 tokens a parameter from 40 and fewer, three data sets together.

    Ours leaves out long warm-ups and anchors each size at its nearest point; both were chosen by
    how well 20 and fewer predict 40, which is the other line.
    """
    if not folder.is_dir():
        return []
    runs = pd.read_csv(folder / "tables" / "gadre_overtraining_final.csv")
    warm_up = runs["warmup"] * runs["batch_sequences"] * SEQUENCE / runs["tokens"]
    sets = [group for _, group in runs.assign(warm_up=warm_up).groupby("dataset")]
    return [_overtrained(sets, upto, at) for upto, at in ((20, 40), (40, 80))]


def _overtrained(sets: list[pd.DataFrame], upto: int, at: int) -> Row:
    names = ("plain", "ours", "usual", "usual, long warm-ups too")
    misses: dict[str, list[np.ndarray]] = {name: [] for name in names}
    ours, usual = 0.0, 0.0
    for runs in sets:
        early, late = runs[runs["tpp"] <= upto], runs[runs["tpp"] == at]
        calm = early[early["warm_up"] < 0.3]
        y = late["loss:c4_val"].to_numpy()
        columns = [calm[c].to_numpy() for c in ("n_params", "tpp", "loss:c4_val")]
        seconds, fit = timed(lambda c=columns: fit_overtraining(*c), 5)
        ours += seconds
        for name, points in zip(names[2:], (calm, early), strict=True):
            x, x_late = (g[["n_params", "tpp"]].to_numpy(np.float64).T for g in (points, late))
            loss = points["loss:c4_val"].to_numpy()
            seconds, law = timed(lambda p=x, q=loss: least_squares_from_starts(p, q))
            usual += seconds if name == "usual" else 0.0
            misses[name].append(law(x_late) / y - 1)
        for name, anchored in (("plain", False), ("ours", True)):
            predicted = fit.predict(late["n_params"], late["tpp"], anchored=anchored)
            misses[name].append(predicted / y - 1)
    off = {name: np.abs(np.concatenate(parts)) for name, parts in misses.items()}
    return row(
        "overtraining",
        f"gadre, {upto} -> {at} tokens a parameter",
        seconds=(ours, usual),
        objective="mean relative error",
        values=(float(off["ours"].mean()), float(off["usual"].mean())),
        usual_way="128 starts of least squares",
        means={name: float(values.mean()) for name, values in off.items()},
        medians={name: float(np.median(values)) for name, values in off.items()},
        errors=[[round(float(v), 5) for v in part] for part in misses["ours"]],
    )


def best_runs(runs: pd.DataFrame, within: float, redraws: int) -> np.ndarray:
    """Return log c, p, q of the learning rate and log c, r of the batch, the mean of redraws."""
    least = runs.groupby(["n_params", "tokens"])["smooth_loss"].transform("min")
    near = runs[runs["smooth_loss"] / least - 1 <= within]

    def lines(rows: pd.DataFrame) -> np.ndarray:
        x = np.stack([np.ones(len(rows)), np.log(rows["n_params"]), np.log(rows["tokens"])], 1)
        lr = np.linalg.lstsq(x, np.log(rows["peak_lr"]), rcond=None)[0]
        batch = np.linalg.lstsq(x[:, [0, 2]], np.log(rows["batch"]), rcond=None)[0]
        return np.concatenate([lr, batch])

    if not redraws:
        return lines(near)
    rng = np.random.default_rng(0)
    drawn = [lines(near.sample(frac=1, replace=True, random_state=rng)) for _ in range(redraws)]
    return np.mean(drawn, axis=0)


def optimum(folder: Path, redraws: int = 1000) -> list[Row]:
    """Compare the laws of the best learning rate and batch, scored on grids left out.

    The score is how much of the loss a grid's recommendation gives away by a bowl fitted to that
    grid, which no way has seen.
    """
    if not folder.is_dir():
        return []
    runs = pd.read_csv(folder / "tables" / "steplaw_dense_final.csv")
    runs["batch"] = runs["batch_sequences"] * SEQUENCE
    ways = {
        "1000 redraws of runs within 0.25 %": (0.0025, redraws),
        "best run of each grid": (0.0, 0),
    }
    whole = _bowls(runs)
    ours, _ = timed(lambda: _bowls(runs), 3)
    left_out = _excess_left_out(runs, lambda seen: _law(_bowls(seen).params))
    rows = []
    for way, (within, draws) in ways.items():
        usual, found = timed(lambda w=within, k=draws: best_runs(runs, w, k))
        given_away = _excess_left_out(runs, lambda seen, w=within: best_runs(seen, w, 0))
        rows.append(
            row(
                "optimum",
                "steplaw_dense",
                seconds=(ours, usual),
                objective="loss given away, grids left out",
                values=(left_out, given_away),
                usual_way=way,
                params={k: v.to_dict() for k, v in whole.params.items()},
                usual_params=dict(
                    zip(("lr_N", "lr_D", "batch_D"), map(float, found[[1, 2, 4]]), strict=True)
                ),
                published=dict(whole.published),
                published_excess=float(whole.cells["excess_published"].mean()),
            )
        )
    return rows


def _bowls(runs: pd.DataFrame) -> Any:
    names = ("n_params", "tokens", "peak_lr", "batch", "smooth_loss")
    return fit_optimum(*(runs[name].to_numpy() for name in names), weight_decay=0.1)


def _law(params: Mapping[str, Any]) -> np.ndarray:
    p = {name: found.estimate for name, found in params.items()}
    logs = np.log(p["lr_scale"]), np.log(p["batch_scale"])
    return np.array([logs[0], p["lr_N"], p["lr_D"], logs[1], p["batch_D"]])


def _excess_left_out(runs: pd.DataFrame, fit: Callable[[pd.DataFrame], np.ndarray]) -> float:
    """Return the mean log loss above the minimum of grids the fit has not seen."""
    found = []
    for (size, tokens), grid in runs.groupby(["n_params", "tokens"]):
        others = runs[(runs["n_params"] != size) | (runs["tokens"] != tokens)]
        law, one = fit(others), np.log([size, tokens])
        at = np.array([law[0] + law[1:3] @ one, law[3] + law[4] * one[1]])
        bowl = _bowl(grid)
        found.append(bowl.excess(at))
    return float(np.mean(found))


def _bowl(grid: pd.DataFrame) -> Any:
    from workbench.laws.kernels_optimum import fit_bowl
    from workbench.laws.optimum import WINDOW

    columns = (np.log(grid[name].to_numpy()) for name in ("peak_lr", "batch", "smooth_loss"))
    return fit_bowl(*columns, window=WINDOW)
