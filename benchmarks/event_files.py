"""TensorBoard event files: this reader against TensorBoard's own and tbparse, on the same files.

    python benchmarks/event_files.py [STEPS]      # writes benchmarks/results/event_files.json

The file is PyTorch's: three plain scalars a step, and one of TensorFlow 2's kind. Every reader must
find every scalar. Two ratios for each: to the scalars as columns, which is what the other readers
give, and to the whole of `workbench.io.read`, which also hashes the file, joins and maps columns
and checks the run. They are taken with the compiled scanner loaded. What a process pays for that
once is measured in fresh processes: compiling, where no process of this machine has done it before,
and loading what was kept. Rates wander on a busy machine; the ratios of one run are the result, and
the readers take turns. Times are of the processor, not of the clock.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import keep

from workbench.io import read
from workbench.io.event_files import read_events

ROUNDS = 3
PLAIN = ("train/loss", "lr", "grad_norm")
TENSOR = "eval/loss"


def write(folder: Path, steps: int) -> Path:
    """Write an event file with PyTorch and return its path."""
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(0)
    with SummaryWriter(str(folder)) as writer:
        for step in range(steps):
            for tag in PLAIN:
                writer.add_scalar(tag, rng.normal(), step)
            writer.add_scalar(TENSOR, rng.normal(), step, new_style=True)
    (path,) = folder.iterdir()
    return path


def accumulator(path: Path) -> int:
    """Read with TensorBoard's EventAccumulator, every point kept; return the number of scalars."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    return sum(len(events.Scalars(tag)) for tag in tags["scalars"]) + sum(
        len(events.Tensors(tag)) for tag in tags["tensors"]
    )


def tbparse(path: Path) -> int:
    """Read with tbparse; return the number of scalars."""
    from tbparse import SummaryReader

    reader = SummaryReader(str(path))
    return len(reader.scalars) + len(reader.tensors)


def scanned(path: Path) -> int:
    """Read into columns; return the number of scalars."""
    return len(read_events(path, compiled=True))


def interpreted(path: Path) -> int:
    """Read into columns without numba; return the number of scalars."""
    return len(read_events(path, compiled=False))


def whole(path: Path) -> int:
    """Read into a run of the schema; return the number of scalars."""
    runs = read(path).runs
    columns = ("train_loss", "learning_rate", "grad_norm", "eval_loss")
    return sum(int(np.isfinite(runs[name].to_numpy()).sum()) for name in columns)


def seconds(work: Callable[[Path], int], path: Path, expected: int) -> float:
    """Return the time one call takes; all scalars must be found."""
    start = time.process_time()
    found = work(path)
    taken = time.process_time() - start
    if found != expected:
        msg = f"{work.__name__} found {found} of {expected} scalars"
        raise SystemExit(msg)
    return taken


def first_call(path: Path, kept: Path) -> float:
    """Return what the first call takes in a fresh process, imports of this package not counted."""
    code = (
        "import sys, time; from pathlib import Path; from workbench.io.event_files import "
        "read_events; start = time.process_time(); read_events(Path(sys.argv[1]), compiled=True); "
        "print(time.process_time() - start)"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(kept)}
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure, print the ratios and keep the figures."""
    warnings.simplefilter("ignore")
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 25_000
    count = steps * (len(PLAIN) + 1)
    readers = (accumulator, tbparse, interpreted, scanned, whole)
    times: dict[str, list[float]] = {reader.__name__: [] for reader in readers}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "run", steps)
        kept = Path(folder) / "kept"
        compiling, loading = first_call(path, kept), first_call(path, kept)
        scanned(path)
        for _ in range(ROUNDS):
            for reader in readers:
                times[reader.__name__].append(seconds(reader, path, count))
        size = path.stat().st_size
    typical = {name: statistics.median(taken) for name, taken in times.items()}
    ratios = {
        f"{other}_over_{ours}": typical[other] / typical[ours]
        for other in ("accumulator", "tbparse")
        for ours in ("scanned", "whole", "interpreted")
    }
    with_start = {
        "accumulator_over_first_call_that_compiles": typical["accumulator"] / compiling,
        "accumulator_over_first_call_that_loads": typical["accumulator"] / loading,
    }
    for name, value in (ratios | with_start).items():
        print(f"{name}: {value:.1f}")
    figures = {
        "scalars": count,
        "bytes": size,
        "scalars_per_second": {name: round(count / taken) for name, taken in typical.items()},
        "seconds": typical,
        "seconds_of_each_round": times,
        "first_call_s": {"compiling": compiling, "loading_what_was_kept": loading},
        "ratios": ratios,
        "ratios_with_start": with_start,
    }
    libraries = ("numba", "numpy", "tensorboard", "tbparse", "torch", "google-crc32c")
    print(f"figures: {keep('event_files', figures, *libraries).name}")


if __name__ == "__main__":
    main()
