"""Thirty-two processes that append, and one that polls, on SQLite and on PostgreSQL.

python benchmarks/writers.py [SECONDS]

Each writer appends ten points, ten times a second, at moments of its own. The reader asks for the
revision every half second and reads all runs, as a dashboard does. In the end everything is read
back: every acknowledged point must be there once, and nothing else. The latencies are those of
`append`, as the training loop would feel them. `late_ms` is by how much an append began after its
time. A bystander that touches no store does half a millisecond of arithmetic a hundred times a
second (`bystander_ms`) and syncs a file of its own (`disk_sync_ms`): what cores and disk alone cost
at that time. A commit on PostgreSQL waits for the disk each time, one on SQLite once a second.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr  # noqa: F401  (imported here so that no child spends its time on it)
from machine import keep, postgres_server

from workbench.errors import WorkbenchError
from workbench.schema import iter_runs
from workbench.store import Address, Store, open_store

WRITERS, RATE, POINTS = 32, 10, 10
POLL_SECONDS = 0.5


def value(run: int, steps: np.ndarray) -> np.ndarray:
    """Return the loss that run `run` logs."""
    return run + 1 / (1 + steps)


def append(address: Address, run: int, start: float, seconds: float) -> dict[str, Any]:
    """Append at the given rate; return what was acknowledged and how long each call took [s]."""
    writer = open_store(address).start_run(f"r{run}", family="benchmark")
    took, late, failed = [], [], []
    for number in range(int(RATE * seconds)):
        due = start + (number + run / WRITERS) / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic()
        steps = POINTS * number + np.arange(POINTS)
        try:
            writer.append(step=steps, train_loss=value(run, steps), tokens=steps * 64.0)
        except WorkbenchError as error:
            failed.append(str(error))
            break
        took.append(time.monotonic() - began)
        late.append(began - due)
    return {"acknowledged": POINTS * len(took), "took": took, "late": late, "failed": failed}


def poll(address: Address, start: float, seconds: float) -> dict[str, Any]:
    """Poll as a dashboard does; return how long looks at the revision and reads took [s]."""
    store = open_store(address)
    looks, reads, failed, seen = [], [], [], -1
    while time.monotonic() < start + seconds:
        began = time.monotonic()
        try:
            revision = store.revision()
            looks.append(time.monotonic() - began)
            runs = store.runs()
        except WorkbenchError as error:
            failed.append(str(error))
            continue
        reads.append(time.monotonic() - began)
        if runs.sizes["obs"] < seen or runs.attrs["store_revision"] < revision:
            failed.append("a later read gave less than an earlier one")
        seen = runs.sizes["obs"]
        time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - began)))
    return {"looks": looks, "reads": reads, "failed": failed}


def stand_by(folder: Path, start: float, seconds: float) -> dict[str, Any]:
    """Do the same small work again and again, and sync a file of its own; return the times [s]."""
    took, syncs = [], []
    with (folder / "bystander").open("wb", buffering=0) as file:
        while time.monotonic() < start + seconds:
            began = time.monotonic()
            sum(range(20_000))
            took.append(time.monotonic() - began)
            if len(took) % 10 == 0:
                file.write(bytes(4096))
                began = time.monotonic()
                os.fsync(file.fileno())
                syncs.append(time.monotonic() - began)
            time.sleep(0.01)
    return {"took": took, "syncs": syncs, "failed": []}


def together(store: Store, seconds: float) -> list[dict[str, Any]]:
    """Run the writers, the reader and the bystander as processes; return their reports."""
    store.close()
    start = time.monotonic() + 3.0  # every process is there by then
    jobs: list[Any] = [
        lambda run=run: append(store.address, run, start, seconds) for run in range(WRITERS)
    ]
    jobs += [
        lambda: poll(store.address, start, seconds),
        lambda: stand_by(store.root, start, seconds),
    ]
    pipes = [_forked(job) for job in jobs]
    reports = []
    for pipe, child in pipes:
        with os.fdopen(pipe, "rb") as said:
            reports.append(json.loads(said.read()))
        os.waitpid(child, 0)
    return reports


def _forked(job: Any) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "wb") as said:
                said.write(json.dumps(job()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    return reading, child


def verify(store: Store, acknowledged: list[int]) -> dict[str, int]:
    """Read everything back and compare it with what was acknowledged."""
    lost = twice = wrong = 0
    held = {}
    for name, run in iter_runs(store.runs()):
        steps, number = run["step"].to_numpy(), int(name.removeprefix("r"))
        twice += len(steps) - len(np.unique(steps))
        wrong += int((run["train_loss"].to_numpy() != value(number, steps)).sum())
        held[number] = steps
    for number, count in enumerate(acknowledged):
        lost += len(np.setdiff1d(np.arange(count), held.get(number, np.empty(0))))
        wrong += max(0, len(held.get(number, ())) - count)
    return {"lost": lost, "twice": twice, "wrong": wrong, "problems": len(store.check())}


def measure(store: Store, seconds: float) -> dict[str, Any]:
    """Return latencies [ms], polls and what came back of one database."""
    load = os.getloadavg()[0]
    *writers, reader, bystander = together(store, seconds)
    acknowledged = [writer["acknowledged"] for writer in writers]
    took, late = (_milliseconds([t for w in writers for t in w[name]]) for name in ("took", "late"))
    return {
        "load_before": round(load, 2),
        "appends": sum(acknowledged) // POINTS,
        "asked_for": WRITERS * int(RATE * seconds),
        "points": sum(acknowledged),
        "append_ms": took,
        "late_ms": late,
        "bystander_ms": _milliseconds(bystander["took"]),
        "disk_sync_ms": _milliseconds(bystander["syncs"]),
        "polls": len(reader["reads"]),
        "revision_ms": _milliseconds(reader["looks"]),
        "read_all_ms": _milliseconds(reader["reads"]),
        "failed": [text for report in (*writers, reader) for text in report["failed"]],
        **verify(store, acknowledged),
    }


def _milliseconds(times: list[float]) -> dict[str, float]:
    values = 1e3 * np.array(times)
    shares = {"p50": 0.5, "p99": 0.99, "longest": 1.0}
    return {name: round(float(np.quantile(values, share)), 3) for name, share in shares.items()}


def said(name: str, found: dict[str, Any]) -> str:
    """Put the figures of one database in a line."""
    return (
        f"{name}: {found['appends']} of {found['asked_for']} appends, "
        f"p50 {found['append_ms']['p50']:.2f} ms, p99 {found['append_ms']['p99']:.1f} ms "
        f"(disk sync p50 {found['disk_sync_ms']['p50']:.1f}, p99 "
        f"{found['disk_sync_ms']['p99']:.1f} ms); "
        f"{found['polls']} polls, longest revision {found['revision_ms']['longest']:.1f} ms, "
        f"longest read of all {found['read_all_ms']['longest']:.0f} ms; {found['lost']} lost, "
        f"{found['twice']} twice, {found['wrong']} wrong, {len(found['failed'])} failed"
    )


def main() -> int:
    """Measure both databases, print the figures and keep them; 1 when a point is not as written."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        found["sqlite"] = measure(open_store(Path(folder) / "store", create=True), seconds)
        print(said("SQLite", found["sqlite"]))
        with postgres_server(fsync="on", full_page_writes="on") as server:
            if server is None:
                print("PostgreSQL: no server on this machine, see tests/postgres.py")
            else:
                url = f"{server.url(server.make_database())}?curves={Path(folder) / 'curves'}"
                found["postgresql"] = measure(open_store(url, create=True), seconds)
                print(said("PostgreSQL", found["postgresql"]))
    settings = {"writers": WRITERS, "appends_a_second": RATE, "points_an_append": POINTS}
    path = keep("writers", {**settings, "seconds": seconds, **found}, "sqlalchemy")
    print(f"figures: {path.name}")
    names = ("lost", "twice", "wrong", "problems")
    return int(any(result[name] for result in found.values() for name in names))


if __name__ == "__main__":
    sys.exit(main())
