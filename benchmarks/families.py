"""What the shipped families show, trained here: collapse, what leaves it, the tail, τ, the noise.

python benchmarks/families.py [full] [fourier] [timescale] [schedules]

Each part trains its family into a temporary store with one process per core and measures held-out
loss at the planned points; nothing is smoothed. Named parts replace those of an earlier result.

full       spread over five sizes of L(x)/L(1) beside its seed floor, and how far every other
           recipe is from the matched one; the same with the entropy taken off (excess loss).
fourier    deviation of the normalised loss with and without decay, towards the end of the run.
timescale  one τ made by η, by λ and by B from one start, against the start's own τ, four times it.
schedules  the gradient-noise law on our own runs: hindcast (Eq. 16) and forecast (Eq. 18).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from machine import RESULTS, keep
from numpy.typing import NDArray

from workbench.laws import fit_power_law
from workbench.laws.noise import fit_noise
from workbench.schema import iter_runs
from workbench.store import open_store
from workbench.training import FamilySpec, load_spec, parse_spec, train_family

Floats = NDArray[np.float64]
SHOWN = (0.1, 0.3, 0.5, 0.7, 0.9)
TIMESCALE = {
    "family": "timescale",
    "batch": {"rule": "fixed", "sequences": 32},
    "optimizer": {"peak_lr": 0.008},
}


class Curves:
    """Held-out loss of a family at its evaluation points.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Runs that were all evaluated equally often.
    """

    def __init__(self, runs: xr.Dataset) -> None:
        self.runs = runs
        found, self.of = [], []
        for _, run in iter_runs(runs):
            loss = run["eval_loss"].to_numpy()
            found.append(loss[np.isfinite(loss)])
            self.of.append({str(n): run[n].item() for n in run.coords if run[n].ndim == 0})
        self.loss: Floats = np.stack(found)
        self.x: Floats = np.arange(1, self.loss.shape[1] + 1) / self.loss.shape[1]

    def pick(self, test: Callable[[Mapping[str, Any]], bool]) -> NDArray[np.int64]:
        """Return the rows whose coordinates pass a test."""
        return np.flatnonzero([test(one) for one in self.of])

    def normalised(self, rows: NDArray[np.int64], offset: float = 0.0) -> Floats:
        """Return (L − offset)/(L(1) − offset) of some rows."""
        reducible = self.loss[rows] - offset
        return reducible / reducible[:, -1:]

    def by(self, name: str, rows: NDArray[np.int64]) -> dict[float, NDArray[np.int64]]:
        """Split rows by a coordinate."""
        values = np.array([self.of[row][name] for row in rows])
        return {float(v): rows[values == v] for v in np.unique(values)}

    def at(self, values: Floats, places: tuple[float, ...] = SHOWN) -> list[float]:
        """Return percentages at some progress."""
        columns = [int(np.argmin(np.abs(self.x - place))) for place in places]
        return [round(100 * float(values[column]), 4) for column in columns]


def trained(spec: FamilySpec) -> tuple[Curves, float]:
    """Train a family; return its curves and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        result = train_family(spec, folder)
        store = open_store(folder)
        runs = store.runs().load()
        store.close()
    return Curves(runs), round(result.seconds, 1)


def mean_curves(family: Curves, rows: NDArray[np.int64], offset: float) -> dict[float, Floats]:
    """Return the mean normalised curve of every size."""
    sizes = family.by("width", rows)
    return {size: family.normalised(found, offset).mean(0) for size, found in sizes.items()}


def spread_and_floor(
    family: Curves, rows: NDArray[np.int64], offset: float
) -> tuple[Floats, Floats]:
    """Return sd/mean over sizes of the mean curves, and of single runs over seeds of one size."""
    means = np.stack(list(mean_curves(family, rows, offset).values()))
    seeds = [family.normalised(found, offset) for found in family.by("width", rows).values()]
    pooled = np.sqrt(np.mean([found.var(0, ddof=1) for found in seeds], axis=0))
    return means.std(0) / means.mean(0), pooled / means.mean(0)


