"""S with its bootstrap against plain loops over draws, settings and points, in one run.

python benchmarks/collapse_quality.py

The loops follow Houdayer & Hartmann 2004 as public scripts write them: for every setting and every
point, the weighted line through the two points of each other setting that bracket x (here its
weighted mean, since all share one grid), then its error, then the distance; and that again for
every redrawn family. Both sides use the same draws, so S and its bootstrap must agree.
"""

from __future__ import annotations

import time

import numpy as np
import xarray as xr
from machine import keep

from workbench.collapse import collapse_quality, collapse_report
from workbench.collapse.family import Family
from workbench.collapse.noise import family_noise
from workbench.schema import conform, make_runs

FLOOR, POINTS = 1.7, 200


def ladder(sizes: int, seeds: int) -> xr.DataArray:
    """Return loss curves (run, progress) of one shape with wandering seed noise."""
    rng = np.random.default_rng(0)
    x = np.arange(1, POINTS + 1) / POINTS
    n = sizes * seeds
    size = np.repeat(1e6 * 2.0 ** np.arange(sizes), seeds)
    wander = np.cumsum(rng.standard_normal((n, POINTS)), axis=1) / np.sqrt(POINTS)
    loss = FLOOR + 20 * size[:, None] ** -0.2 * x**-0.3 * (1 + 0.01 * wander)
    coords = {
        "run_id": [f"r{i}" for i in range(n)],
        "model_size": size,
        "seed": np.tile(np.arange(float(seeds)), sizes),
        "tau": np.full(n, 0.2),
        "tpp": np.full(n, 20.0),
        "schedule": ["linear"] * n,
    }
    return xr.DataArray(
        loss,
        dims=("run", "progress"),
        coords={**{name: ("run", values) for name, values in coords.items()}, "progress": x},
        name="eval_loss",
    )


def naive_s(ell: np.ndarray, cells: list[np.ndarray], used: np.ndarray) -> float:
    """Return S of one family by loops."""
    freedom = sum(len(c) - 1 for c in cells)
    total, count = 0.0, 0
    for j in np.flatnonzero(used):
        pooled = 0.0
        for c in cells:
            values = ell[c, j]
            pooled += float(((values - values.mean()) ** 2).sum()) / float(values.mean()) ** 2
        pooled /= freedom
        for i, own in enumerate(cells):
            weights, weighted = 0.0, 0.0
            for k, other in enumerate(cells):
                if k == i:
                    continue
                mean = float(ell[other, j].mean())
                variance = mean**2 * pooled / len(other)
                weights += 1 / variance
                weighted += mean / variance
            mean = float(ell[own, j].mean())
            error = mean**2 * pooled / len(own) + 1 / weights
            total += (mean - weighted / weights) ** 2 / error
            count += 1
    return (freedom - 2) / freedom * total / count


def naive(family: Family, relative: np.ndarray, cells: list[np.ndarray]) -> tuple[float, list]:
    """Return S and its bootstrap by loops over the same draws."""
    drawn = []
    for one in relative:
        ell = np.empty_like(family.ell)
        for run in range(len(ell)):
            wobble = (1 + one[run]) / (1 + one[run, -1])
            ell[run] = family.shape[family.rows[run]] * wobble
        drawn.append(naive_s(ell, cells, family.used))
    return naive_s(family.ell, cells, family.used), drawn


def timed(call, repeats: int) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def row(sizes: int, seeds: int, draws: int) -> dict[str, object]:
    """Time one family both ways."""
    loss = ladder(sizes, seeds)
    noise = family_noise(loss, offset=FLOOR, draws=draws)
    family = Family(loss, FLOOR, 0.2, noise)
    relative = noise.relative(draws, np.random.default_rng(0))

    def ours() -> tuple[float, np.ndarray]:
        one = Family(loss, FLOOR, 0.2, noise)
        return float(one.distances().mean()), one.drawn(relative)["S"]

    start = time.perf_counter()
    slow_s, slow = naive(family, relative, noise.seeds)
    slow_time = time.perf_counter() - start
    fast_s, fast = ours()
    fast_time = timed(ours, 10)
    return {
        "family": f"{sizes} sizes x {seeds} seeds x {POINTS} points, {draws} draws",
        "ours_ms": round(1e3 * fast_time, 1),
        "loops_ms": round(1e3 * slow_time),
        "ratio": round(slow_time / fast_time),
        "S": fast_s,
        "largest_relative_difference": float(
            max(abs(slow_s / fast_s - 1), np.abs(np.array(slow) / fast - 1).max())
        ),
        "whole_quality_ms": round(1e3 * timed(lambda: collapse_quality(loss, offset=FLOOR), 5), 1),
    }


def report_times() -> dict[str, float]:
    """Return milliseconds of a report with and without quality, 8 sizes x 5 seeds x 900 records."""
    curves = ladder(8, 5)
    fine = np.arange(1, 901) / 900
    loss = np.concatenate([np.interp(fine, curves["progress"], row) for row in curves.to_numpy()])
    names = [n for n in curves.coords if curves[n].dims == ("run",)]
    runs = conform(
        make_runs(
            {n: curves[n].to_numpy().tolist() for n in names} | {"total_steps": [900.0] * 40},
            {"step": np.tile(np.arange(1, 901), 40), "eval_loss": loss},
            row_size=[900] * 40,
        )
    )
    return {
        "report_ms": round(1e3 * timed(lambda: collapse_report(runs), 10), 1),
        "report_with_quality_ms": round(
            1e3 * timed(lambda: collapse_report(runs, quality=True, neighbours=runs), 5), 1
        ),
    }


def main() -> None:
    """Time both ways and keep the figures."""
    rows = [row(8, 5, 200), row(5, 3, 200), row(12, 2, 100)]
    for one in rows:
        print(one)
    reports = report_times()
    print(reports)
    print(keep("collapse_quality", {"rows": rows, "report": reports}, "numpy", "scipy", "xarray"))


if __name__ == "__main__":
    main()
