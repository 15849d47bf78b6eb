"""Throw mutated logs at every reader: a result or one clean error, nothing else, ever.

    python benchmarks/fuzz_readers.py [--inputs 100000] [--workers 2] [--seed 0]
                                      [--format NAME]... [--log FILE]

Each input is a small log of some format, mutated, and read with its format named or looked for.
Found are: an error that is not ours, a crash, a read of over ten seconds, memory that grows by over
a gibibyte, a store that is not what it was after an import that failed. The inputs that did it are
kept in a folder, which is printed. Exit 1 when there are any.

Every result goes to the log as it comes. The same command goes on where it was interrupted, and
tries again what was found; another count or format adds to it. The figures are of the whole log.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from fuzz_processes import ALLOWED, HANG_SECONDS, Inputs, Job, Result, watch, write
from fuzz_seeds import Seed, all_seeds
from machine import keep

LIBRARIES = (
    "numpy", "pandas", "xarray", "zarr", "netCDF4", "pyarrow", "aim", "wandb", "trackio",
    "mlflow-skinny",
)  # fmt: skip
SHARES = {
    "aim": 0.01, "netcdf": 0.01, "store": 0.01, "zarr": 0.015, "mlflow": 0.025, "trackio": 0.025,
    "neptune": 0.025, "parquet": 0.03,
}  # fmt: skip
CACHE = Path(tempfile.gettempdir()) / "workbench-fuzz-seeds"


def planned(formats: Iterable[str], count: int) -> list[Job]:
    """Return about `count` jobs: the slow formats' own shares, the rest shared by the others."""
    names = sorted(set(formats))
    counts = {name: int(SHARES[name] * count) for name in names if name in SHARES}
    quick = [name for name in names if name not in counts]
    counts |= dict.fromkeys(quick, -(-(count - sum(counts.values())) // max(1, len(quick))))
    if not quick:
        counts = dict.fromkeys(names, count // len(names))
    # One of each format by turns, as long as they last, so that a part of the jobs is a fair one.
    order = [(index / counts[name], name, index) for name in names for index in range(counts[name])]
    return [(name, index) for _, name, index in sorted(order)]


def logged(path: Path, seed: int) -> tuple[list[Result], Counter[str]]:
    """Return the last result of each input of a seed number, and what was found and tried again."""
    results: dict[Job, Result] = {}
    again: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:  # torn
            continue
        if row.pop("seed") == seed:
            result = Result(**row)
            job = result.format, result.index
            if job in results and results[job].outcome not in ALLOWED:
                again[f"{result.format}: {results[job].outcome}"] += 1
            results[job] = result
    return list(results.values()), again


def fuzz(inputs: Inputs, jobs: list[Job], *, workers: int, log: Path) -> None:
    """Do the jobs, adding a line to the log for each."""
    lock = threading.Lock()
    with log.open("a", encoding="utf-8") as file, ThreadPool(workers) as pool:

        def add(result: Result) -> None:
            with lock:
                file.write(json.dumps({"seed": inputs.number, **asdict(result)}) + "\n")
                file.flush()

        pool.map(lambda worker: watch(inputs, jobs[worker::workers], add), range(workers))


def figures(results: list[Result], seed: int) -> dict[str, Any]:
    """Return counts by format and outcome, the most memory and the longest reading."""
    table: dict[str, Counter[str]] = {}
    for result in results:
        word = result.outcome if result.outcome in ALLOWED else "found"
        table.setdefault(result.format, Counter())[word] += 1
    longest = max(results, key=lambda result: result.seconds)
    largest = max(results, key=lambda result: result.grown)
    return {
        "inputs": len(results),
        "seed": seed,
        "found": sum(result.outcome not in ALLOWED for result in results),
        "longest_seconds": {"seconds": longest.seconds, "format": longest.format},
        "most_memory_growth_mib": {"mib": largest.grown >> 20, "format": largest.format},
        "limits": {"seconds": HANG_SECONDS, "mib": 1024},
        "outcomes": {
            name: {
                "inputs": sum(table[name].values()),
                **dict(sorted(table[name].items())),
                "longest_seconds": max(r.seconds for r in results if r.format == name),
                "median_seconds": _median([r.seconds for r in results if r.format == name]),
            }
            for name in sorted(table)
        },
    }


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def keep_inputs(bad: list[Result], inputs: Inputs) -> Path:
    """Write the inputs that did what is not allowed, one folder each."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-found-"))
    for result in bad[:100]:
        files, _ = inputs.make((result.format, result.index))
        write(files, folder / f"{result.format}-{result.index}")
    return folder


def seeds_apart(cache: Path) -> list[Seed]:
    """Return all seeds, made in a process of their own: threads of libraries do not fork well."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(all_seeds, (cache,))


def main() -> int:
    """Fuzz, print a summary, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", action="append", default=[])
    parser.add_argument("--log", type=Path, help="add to these results; without it, a new log")
    parser.add_argument("--seeds", type=Path, default=CACHE, help="folder of clients' files")
    parser.add_argument("--dry", action="store_true", help="keep no figures")
    options = parser.parse_args()
    log = options.log or Path(tempfile.mkdtemp(prefix="fuzz-log-")) / "results.jsonl"
    seeds = seeds_apart(options.seeds)
    inputs = Inputs(seeds, options.seed)
    formats = options.format or [seed.format for seed in seeds]
    earlier, _ = logged(log, options.seed)
    done = {(result.format, result.index) for result in earlier if result.outcome in ALLOWED}
    jobs = [job for job in planned(formats, options.inputs) if job not in done]
    fuzz(inputs, jobs, workers=options.workers, log=log)
    results, again = logged(log, options.seed)
    summary = figures(results, options.seed) | {"found_and_tried_again": dict(again)}
    print(json.dumps(summary, indent=1))
    bad = [result for result in results if result.outcome not in ALLOWED]
    if bad:
        for result in bad[:60]:
            print(f"{result.format} {result.index}: {result.outcome}")
        print(f"kept in {keep_inputs(bad, inputs)}")
    elif not options.dry:
        print(keep("fuzz_readers", summary, *LIBRARIES))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