def full() -> dict[str, Any]:
    """Compare the matched runs with one another, and every other recipe with them."""
    family, seconds = trained(load_spec("full"))

    def usual(one: Mapping[str, Any]) -> bool:
        return one["parameterisation"] == "completep" and one["schedule"] == "linear"

    def tau(value: float) -> Callable[[Mapping[str, Any]], bool]:
        return lambda one: usual(one) and abs(one["tau"] - value) < 1e-9 and one["tpp"] == 20

    def tpp(value: float) -> Callable[[Mapping[str, Any]], bool]:
        return lambda one: usual(one) and one["tau"] == 0.2236 and one["tpp"] == value

    def schedule(name: str) -> Callable[[Mapping[str, Any]], bool]:
        return lambda one: one["schedule"] == name

    recipes = {
        "constant": schedule("constant"),
        "wsd": schedule("wsd"),
        "cosine to 10 %": schedule("cosine"),
        "tau 0.05": tau(0.05),
        "tau 1": tau(1.0),
        "5 tokens per parameter": tpp(5),
        "80 tokens per parameter": tpp(80),
        "rates not scaled with width": lambda one: one["parameterisation"] == "standard",
        "one decay, one batch": lambda one: (
            usual(one) and one["tau"] not in (0.2236, 0.05, 1.0) and one["tpp"] == 20
        ),
    }
    matched = family.pick(tau(0.2236))
    entropy = float(family.of[0]["irreducible_loss"])
    out: dict[str, Any] = {"seconds": seconds, "runs": len(family.of), "progress": SHOWN}
    for name, offset in {"L(x)/L(1)": 0.0, "(L(x)-H)/(L(1)-H)": entropy}.items():
        spread, floor = spread_and_floor(family, matched, offset)
        usable = family.x >= 0.1 - 1e-9
        out[name] = {
            "spread_percent": family.at(spread),
            "seed_floor_percent": family.at(floor),
            "largest_spread_percent_from_0.1": round(100 * float(spread[usable].max()), 4),
            "others": _shifts(family, matched, recipes, offset, spread),
        }
    return out


def _shifts(
    family: Curves,
    matched: NDArray[np.int64],
    recipes: Mapping[str, Callable[[Mapping[str, Any]], bool]],
    offset: float,
    spread: Floats,
) -> dict[str, Any]:
    """Return the mean shift of each recipe against the matched runs of the same sizes."""
    reference = mean_curves(family, matched, offset)
    inside = (family.x >= 0.1 - 1e-9) & (family.x < 1)
    out = {}
    for name, test in recipes.items():
        curves = mean_curves(family, family.pick(test), offset)
        shift = np.mean([curves[size] / reference[size] - 1 for size in curves], axis=0)
        ratio = np.abs(shift[inside]) / spread[inside]
        own = np.stack(list(curves.values()))
        out[name] = {
            "sizes": len(curves),
            "shift_percent": family.at(shift),
            "largest_shift_over_spread": round(float(ratio.max()), 2),
            "at": round(float(family.x[inside][ratio.argmax()]), 2),
            "own_spread_percent": family.at(own.std(0) / own.mean(0)),
        }
    return out


def fourier() -> dict[str, Any]:
    """Deviation over sizes and seeds with and without decay, and their ratio in the tail."""
    family, seconds = trained(load_spec("fourier"))
    windows = ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.99))
    out: dict[str, Any] = {"seconds": seconds, "windows": windows, "progress": SHOWN}
    deviation: dict[str, dict[str, Floats]] = {}
    for schedule in ("linear", "constant"):
        rows = family.pick(lambda one, name=schedule: one["schedule"] == name)  # type: ignore[misc]
        sizes = family.by("width", rows).values()
        compute = np.array(
            [family.of[f[0]]["model_size"] * family.of[f[0]]["tokens_total"] for f in sizes]
        )
        fit = fit_power_law(compute, np.array([family.loss[found, -1].mean() for found in sizes]))
        out[schedule] = {"L0": [fit.L0.estimate, fit.L0.lower, fit.L0.upper]}
        for name, offset in {"zero": 0.0, "fitted": fit.L0.estimate}.items():
            ell = family.normalised(rows, offset)
            deviation.setdefault(name, {})[schedule] = ell.std(0) / ell.mean(0)
            seeds = [family.normalised(found, offset).std(0, ddof=1) for found in sizes]
            out[schedule][name] = {
                "deviation_percent": family.at(deviation[name][schedule]),
                "seed_part_percent": family.at(np.mean(seeds, axis=0)),
            }
    for name, found in deviation.items():
        ratios = [
            float(found["constant"][inside].mean() / found["linear"][inside].mean())
            for low, high in windows
            for inside in [(family.x >= low) & (family.x < high)]
        ]
        out[f"constant_over_linear_{name}"] = [round(ratio, 2) for ratio in ratios]
    part = {name: out[name]["zero"]["seed_part_percent"] for name in ("constant", "linear")}
    pairs = zip(part["constant"], part["linear"], strict=True)
    out["constant_over_linear_seed_part"] = [round(one / other, 2) for one, other in pairs]
    return out


