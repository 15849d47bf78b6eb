"""The store against the obvious layout, one Zarr group a run, in the same run on the same data.

python benchmarks/store.py [RUNS]

Appending: ten points at a time, as a training loop does. Opening: run coordinates of all runs, then
all their records. Times wander on a busy machine; the ratios are the result.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from machine import keep

from workbench.schema import iter_runs, make_runs
from workbench.store import Recorder, open_store

APPENDS = 400
POINTS = 10


def sweep(count: int) -> xr.Dataset:
    """Return runs of 1,000 to 10,000 records, log-uniform, with two columns."""
    rng = np.random.default_rng(0)
    sizes = (10 ** rng.uniform(3, 4, count)).astype(int)
    total = int(sizes.sum())
    return make_runs(
        {
            "run_id": [f"run-{i}" for i in range(count)],
            "model_size": rng.choice([1e6, 2e6, 4e6, 8e6], count),
            "tau": rng.choice([0.05, 0.1, 0.2, 0.4, 0.8], count),
            "tpp": np.full(count, 20.0),
            "schedule": rng.choice(["cosine", "linear", "wsd"], count),
            "total_steps": sizes.astype(float),
        },
        {
            "step": np.concatenate([np.arange(size) for size in sizes]),
            "train_loss": 3 + 0.1 * rng.standard_normal(total).astype(np.float32),
            "learning_rate": np.full(total, 1e-3),
        },
        row_size=sizes,
    )


def seconds(work: Callable[[], object], *, repeats: int = 3) -> float:
    """Return the median time of `work`."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def each(work: Callable[[int], object], count: int) -> dict[str, float]:
    """Return median and 99th percentile of the time of `work`, in milliseconds."""
    times = np.array([seconds(lambda i=i: work(i), repeats=1) for i in range(count)])
    return {
        "median_ms": 1e3 * float(np.median(times)),
        "p99_ms": 1e3 * float(np.quantile(times, 0.99)),
    }


def appending(folder: Path) -> dict[str, object]:
    """Measure appends of the store, of the recorder and of a growing Zarr array."""
    store = open_store(folder / "append", create=True)
    writer = store.start_run("writer", family="benchmark")
    ones = np.ones(POINTS)

    def to_store(i: int) -> None:
        writer.append(step=POINTS * i + np.arange(POINTS), train_loss=ones, learning_rate=ones)

    group = zarr.open_group(folder / "append.zarr", mode="w")
    columns = {
        name: group.create_array(name, shape=(0,), chunks=(4096,), dtype="f8")
        for name in ("step", "train_loss", "learning_rate")
    }

    def to_zarr(i: int) -> None:
        for array in columns.values():
            array.append(ones)

    ours, theirs = each(to_store, APPENDS), each(to_zarr, APPENDS)
    with Recorder(store, family="benchmark") as recorder:
        log = each(lambda i: recorder.log(i, train_loss=1.0, tokens=i), 20 * APPENDS)
    return {
        "points_per_append": POINTS,
        "store_append": ours,
        "zarr_append": theirs,
        "zarr_over_store": theirs["median_ms"] / ours["median_ms"],
        "recorder_log": log,
        "revision": each(lambda _: store.revision(), APPENDS),
    }


def opening(folder: Path, count: int) -> dict[str, object]:
    """Measure opening and loading `count` runs from the store and from a group per run."""
    runs = sweep(count)
    store = open_store(folder / "open", create=True)
    writing = {"store": seconds(lambda: store.add_runs(runs), repeats=1)}
    groups = folder / "groups.zarr"

    def write_groups() -> None:
        tree = {name: run.drop_vars("row_size") for name, run in iter_runs(runs)}
        for name, run in tree.items():
            attrs = {str(n): run[n].item() for n in run.coords}
            plain = run.drop_vars([*run.coords]).assign_attrs(attrs)
            plain.to_zarr(groups, group=name, mode="a", consolidated=False, zarr_format=3)

    writing["groups"] = seconds(write_groups, repeats=1)

    def open_groups() -> xr.DataTree:
        return xr.open_datatree(groups, engine="zarr", chunks=None, consolidated=False)

    def load_groups() -> float:
        tree = open_groups()
        return sum(float(node["train_loss"].sum()) for node in tree.children.values())

    ours = {
        "table": seconds(lambda: open_store(store.root).table()),
        "select": seconds(lambda: store.runs(where=["tau=0.2", "schedule=wsd"])),
        "all": seconds(lambda: float(open_store(store.root).runs()["train_loss"].sum())),
    }
    theirs = {"open": seconds(open_groups, repeats=1), "all": seconds(load_groups, repeats=1)}
    return {
        "runs": count,
        "records": runs.sizes["obs"],
        "write_s": writing,
        "store_s": ours,
        "groups_s": theirs,
        "open_groups_over_store": theirs["open"] / ours["table"],
        "load_groups_over_store": theirs["all"] / ours["all"],
        "write_groups_over_store": writing["groups"] / writing["store"],
        "files": {
            "store": sum(1 for p in store.root.rglob("*") if p.is_file()),
            "groups": sum(1 for p in groups.rglob("*") if p.is_file()),
        },
    }


def main() -> None:
    """Measure, print the ratios and keep the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as folder:
        appended = appending(Path(folder))
        opened = opening(Path(folder), count)
    print(f"append of {POINTS} points: Zarr / store = {appended['zarr_over_store']:.1f}")
    print(f"opening {count} runs: groups / store = {opened['open_groups_over_store']:.0f}")
    print(f"loading {count} runs: groups / store = {opened['load_groups_over_store']:.0f}")
    print(f"writing {count} runs: groups / store = {opened['write_groups_over_store']:.0f}")
    path = keep("store", {"append": appended, "open": opened}, "xarray", "zarr", "sqlalchemy")
    print(f"figures: {path.name}")


if __name__ == "__main__":
    main()
