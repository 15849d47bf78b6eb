"""TensorBoard event files: this reader against TensorBoard's own and tbparse, on the same files.

    python benchmarks/event_files.py [STEPS]      # writes benchmarks/results/event_files.json

The files are PyTorch's, of STEPS steps (100,000): one loss; ten tags; and, of a quarter of the
steps, three plain tags and one of TensorFlow 2's kind. Every reader must find every scalar.
EventAccumulator is told to keep every point. Two ratios to each: of the scalars as columns, which
is what the other readers give, and of the whole of `workbench.io.read`, which also hashes the file,
joins and maps columns and checks the run. They are taken with the compiled scanner loaded. What a
process pays for that once is measured in fresh processes: compiling, where no process of this
machine has done it before, and loading what was kept. Rates wander on a busy machine; the ratios of
one run are the result, and the readers take turns. Times are of the processor, not of the clock.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import keep

from workbench.io import read
from workbench.io.event_files import read_events
from workbench.schema import record_names

ROUNDS = 3
OTHERS, OURS = ("accumulator", "tbparse"), ("scanned", "whole", "interpreted")
LOSS, TENSOR = "train/loss", "eval/loss"
FEW = (LOSS, "lr", "grad_norm")
TEN = (*FEW, TENSOR, *(f"norms/layer_{i}" for i in range(6)))


def write(folder: Path, steps: int, plain: Sequence[str], tensors: Sequence[str] = ()) -> Path:
    """Write an event file with PyTorch and return its path."""
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(0)
    with SummaryWriter(str(folder)) as writer:
        for step in range(steps):
            for tag in plain:
                writer.add_scalar(tag, rng.normal(), step)
            for tag in tensors:
                writer.add_scalar(tag, rng.normal(), step, new_style=True)
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
    names = [name for name in record_names(runs) if name not in ("step", "wall_time")]
    return sum(int(np.isfinite(runs[name].to_numpy()).sum()) for name in names)


READERS = (accumulator, tbparse, interpreted, scanned, whole)


def seconds(work: Callable[[Path], int], path: Path, expected: int) -> float:
    """Return the time one call takes; all scalars must be found."""
    gc.collect()
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


def compare(path: Path, count: int) -> dict[str, Any]:
    """Let the readers read a file in turns, and return their times and the ratios of these."""
    times: dict[str, list[float]] = {reader.__name__: [] for reader in READERS}
    for _ in range(ROUNDS):
        for reader in READERS:
            times[reader.__name__].append(seconds(reader, path, count))
    typical = {name: statistics.median(taken) for name, taken in times.items()}
    ratios = {f"{o}_over_{n}": typical[o] / typical[n] for o in OTHERS for n in OURS}
    for name, value in ratios.items():
        print(f"  {name}: {value:.1f}")
    return {
        "scalars": count,
        "bytes": path.stat().st_size,
        "scalars_per_second": {name: round(count / taken) for name, taken in typical.items()},
        "seconds": typical,
        "seconds_of_each_round": times,
        "ratios": ratios,
    }


def main() -> None:
    """Measure, print the ratios and keep the figures."""
    warnings.simplefilter("ignore")
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = {
            "one_tag": (write(root / "one", steps, [LOSS]), steps),
            "ten_tags": (write(root / "ten", steps, TEN), steps * len(TEN)),
            "with_tensors": (write(root / "both", steps // 4, FEW, [TENSOR]), steps // 4 * 4),
        }
        first = files["one_tag"][0]
        figures["first_call_s"] = {
            "compiling": first_call(first, root / "kept"),
            "loading_what_was_kept": first_call(first, root / "kept"),
        }
        whole(first)
        for name, (path, count) in files.items():
            print(f"{name}: {count} scalars")
            figures[name] = compare(path, count)
    libraries = ("numba", "numpy", "tensorboard", "tbparse", "torch", "google-crc32c")
    print(f"figures: {keep('event_files', figures, *libraries).name}")


if __name__ == "__main__":
    main()
