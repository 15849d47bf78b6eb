"""Small, sound logs of every format, to be mutated: made here, or cut from real samples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.schema import make_runs
from workbench.store import open_store

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "logs"
LONGEST = 12_000


@dataclass(frozen=True)
class Seed:
    """One log: its format and its files by relative path."""

    format: str
    files: dict[str, bytes]


def all_seeds() -> list[Seed]:
    """Return the seeds of every format that can be made here."""
    return [seed for make in MAKERS for seed in make()]


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


MAKERS: list[Callable[[], list[Seed]]] = [own_formats]


def sample(format: str, name: str) -> list[Seed]:
    """Return the beginning of a real sample, cut at a line, when the samples are there."""
    path = SAMPLES / name
    if not path.is_file():
        return []
    head = path.read_bytes()[:LONGEST]
    cut = head.rpartition(b"\n")[0] + b"\n" if b"\0" not in head else head
    return [Seed(format, {Path(name).name: cut})]
