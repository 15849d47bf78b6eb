"""A tiny family trained by the command line, killed at random moments, and what the store has then.

Used by the tests and by ``benchmarks/resume.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from workbench.errors import WorkbenchError
from workbench.schema import iter_runs, record_names
from workbench.store import open_store
from workbench.store.batches import unpack
from workbench.store.registry import points

ROOT = Path(__file__).resolve().parents[2]
SPEC = """
family = "killed"

[task]
vocab = 32

[model]
context = 16

[batch]
rule = "fixed"
sequences = 4

[evaluation]
points = 5
sequences = 16

[[group]]
width = 8
tau = 0.2
tpp = [{short}, {long}]
seed = [0, 1]

[[group]]
width = 16
tau = 0.2
tpp = {wide}
seed = [0, 1]
"""
# Whoever starts tests in the background has them, and what they start, ignore Ctrl-C.
COMMAND = """
import signal
from workbench.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def write_spec(path, *, share=1.0):
    """Write a family of two batches, one with runs of two lengths; `share` scales their lengths."""
    lengths = {"short": 40 * share, "long": 60 * share, "wide": 20 * share}
    path.write_text(SPEC.format(**lengths))
    return path


def start(spec, store, *options, processes=2, **environment):
    """Start the command in a process group of its own."""
    command = [sys.executable, "-c", COMMAND, "train", str(spec), "--store", str(store), "--json"]
    return subprocess.Popen(
        [*command, "--processes", str(processes), "--checkpoint-seconds", "0.3", *options],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers_of(pid):
    """Return the training processes of a launcher: the spawned ones, of Dask too."""
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # it ended while we looked
            children += (task / "children").read_text().split()
    return [int(child) for child in children if "spawn_main" in _command_of(child)]


def _command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def alive(pid):
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def records_in(path):
    """Return how many records the store has; 0 while it is not there."""
    try:
        store = open_store(path)
    except WorkbenchError:
        return 0
    try:
        return int(store.table()["n_records"].sum())
    finally:
        store.close()


def await_records(path, process, *, beyond=0, deadline=240, every=0.05):
    """Return once the store has more than `beyond` records, or the process has ended."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if records_in(path) > beyond or process.poll() is not None:
            return
        time.sleep(every)
    msg = "no point arrived in the store"
    raise AssertionError(msg)


def end(process):
    """Kill what is left of a process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def values(path):
    """Return every record of every run: columns by run."""
    store = open_store(path)
    try:
        runs = store.runs()
        names = record_names(runs)
        return {
            run_id: {name: run[name].to_numpy() for name in names}
            for run_id, run in iter_runs(runs)
        }
    finally:
        store.close()


def written_more_than_once(path):
    """Return how many steps of a run were written by more than one append, over all attempts."""
    store = open_store(path)
    query = sa.select(points.c.run_id, points.c.packed)
    with store._registry.read() as connection:
        batches = connection.execute(query).all()
    store.close()
    written = Counter(
        (run_id, int(step)) for run_id, packed in batches for step in unpack(packed)["step"]
    )
    return sum(count > 1 for count in written.values()), len(written)


def differences(found, expected):
    """Return what differs between two families, one sentence each."""
    told = [f"{name} is missing" for name in expected.keys() - found.keys()]
    told += [f"{name} is extra" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        for column in expected[name].keys() | found[name].keys():
            one, other = found[name].get(column), expected[name].get(column)
            if one is None or other is None or not np.array_equal(one, other, equal_nan=True):
                told.append(f"{column} of {name} differs")
    return told
