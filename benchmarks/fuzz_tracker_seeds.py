"""Seeds in the formats of trackers and tables, written by their own clients and kept.

What a client writes holds times and random names, so inputs are the same again only from the same
folder of seeds.
"""

from __future__ import annotations

import pickle
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import fuzz_paths  # noqa: F401

from tests.io.readers import (
    test_mlflow,
    test_mutations,
    test_neptune,
    test_pickles,
    test_trackio,
    test_wandb_offline,
)
from tests.io.readers.clients import run_client

POINTS = 12
_PAGE = 512
_MLFLOW = {"experiments", "runs", "params", "tags", "metrics", "alembic_version"}
AIM = """
import os, sys
import aim

repo = aim.Repo.from_path(sys.argv[1], init=True)

def start():
    return aim.Run(repo=repo, experiment="sweep", system_tracking_interval=None,
                   capture_terminal_logs=False)

run = start()
run.name = "base"
run["hparams"] = {"lr": 1e-3, "model": {"n_layer": 4}, "betas": [0.9, 0.95]}
for i in range(20):
    run.track(4 - i / 20, name="loss", step=i, epoch=i // 10, context={"subset": "train"})
run.track(float("nan"), name="loss", step=3, context={"subset": "val"})
run.track(aim.Text("hello"), name="words", step=3)
run.close()
killed = start()
for i in range(5):
    killed.track(3.0 - i, name="loss", step=i)
print(killed.hash, flush=True)
os._exit(0)
"""
WANDB = """
import numpy as np
for attempt in (0, 1):
    run = start(id="abc", config={"lr": 3e-4, "model": {"n_layer": 4}}, resume="allow")
    for i in range(8 * attempt, 8 * attempt + 10):
        row = {"train/loss": 9.0 - i, "nested": {"deep": 2.0 * i}, "trainer/global_step": 5 * i}
        if i == 3: row |= {"weights": wandb.Histogram(np.arange(9.0)), "val/loss": float("nan")}
        run.log(row)
    run.summary["parameters"] = 12345
    run.finish()
"""


def compacted(path: Path, tables: set[str] | None = None) -> None:
    """Make a database small: short pages, no free ones, only some tables, no log of writes."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA foreign_keys = OFF")
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in found:
            if tables is not None and name not in tables and not name.startswith("sqlite_"):
                connection.execute(f'DROP TABLE "{name}"')
        connection.commit()
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute("VACUUM")


def mlflow_files(folder: Path) -> None:
    """Write MLflow's store of files."""
    _mlflow(f"file:{folder}/mlruns", folder)


def mlflow_sqlite(folder: Path) -> None:
    """Write MLflow's database."""
    _mlflow(f"sqlite:///{folder}/mlflow.db", folder)
    compacted(folder / "mlflow.db", _MLFLOW)


def _mlflow(uri: str, folder: Path) -> None:
    run_client(
        test_mlflow.WRITE,
        uri,
        POINTS,
        needs=("mlflow", "alembic", "sqlalchemy"),
        MLFLOW_ALLOW_FILE_STORE="true",
        MLFLOW_TRACKING_DIR=str(folder),
    )


def trackio_projects(folder: Path) -> None:
    """Write Trackio's folder of projects with their snapshots."""
    run_client(
        test_trackio.WRITE,
        POINTS,
        folder / "page",
        needs=("trackio", "pyarrow"),
        TRACKIO_DIR=str(folder / "projects"),
    )
    for path in (folder / "projects").glob("*.db"):
        compacted(path)


def aim_repository(folder: Path) -> None:
    """Write an Aim repository of two runs, one of them killed."""
    run_client(AIM, folder, needs=("aim",), HOME=str(folder.parent))
    for path in list((folder / ".aim").rglob("*")):
        if path.name in ("LOG", "LOCK") and path.is_file():
            path.unlink()


def wandb_files(folder: Path) -> None:
    """Write two attempts of a run, and one with values of every type."""
    test_wandb_offline.client(folder / "made", WANDB)
    for path in (folder / "made").glob("wandb/offline-run-*/*.wandb"):
        (folder / "attempts" / path.parent.name).mkdir(parents=True)
        shutil.copy(path, folder / "attempts" / path.parent.name)
    shutil.rmtree(folder / "made")
    content = test_wandb_offline.wandb_file(*test_wandb_offline.sample())
    (folder / "typed.wandb").write_bytes(content)


def parquet_files(folder: Path) -> None:
    """Write a table of runs and an export of the workbench."""
    table, export = test_mutations.tabular(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "table.parquet").write_bytes(table)
    (folder / "export.parquet").write_bytes(export)


def neptune_export(folder: Path) -> None:
    """Write an export of a run in two parts, as Neptune Exporter does."""
    test_neptune.write(folder / "team_llm" / "RUN-1_part_0.parquet", test_neptune.PARAMETERS)
    test_neptune.write(folder / "team_llm" / "RUN-1_part_1.parquet", test_neptune.SERIES)
    rows = test_neptune.PARAMETERS + test_neptune.SERIES
    test_neptune.write(folder / "RUN-2_part_0.parquet", rows, run="RUN-2")


def pickled_tables(folder: Path) -> None:
    """Write tables of runs in several protocols of pickle."""
    for protocol in (2, 4, 5):
        rows = [test_pickles.history(0), test_pickles.history(1, 3, "f4")]
        content = pickle.dumps(test_pickles.table(rows), protocol=protocol)
        (folder / f"p{protocol}.pkl").write_bytes(content)


# Format, maker and, of what it writes, the folders and files that are an input each.
MAKERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "mlflow": (mlflow_sqlite, ("mlflow.db",)),
    "mlflow files": (mlflow_files, ("mlruns",)),
    "trackio": (
        trackio_projects,
        ("projects", "projects/*one.db", "projects/*one.parquet", "page"),
    ),
    "aim": (aim_repository, (".aim",)),
    "wandb": (wandb_files, ("attempts", "typed.wandb")),
    "parquet": (parquet_files, ("table.parquet", "export.parquet")),
    "neptune": (neptune_export, ("team_llm", "RUN-2_part_0.parquet")),
    "supercollapse": (pickled_tables, ("*.pkl",)),
}


def written_seeds(cache: Path) -> list[tuple[str, Path]]:
    """Return (format, path) of every seed, writing those that `cache` does not hold yet."""
    found = []
    for name, (make, patterns) in MAKERS.items():
        own = cache / name.replace(" ", "-")
        if not own.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as made:
                make(Path(made))
                shutil.copytree(made, own)
        for pattern in patterns:
            found += [(name.partition(" ")[0], path) for path in sorted(own.glob(pattern))]
    return found