def timescale() -> dict[str, Any]:
    """One τ, a quarter of the start's, by each of the three controls alone."""
    start = {"width": [24, 32], "tpp": 20, "seed": [0, 1, 2, 3], "weight_decay": 0.8}
    ways = {
        "start": start,
        "decay": start | {"weight_decay": 3.2},
        "rate": start | {"peak_lr": 0.032},
        "batch": start | {"sequences": 8},
    }
    spec = parse_spec(TIMESCALE | {"group": list(ways.values())})
    family, seconds = trained(spec)
    tests: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "decay": lambda one: "wd3.2-" in one["run_id"],
        "rate": lambda one: "-lr0.032" in one["run_id"],
        "batch": lambda one: "-b8-" in one["run_id"],
    }
    rows = {name: family.pick(test) for name, test in tests.items()}
    made = np.concatenate(list(rows.values()))
    rows["start"] = np.setdiff1d(np.arange(len(family.of)), made)
    out: dict[str, Any] = {"seconds": seconds, "progress": SHOWN}
    for size in (24.0, 32.0):
        curves = {
            name: family.normalised(family.by("width", found)[size]) for name, found in rows.items()
        }
        same = [curves[name] for name in ("decay", "rate", "batch")]
        centre = np.mean([found.mean(0) for found in same], axis=0)
        floor = np.sqrt(np.mean([found.var(0, ddof=1) for found in same], axis=0))
        inside = (family.x >= 0.1 - 1e-9) & (family.x < 1)
        apart = {name: found.mean(0) / centre - 1 for name, found in curves.items()}
        out[f"width {size:.0f}"] = {
            "tau": {
                name: round(float(family.of[family.by("width", found)[size][0]]["tau"]), 4)
                for name, found in rows.items()
            },
            "seed_floor_percent": family.at(floor / centre),
            "apart_percent": {name: family.at(found) for name, found in apart.items()},
            "mean_apart_over_floor": {
                name: round(float(np.mean(np.abs(found[inside]) / (floor / centre)[inside])), 2)
                for name, found in apart.items()
            },
            "mean_apart_percent": {
                name: round(100 * float(np.mean(np.abs(found[inside]))), 3)
                for name, found in apart.items()
            },
        }
    return out


def schedules() -> dict[str, Any]:
    """Fit the noise law on all schedules of three sizes; its errors beside doing nothing."""
    family, seconds = trained(load_spec("schedules"))
    fit = fit_noise(family.runs)
    targets = [run for run in fit.runs if not run.constant]
    hindcast, forecast = fit.score(targets), fit.score(targets, forecast=True)
    plain = []
    for target in targets:
        twin = next(run for run in fit.runs if run.constant and run.model == target.model)
        base = np.interp(target.flow, twin.flow, twin.loss)
        smooth = target.smooth(np.stack([base, target.loss]))
        use = target.late & np.isfinite(smooth).all(0)
        plain.append(float(np.mean(np.abs(smooth[0, use] / smooth[1, use] - 1))))
    return {
        "seconds": seconds,
        "targets": len(targets),
        "alpha": [fit.alpha.estimate, fit.alpha.lower, fit.alpha.upper],
        "mean_relative_error": {
            "hindcast": float(np.mean([score.mean_relative for score in hindcast])),
            "forecast": float(np.mean([score.mean_relative for score in forecast])),
            "constant-rate curve alone": float(np.mean(plain)),
        },
        "warnings": list(fit.warnings),
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "full": full,
    "fourier": fourier,
    "timescale": timescale,
    "schedules": schedules,
}


def main() -> None:
    """Train the parts asked for, all by default, and keep the figures."""
    path = RESULTS / "families.json"
    figures = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in sys.argv[1:] or PARTS:
        figures[name] = PARTS[name]()
        print(name, json.dumps(figures[name], indent=1))
        kept = {part: figures[part] for part in PARTS if part in figures}
        keep("families", kept, "numpy", "torch")
    print(path)


if __name__ == "__main__":
    main()
