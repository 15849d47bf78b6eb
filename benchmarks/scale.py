"""Twenty thousand runs of about 4,000 records: every step of their life, each in its own process.

python benchmarks/scale.py [--runs 20000] [--groups 500] [--dtype f8|f4] [--folder DIR]

Run lengths are log-uniform from 1,000 to 10,000 records of step (i8), train_loss and learning_rate.
A step's time starts after its imports and input are there; `cpu_s` is the processor time of the
process, which other work on the machine hardly changes; `peak_over_raw` is the largest resident
memory of the whole process, interpreter and libraries included, over the bytes of the records.
Ratios are to one Zarr group a run, written for fewer runs and scaled up in proportion, and to a
loop of `numpy.interp` over runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from machine import keep

from workbench.curves import kernels
from workbench.curves.kernels_ragged import resample_ragged
from workbench.curves.resample import COMPLETE
from workbench.io import import_sources
from workbench.schema import iter_runs, make_runs, row_bounds, take_runs
from workbench.store import open_store

COLUMNS = ("step", "train_loss", "learning_rate")
POINTS = 256
SELECTION = ["tau=0.2", "schedule=wsd"]
TARGETS = {
    "consolidate": {"s": 30},
    "add": {"s": 30},
    "open": {"s": 0.1},
    "load": {"s": 6},
    "cube": {"s": 2},
}
Step = Callable[[Path, dict[str, Any]], dict[str, Any]]
STEPS: dict[str, Step] = {}


def step(work: Step) -> Step:
    """Register one step; the driver runs it in a process of its own."""
    STEPS[work.__name__] = work
    return work


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return the result of `work`, its wall time and the processor time it took."""
    cpu, start = time.process_time(), time.perf_counter()
    result = work()
    spent = time.perf_counter() - start
    return result, {"s": round(spent, 4), "cpu_s": round(time.process_time() - cpu, 4)}


