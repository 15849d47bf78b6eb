"""Laws of whole curves at one rate, and recipes, against the published or usual way.

Each usual way is written again from its description:

- frontier: for every compute every size interpolated by itself, the best kept (Qiu et al. 2025);
- sum: 5 x 5 x 5 x 6 x 6 starts of BFGS on the log-sum-exp form;
- surrogate: alternating grids (Bergsma et al. 2025), and Nelder-Mead;
- recipes: an ODE solver for the noisy quadratic, a product for every update for AdamW's average.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from comparison import row, timed
from forecast import surrogate as fitted_surrogates
from laws_points import grid_of_starts, open_runs
from scipy.integrate import solve_ivp

from workbench.laws import PFLOP, fit_frontier, fit_power_sum, noisy_quadratic
from workbench.laws import kernels_sums as kernels
from workbench.recipes import schedule_factors, update_weights
from workbench.schema import conform, iter_runs, make_runs

Row = dict[str, Any]


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


def envelope(runs: xr.Dataset, low: float, high: float) -> tuple[float, float]:
    """Return scale and exponent by loops over 1000 computes [PFLOP] and all sizes."""
    curves = []
    for _, run in iter_runs(runs):
        compute = 6 * float(run["model_size"]) * run["tokens"].to_numpy() / PFLOP
        loss = run["eval_loss"].to_numpy().astype(float)
        known = (compute > 0) & np.isfinite(loss)
        logs = np.log10(compute[known]), np.log10(loss[known])
        curves.append((float(run["model_size"]), *logs))
    curves.sort()
    won = []
    for at in np.linspace(np.log10(low), np.log10(high), 1000):
        losses = [np.interp(at, x, y, left=np.inf, right=np.inf) for _, x, y in curves]
        best = int(np.argmin(losses))
        if 0 < best < len(curves) - 1 and np.isfinite(losses[best]):
            won.append((np.log10(curves[best][0]), at))
    size, compute = np.array(won).T
    exponent, level = np.polyfit(size, compute, 1)
    return float(10 ** (-level / exponent)), float(exponent)


def frontier(folder: Path, count: int = 30) -> list[Row]:
    """Compare the frontier, intervals included, with loops; and three ways to its exponent."""
    found, seconds = [], []
    for seed in range(count):
        runs = simulated_runs(seed)
        ours, fit = timed(lambda r=runs: fit_frontier(r))
        usual, loops = timed(lambda r=runs, c=fit.compute_range: envelope(r, *c))
        seconds.append((ours, usual))
        gamma = fit_power_sum(runs, draws=0).gamma.estimate
        found.append([loops[1], fit.exponent.estimate, fit.crossing_exponent.estimate, 1 + gamma])
    error = np.sqrt(np.mean((np.array(found) - (1 + 0.343 / 0.33)) ** 2, axis=0))
    rows = [
        row(
            "frontier",
            f"{count} simulated families",
            seconds=tuple(map(float, np.median(seconds, axis=0))),
            objective="rms error of exponent",
            values=(float(error[2]), float(error[0])),
            usual_way="envelope by loops; ours by crossings",
            our_envelope=float(error[1]),
            our_sum_of_power_laws=float(error[3]),
        )
    ]
    if folder.is_dir():
        runs = open_runs(folder / "curves" / "qiu_mlp_const.nc")
        ours, fit = timed(lambda: fit_frontier(runs), 5)
        usual, loops = timed(lambda: envelope(runs, *fit.compute_range))
        rows.append(
            row(
                "frontier",
                "qiu_mlp_const",
                seconds=(ours, usual),
                objective="off the published exponent 2.040882",
                values=(abs(fit.exponent.estimate - 2.040882), abs(loops[1] - 2.040882)),
                usual_way="envelope by loops",
                scale=fit.scale.estimate,
                exponent=fit.exponent.estimate,
                usual_scale=loops[0],
                crossing_exponent=fit.crossing_exponent.to_dict(),
            )
        )
    return rows


def power_sum(folder: Path, every: int = 90) -> Row:
    """Compare the sum of power laws through curves with the usual grid of starts."""
    real = folder.is_dir()
    runs = open_runs(folder / "curves" / "qiu_mlp_const.nc") if real else simulated_runs(0)
    ours, fit = timed(lambda: fit_power_sum(runs), 5)
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
    usual, (slow, _, count) = timed(lambda: grid_of_starts(x, z, y, every))
    return row(
        "sum",
        "qiu_mlp_const" if real else "simulated",
        seconds=(same, usual * 4500 / count),
        objective="mean Huber loss, points like its curves",
        values=(objective, slow),
        usual_way=f"4500 starts of BFGS (time of {count} scaled)",
        whole_fit_with_intervals_ms=round(1e3 * ours, 1),
        rms=fit.rms,
    )


def surrogate() -> list[Row]:
    """Compare all constants together with the two usual searches, 112 curves with 1 % noise."""
    found = fitted_surrogates()
    ways = {"alternating_grids": "alternating 2-d grids", "nelder_mead": "Nelder-Mead"}
    return [
        row(
            "surrogate",
            "112 simulated curves",
            seconds=(found["joint"]["cpu_ms"] / 1e3, found[name]["cpu_ms"] / 1e3),
            objective="mean error, %",
            values=(found["joint"]["mae_percent"], found[name]["mae_percent"]),
            usual_way=way,
        )
        for name, way in ways.items()
    ]


def recipes(steps: int = 2000, tau: float = 0.2) -> list[Row]:
    """Compare a recipe's curve and its average of updates with solver and loop."""
    factor = schedule_factors("linear", total_steps=steps)

    def slope(t: float, m: np.ndarray) -> np.ndarray:
        rate = factor[min(int(t * steps), steps - 1)] / tau
        return -2 * rate * m + rate**2 * 2 * tau

    def ode() -> np.ndarray:
        at = np.arange(steps + 1) / steps
        moment = solve_ivp(slope, (0, 1), [10.0], t_eval=at, max_step=1 / steps).y[0]
        return moment / moment[-1]

    def step_by_step() -> np.ndarray:
        moment = [np.array([10.0])]
        for rate in factor / tau:
            solved = solve_ivp(
                lambda _, m, c=rate: -2 * c * m + c**2 * 2 * tau,
                (0, 1 / steps),
                moment[-1],
                method="DOP853",
                rtol=1e-12,
                atol=1e-14,
            )
            moment.append(solved.y[:, -1])
        return np.concatenate(moment) / moment[-1]

    def exact() -> np.ndarray:
        return noisy_quadratic(factor, tau=tau).to_numpy()

    def loop() -> np.ndarray:
        alpha = factor / (tau * steps)
        return np.array([alpha[i] * np.prod(1 - alpha[i + 1 :]) for i in range(steps)])

    exact()
    ours, curve = timed(exact, 20)
    usual, solved = timed(ode)
    truth = step_by_step()
    off = tuple(float(np.abs(found / truth - 1).max()) for found in (curve, solved))
    weights_ours, weights = timed(lambda: update_weights(factor, tau=tau), 20)
    weights_usual, products = timed(loop)
    total = [abs(float(w.sum()) + weights.initial - 1) for w in (weights.updates, products)]
    return [
        row(
            "noisy quadratic",
            f"linear decay, {steps} steps",
            seconds=(ours, usual),
            objective="largest relative error",
            values=off,
            usual_way="solve_ivp, RK45, a step at most",
        ),
        row(
            "weights of updates",
            f"linear decay, {steps} steps",
            seconds=(weights_ours, weights_usual),
            objective="sum of all weights, off 1",
            values=(total[0], total[1]),
            usual_way="a product for every update",
            largest_difference=float(np.abs(weights.updates - products).max()),
        ),
    ]
