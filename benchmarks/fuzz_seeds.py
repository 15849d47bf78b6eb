"""Small, sound logs of every format, to be mutated: made here, or cut from real samples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fuzz_tracker_seeds import written_seeds

from workbench.schema import make_runs
from workbench.store import open_store

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "logs"
LONGEST = 12_000


@dataclass(frozen=True)
class Seed:
    """One log: its format and its files by relative path."""

    format: str
    files: dict[str, bytes]


def all_seeds(cache: Path) -> list[Seed]:
    """Return the seeds of every format; `cache` keeps those that clients write."""
    made = [seed for make in MAKERS for seed in make()]
    return made + [
        folder_seed(format, path) if path.is_dir() else Seed(format, {path.name: path.read_bytes()})
        for format, path in written_seeds(cache)
    ]


def folder_seed(format: str, folder: Path) -> Seed:
    """Return a folder as a seed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Seed(format, {path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


def own_formats() -> list[Seed]:
    """Return NetCDF, Zarr, a store and its CSV export of two small runs."""
    runs = make_runs(
        {"run_id": ["a", "b"], "model_size": [1e6, 2e6], "total_steps": [9, 9], "note": ["é", ""]},
        {
            "step": np.tile(np.arange(10), 2),
            "train_loss": np.linspace(3, 2, 20),
            "learning_rate": np.full(20, 1e-3),
        },
        row_size=[10, 10],
    )
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        store = open_store(root / "store", create=True)
        store.add_runs(runs, family="f")
        writer = store.start_run("live", family="f", attributes={"total_steps": 9})
        writer.append(step=[0, 1], train_loss=[3.0, 2.5])
        store.export(root / "out.nc")
        store.export(root / "out.zarr")
        store.export(root / "csv")
        store.close()
        return [
            Seed("netcdf", {"out.nc": (root / "out.nc").read_bytes()}),
            folder_seed("zarr", root / "out.zarr"),
            folder_seed("store", root / "store"),
            folder_seed("tidy", root / "csv"),
            Seed("csv", {"a.csv": b"step,lr,loss\n0,0.1,3\n1,0.1,nan\n2,0.05,2.5\n"}),
            Seed("tidy", {"t.csv": b'run_id;step;loss;seed\na;0;3;1\n"b";0;"2.5";2\na;1;2;1\n'}),
        ]


SAMPLE_FILES = {
    "build-nanogpt": "build_nanogpt_log",
    "hf-trainer": "hf_trainer_state",
    "lightning-csv": "lightning_csv",
    "llmc": "llmc_main_log",
    "megatron": "megatron_deepspeed_out",
    "mlperf": "mlperf_mllog",
    "modded-nanogpt": "modded_nanogpt_txt",
    "tensorboard": "tensorboard_simple_value_generated",
    "wandb-csv": "wandb_export_csv",
    "wandb-json": "wandb_api_history_json",
}


def real_samples() -> list[Seed]:
    """Return the beginnings of real logs, cut at a line, when the samples are there."""
    found = []
    for format, folder in SAMPLE_FILES.items():
        for path in sorted((SAMPLES / folder).glob("*"))[:1]:
            whole = path.read_bytes()
            # JSON is whole or nothing; Megatron prints its arguments for a long while first.
            start = max(0, whole.find(b" iteration ")) if format == "megatron" else 0
            longest = None if format in ("hf-trainer", "wandb-json") else start + LONGEST
            head = whole[start:longest]
            text = b"\0" not in head and len(head) < len(whole)
            cut = head.rpartition(b"\n")[0] + b"\n" if text else head
            found.append(Seed(format, {path.name: cut}))
    return found


def written_logs() -> list[Seed]:
    """Return small logs of the formats without a sample, in the layout their programs print."""
    lines = {
        "nanogpt": "step 0: train loss 10.9, val loss 10.8\niter 0: loss 10.9, time 9.1ms\n",
        "nanochat": "step 00001/00020 (5.00%) | loss: 9.5 | lrm: 1.00 | dt: 9.10ms | tok/sec: 9\n",
        "torchtitan": "[rank0]:[titan] 2025-01-01 10:00:00,1 - root - INFO - step: 1  loss: 9.1\n",
        "jsonl": '{"lr": 0.1}\n{"step": 1, "loss": 3.0}\n{"step": 2, "loss": NaN, "a": {"b": 1}}\n',
    }
    return [Seed(format, {"run.log": (text * 4).encode()}) for format, text in lines.items()]


MAKERS: list[Callable[[], list[Seed]]] = [own_formats, real_samples, written_logs]
