"""What a call of `log` costs a training loop, beside TensorBoard's and W&B's, in the same run.

python benchmarks/recorder.py [STEPS]

Each logs a loss and a learning rate a step. They take turns in blocks, so that a busy moment
of the machine meets all of them; the ratios of the medians are the result. W&B logs offline.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import keep

from workbench.store import Recorder, open_store

STEPS = 20_000
BLOCK = 500

Log = Callable[[int, float, float], object]


def timed(log: Log, first: int, times: list[float]) -> None:
    """Log one block of steps, noting the time of each."""
    for step in range(first, first + BLOCK):
        start = time.perf_counter()
        log(step, 3.0 / (1 + step), 1e-3)
        times.append(time.perf_counter() - start)


def figures(times: list[float]) -> dict[str, float]:
    """Return median, mean and 99th percentile in microseconds."""
    given = 1e6 * np.array(times)
    return {
        "median_us": float(np.median(given)),
        "mean_us": float(given.mean()),
        "p99_us": float(np.quantile(given, 0.99)),
    }


def main() -> None:
    """Measure, check that nothing was lost, print the ratios and keep the figures."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    import wandb
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorder = Recorder(folder / "store", family="benchmark", run_id="run", rank=0)
        writer = SummaryWriter(str(folder / "tensorboard"))
        run = wandb.init(project="benchmark", dir=name, settings=wandb.Settings(console="off"))

        def to_tensorboard(step: int, loss: float, rate: float) -> None:
            writer.add_scalar("train_loss", loss, step)
            writer.add_scalar("learning_rate", rate, step)

        logs: dict[str, Log] = {
            "recorder": lambda s, loss, lr: recorder.log(s, train_loss=loss, learning_rate=lr),
            "tensorboard": to_tensorboard,
            "wandb_offline": lambda s, loss, lr: run.log(
                {"train_loss": loss, "learning_rate": lr}, step=s
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in logs}
        for first in range(0, steps, BLOCK):
            for name, log in logs.items():
                timed(log, first, times[name])
        recorder.close()
        writer.close()
        run.finish()
        kept = open_store(folder / "store").runs().sizes["obs"]
    result = {name: figures(own) for name, own in times.items()}
    ours = result["recorder"]["median_us"]
    ratios = {
        f"{n}_over_recorder": result[n]["median_us"] / ours for n in result if n != "recorder"
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.1f}")
    if kept != len(times["recorder"]):
        sys.exit(f"{len(times['recorder'])} points were logged, {kept} are in the store")
    content = {"steps": len(times["recorder"]), "values_a_step": 2, "log": result, **ratios}
    print(f"figures: {keep('recorder', content, 'tensorboard', 'wandb', 'torch').name}")


if __name__ == "__main__":
    main()