def runs_of(folder: Path) -> xr.Dataset:
    """Return the generated runs in memory, without a copy of their records."""
    columns = {name: np.load(folder / f"{name}.npy") for name in (*COLUMNS, "row_size", "cell")}
    cell, count = columns.pop("cell"), len(columns["row_size"])
    sizes, row_size = np.geomspace(1e6, 64e6, 7), columns.pop("row_size")
    schedules = np.array(["constant", "cooldown", "cosine", "linear", "two-stage", "wsd"])
    coords = {
        "run_id": [f"run-{i:05d}" for i in range(count)],
        "model_size": sizes[cell % 7],
        "tau": np.array([0.05, 0.1, 0.2, 0.4, 0.8])[cell // 7 % 5],
        "tpp": np.array([10.0, 20.0, 40.0, 80.0])[cell // 35 % 4],
        "schedule": schedules[cell // 140],
        "seed": np.arange(count) // 294,
        "peak_lr": np.full(count, 1e-3),
        "total_steps": row_size,
    }
    return make_runs(coords, columns, row_size=row_size)


@step
def generate(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write the records as plain arrays: 294 of 840 settings, the rest of the runs are seeds."""
    rng = np.random.default_rng(0)
    count = options["runs"]
    row_size = (10 ** rng.uniform(3, 4, count)).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(row_size)])
    total = int(bounds[-1])
    cells = rng.permutation(840)[:294]
    np.save(folder / "cell.npy", np.resize(cells, count))
    np.save(folder / "row_size.npy", row_size)
    number = np.arange(1, total + 1) - np.repeat(bounds[:-1], row_size)
    np.save(folder / "step.npy", number)
    x = number / np.repeat(row_size, row_size)
    loss = 1.7 + x**-0.3 + 0.02 * rng.standard_normal(total)
    np.save(folder / "train_loss.npy", loss.astype(options["dtype"]))
    np.save(folder / "learning_rate.npy", (1e-3 * (1 - 0.9 * x)).astype(options["dtype"]))
    each = 8 + 2 * np.dtype(options["dtype"]).itemsize
    return {"records": total, "raw_mb": total * each / 1e6}


@step
def add(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Add the runs, which are in memory, to an empty store."""
    runs, store = runs_of(folder), open_store(folder / "added", create=True)
    return measured(lambda: store.add_runs(runs))[1]


@step
def add_one(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Add one more run to the full store: a new generation of all of them."""
    one = take_runs(runs_of(folder), [0])
    one = one.assign_coords(run_id=("run", ["one-more"]), seed=("run", [-1.0]))
    store = open_store(folder / "added")
    return measured(lambda: store.add_runs(one))[1]


@step
def record(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Record every run live, in one append, and end it."""
    runs, store = runs_of(folder), open_store(folder / "recorded", create=True)
    bounds = row_bounds(runs).tolist()
    columns = {name: runs[name].to_numpy() for name in COLUMNS}
    heads = {str(name): runs[name].to_numpy().tolist() for name in runs.coords}

    def work() -> None:
        for i, name in enumerate(heads["run_id"]):
            attributes = {key: values[i] for key, values in heads.items() if key != "run_id"}
            writer = store.start_run(name, family="scale", attributes=attributes)
            writer.append(**{key: v[bounds[i] : bounds[i + 1]] for key, v in columns.items()})
            writer.finish()

    return measured(work)[1]


@step
def consolidate(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Move the points of the recorded runs into consolidated curves."""
    store = open_store(folder / "recorded")
    moved, taken = measured(store.consolidate)
    return {**taken, "moved": moved}


@step
def open(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Open the store in chunks: every run coordinate in memory, no record."""
    first = measured(lambda: open_store(folder / "added").runs(chunks="auto"))[1]
    again = [measured(lambda: open_store(folder / "added").runs(chunks="auto"))[1] for _ in "abcde"]
    return {**min(again, key=lambda taken: taken["s"]), "first_s": first["s"]}


@step
def table(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Read the table of runs."""
    return measured(open_store(folder / "added").table)[1]


@step
def runs_verb(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Run ``workbench runs`` for one setting, as JSON and as text, and for all runs as JSON."""
    from workbench.cli import main

    def call(*arguments: str) -> float:
        sys.argv = ["workbench", "runs", "--store", str(folder / "added"), *arguments]
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main()
        return round(time.perf_counter() - start, 4)

    where = [item for text in SELECTION for item in ("--where", text)]
    return {"selection_as_text_s": call(*where), "s": call("--json")}


@step
def select(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Read the runs of one τ and one schedule, with their records."""
    store = open_store(folder / "added")
    runs, taken = measured(lambda: store.runs(where=SELECTION))
    return {**taken, "runs": runs.sizes["run"]}


@step
def load(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Read every record."""
    store = open_store(folder / "added")
    return measured(lambda: store.runs())[1]


@step
def cube(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Bring the runs, which are in memory, to a cube of 256 points; loading Numba included."""
    from workbench import to_cube

    runs = open_store(folder / "added").runs()
    _, first = measured(lambda: to_cube(runs, points=POINTS))
    _, again = measured(lambda: to_cube(runs, points=POINTS))
    return {**first, "again_s": again["s"]}


@step
def cube_in_chunks(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Open in chunks and compute the cube on threads: records are read block by block."""
    from workbench import to_cube

    runs = open_store(folder / "added").runs(chunks="auto")
    return measured(lambda: to_cube(runs, points=POINTS).load(scheduler="threads"))[1]


@step
def resample(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Compare the compiled kernels with the loop, on the same arrays in the same process."""
    runs = runs_of(folder)
    arguments = (
        runs["step"].to_numpy(),
        runs["train_loss"].to_numpy(),
        row_bounds(runs),
        runs["total_steps"].to_numpy(),
        kernels.progress_grid(POINTS),
    )
    out: dict[str, Any] = {}
    for method in ("linear", "mean"):
        seconds, curves = {}, {}
        for engine in ("loop", "compiled", "loop", "compiled"):
            curves[engine], taken = measured(
                lambda engine=engine, method=method: resample_ragged(
                    *arguments, method=method, hold_from=COMPLETE, rising=True, engine=engine
                )
            )
            seconds.setdefault(engine, []).append(taken["s"])
        best = {engine: min(times) for engine, times in seconds.items()}
        out[method] = {
            **{f"{engine}_s": best[engine] for engine in best},
            "first_compiled_s": seconds["compiled"][0],
            "loop_over_compiled": best["loop"] / best["compiled"],
            "curves_per_second": runs.sizes["run"] / best["compiled"],
            "same_bits": bool(np.array_equal(curves["loop"], curves["compiled"], equal_nan=True)),
        }
    return out


@step
def long_runs(_: Path, __: dict[str, Any]) -> dict[str, Any]:
    """Compare the kernels on 40 runs of a million records."""
    records, count = 1_000_000, 40
    step_, loss = np.tile(np.arange(1, records + 1), count), np.linspace(3, 2, records * count)
    bounds, total = np.arange(count + 1) * records, np.full(count, float(records))
    grid, out = kernels.progress_grid(POINTS), {}
    for engine in ("loop", "compiled", "compiled"):
        _, taken = measured(
            lambda engine=engine: resample_ragged(
                step_, loss, bounds, total, grid, method="linear", rising=True, engine=engine
            )
        )
        out[f"{engine}_s"] = taken["s"]
    return {**out, "loop_over_compiled": out["loop_s"] / out["compiled_s"]}


@step
def explorer(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Make the state of the dashboard's first page from runs in memory."""
    from workbench.views.explorer_model import ExplorerModel

    runs = open_store(folder / "added").runs()
    return measured(lambda: ExplorerModel(runs))[1]


def _export(folder: Path, name: str) -> dict[str, Any]:
    store = open_store(folder / "added")
    _, taken = measured(lambda: store.export(folder / name))
    files = [folder / name, *(folder / name).rglob("*")]
    return {**taken, "mb": sum(p.stat().st_size for p in files if p.is_file()) / 1e6}


@step
def export_netcdf(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Export every record to NetCDF."""
    return _export(folder, "out.nc")


@step
def export_zarr(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Export every record to Zarr."""
    return _export(folder, "out.zarr")


@step
def export_parquet(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Export every record to Parquet, run coordinates repeated."""
    return _export(folder, "out.parquet")


@step
def export_csv(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Export every record to CSV."""
    return _export(folder, "out")


@step
def import_zarr(folder: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Import the exported Zarr group into a new store."""
    return measured(lambda: import_sources(folder / "imported", [folder / "out.zarr"]))[1]


@step
def groups(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write, open and load one Zarr group a run, for some of the runs."""
    count = options["groups"]
    runs, target = take_runs(runs_of(folder), np.arange(count)), folder / "groups.zarr"

    def write() -> None:
        for name, run in iter_runs(runs):
            attrs = {str(n): run[n].item() for n in run.coords}
            plain = run.drop_vars(["row_size", *run.coords]).assign_attrs(attrs)
            plain.to_zarr(target, group=name, mode="a", consolidated=False, zarr_format=3)

    def open_() -> xr.DataTree:
        return xr.open_datatree(target, engine="zarr", chunks=None, consolidated=False)

    written, (tree, opened) = measured(write)[1], measured(open_)
    _, loaded = measured(lambda: [node.to_dataset().load() for node in tree.children.values()])
    return {"runs": count, "write": written, "open": opened, "load": loaded}


def run_step(name: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Run one step in its own process and return its figures."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    for key, value in options.items():
        command += [f"--{key}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"step {name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(name, json.dumps(found), flush=True)
    return found


def ratios(found: dict[str, dict[str, Any]], runs: int) -> dict[str, float]:
    """Return what a group a run takes, scaled up from fewer runs, over what the store takes."""
    few = found["groups"]
    factor = runs / few["runs"]
    ours = {"write": found["add"], "open": found["open"], "load": found["load"]}
    return {
        f"{name}_groups_over_store": factor * few[name]["s"] / taken["s"]
        for name, taken in ours.items()
    }


def main() -> None:
    """Run every step, print its figures and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--dtype", choices=("f4", "f8"), default="f8")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=sorted(STEPS))
    given = parser.parse_args()
    options = {"runs": given.runs, "groups": given.groups, "dtype": given.dtype}
    if given.step:
        import dask.array  # noqa: F401  (xarray looks for it once a process)

        figures = STEPS[given.step](given.folder, options)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(json.dumps({**figures, "peak_mb": round(peak)}))
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    found: dict[str, dict[str, Any]] = {}
    try:
        for name in STEPS:
            found[name] = run_step(name, folder, options)
            if name != "generate":
                found[name]["peak_over_raw"] = found[name]["peak_mb"] / found["generate"]["raw_mb"]
    finally:
        if given.folder is None:
            shutil.rmtree(folder)
    figures = {**options, "steps": found, "extrapolated": ratios(found, given.runs)}
    figures["targets"] = TARGETS
    libraries = ("numpy", "xarray", "zarr", "numba", "dask", "sqlalchemy")
    print(keep("scale", figures, *libraries))


if __name__ == "__main__":
    main()
