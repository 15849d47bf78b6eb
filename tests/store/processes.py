"""Processes for the tests to start, and to kill.

``python processes.py MODE STORE ROUNDS SEED [CURVES]``

Everything is imported before the first fork, so that a kill falls into the work and not into an
import. Each mode prints one JSON document: what was acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import zarr  # noqa: F401  (imported here so that children do not spend their life on it)

from workbench.io import import_sources
from workbench.schema import iter_runs
from workbench.store import Recorder, open_store

with contextlib.suppress(ImportError):
    import psycopg  # noqa: F401

STEP = struct.Struct("<q")


def value(run: int, step: int) -> float:
    return run + 1 / (1 + step)


def killed_after(seconds, work):
    """Fork `work(acknowledge)`, kill -9 it after `seconds`; return what it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            work(lambda step: os.write(writing, STEP.pack(step)))
        finally:
            os._exit(0)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return [step for (step,) in STEP.iter_unpack(pipe.read())]


def apart(work):
    """Do `work` in a fork and return its JSON: a process that used S3 itself must not fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            result = json.dumps(work()).encode()
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(result)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return json.loads(result)


def moment(rng, path, shortest, longest):
    """Return when to kill [s]: a process that has to reach a server first lives longer."""
    return rng.uniform(shortest, longest) * (3 if "://" in path else 1)


def kill_writers(path, rounds, rng):
    acknowledged = [-1]

    def write(acknowledge):
        writer = open_store(path).start_run("r", family="f", attributes={"total_steps": 1e6})
        step = acknowledged[-1]
        while True:
            step += 1
            writer.append(step=step, train_loss=value(0, step))
            acknowledge(step)

    for _ in range(rounds):
        acknowledged += killed_after(moment(rng, path, 0.005, 0.12), write)
    return {"acknowledged": acknowledged[1:]}


def kill_recorders(path, rounds, rng):
    acknowledged = {}
    for attempt in range(rounds):

        def record(acknowledge, attempt=attempt):
            recorder = Recorder(path, family="f", run_id=f"r{attempt}")
            for step in range(1_000_000):
                recorder.log(step, train_loss=value(attempt, step), seen=step)
                if step % 50 == 49:
                    recorder.flush()
                    acknowledge(step)

        acknowledged[attempt] = max(killed_after(moment(rng, path, 0.02, 0.12), record), default=-1)
    return {"acknowledged": acknowledged}


def kill_consolidations(path, rounds, rng):
    store = open_store(path)
    finished = []
    for run in range(rounds):
        writer = store.start_run(f"r{run}", family="f")
        writer.append(step=range(200), train_loss=[value(run, step) for step in range(200)])
        writer.finish("done")

        def consolidate(acknowledge):
            acknowledge(open_store(path).consolidate())

        finished += killed_after(moment(rng, path, 0.01, 0.35), consolidate)
    return {"rounds": rounds, "finished": len(finished)}


def write_together(path, rounds, rng):
    children = []
    for run in range(8):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store = open_store(path, create=True)
                writer = store.start_run(f"r{run}", family="f")
                for step in range(rounds):
                    writer.append(step=step, train_loss=value(run, step))
                writer.finish("done")
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    return {"exits": [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]}


def consolidate_together(path, rounds, rng):
    children = []
    for process in range(4):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                moved = 0
                store = open_store(path)
                for number in range(rounds):
                    run = process * rounds + number
                    writer = store.start_run(f"r{run}", family="f")
                    writer.append(step=range(50), train_loss=[value(run, s) for s in range(50)])
                    writer.finish("done")
                    moved += store.consolidate()
                os.write(writing, STEP.pack(moved))
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        children.append((child, reading))
    exits = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, _ in children]
    moved = [STEP.unpack(os.read(reading, 8))[0] for _, reading in children]
    return {"exits": exits, "moved": moved}


def write_and_publish(path, rounds, rng):
    store = open_store(path)
    for run in range(rounds):
        with Recorder(store, family="f", run_id=f"r{run}") as recorder:
            for step in range(100):
                recorder.log(step, train_loss=value(run, step))
                if step % 20 == 19:
                    recorder.flush()
        store.consolidate()
    return {"runs": rounds}


# -- kills of every kind, with readers -----------------------------------------------------------

POINTS, IMPORTED = 200, 4


def kill_at_random(path, rounds, rng):
    """Kill recorders, importers and consolidators in turn, `rounds` times, while others read.

    After each kill the store is opened and checked, and what was acknowledged is looked up.
    """
    apart(lambda: open_store(path, create=True).close())
    readers = [Reader(path) for _ in range(2)]
    book = Book(path)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            kind = (record_run, import_runs, consolidate_runs)[number % 3]
            kind(book, number, rng, Path(folder))
            book.audit()
    reads = [reader.stop() for reader in readers]
    book.finish()
    return book.counts | {
        "reads": sum(read["reads"] for read in reads),
        "reading_failed": [text for read in reads for text in read["failed"]],
        "lost": book.lost,
        "unrepairable": book.unrepairable,
    }


class Book:
    """What was acknowledged, and whether the store holds it."""

    def __init__(self, path):
        self.path = path
        self.counts = dict.fromkeys(
            (
                "killed_recorders",
                "killed_importers",
                "killed_consolidators",
                "survived",
                "repaired",
                "acknowledged_points",
            ),
            0,
        )
        self.steps = {}
        self.lost, self.unrepairable = [], []
        self.recorded = None

    def killed(self, kind, *, finished):
        self.counts["survived" if finished else f"killed_{kind}"] += 1

    def acknowledge(self, run, last):
        """Note that every step of `run` up to `last` was acknowledged."""
        before = self.steps.get(run, -1)
        self.steps[run] = max(before, last)
        self.counts["acknowledged_points"] += max(0, last - before)

    def audit(self):
        def look():
            store = open_store(self.path)
            result = store.repair() if store.check() else None
            found = ((), ()) if result is None else (result.repaired, result.problems)
            return [*found, self.compare(store)]

        repaired, problems, lost = apart(look)
        self.counts["repaired"] += len(repaired)
        self.unrepairable += problems
        self.lost += lost

    def compare(self, store):
        """Return in what a store is not what was acknowledged, one sentence each."""
        runs, lost = store.runs(), []
        held = {}
        for name, one in iter_runs(runs):
            steps = one["step"].to_numpy()
            run = int(name.removeprefix("r"))
            if not np.array_equal(steps, np.arange(len(steps))):
                lost.append(f"{name} has a gap, or a step twice.")
            if not np.array_equal(one["train_loss"].to_numpy(), value(run, steps)):
                lost.append(f"{name} holds values that were never written.")
            held[run] = len(steps) - 1
        for run, last in self.steps.items():
            if held.get(run, -1) < last:
                lost.append(f"r{run} ends at {held.get(run, -1)}, acknowledged was {last}.")
        return lost

    def finish(self):
        def end():
            store = open_store(self.path)
            store.consolidate()
            return [store.check(), self.compare(store)]

        problems, lost = apart(end)
        self.unrepairable += problems
        self.lost += lost


def record_run(book, number, rng, folder):
    """Record a run until killed; every other time resume the one that was killed before."""
    resumed = book.recorded is not None and rng.random() < 0.5
    run = book.recorded if resumed else 10 * number
    book.recorded = run
    first = max(0, book.steps.get(run, -1) - 20)  # a resumed run repeats some steps

    def record(acknowledge):
        recorder = Recorder(book.path, family="f", run_id=f"r{run}")
        for step in range(first, first + 1_000_000):
            recorder.log(step, train_loss=value(run, step))
            if step % 50 == 49:
                recorder.flush()
                acknowledge(step)

    done = killed_after(moment(rng, book.path, 0.02, 0.25), record)
    book.killed("recorders", finished=False)
    if done:
        book.acknowledge(run, max(done))


def import_runs(book, number, rng, folder):
    """Import a log of some runs; killed or not, importing it again makes it whole."""
    names = [10 * number + k for k in range(IMPORTED)]
    log = folder / f"{number}.csv"
    rows = (f"r{run},{step},{value(run, step)!r}\n" for run in names for step in range(POINTS))
    log.write_text("run_id,step,train_loss\n" + "".join(rows), encoding="utf-8")

    def read(acknowledge):
        acknowledge(len(import_sources(book.path, [log]).imported))

    done = killed_after(moment(rng, book.path, 0.01, 0.35), read)
    book.killed("importers", finished=bool(done))
    listed = apart(lambda: open_store(book.path).table()["run_id"].tolist())
    there = set(listed) & {f"r{run}" for run in names}
    if len(there) not in (0, IMPORTED) or (done and not there):
        book.lost.append(f"import {number} left {len(there)} of {IMPORTED} runs.")
    if rng.random() < 0.5 or done:
        apart(lambda: len(import_sources(book.path, [log]).imported))
        for run in names:
            book.acknowledge(run, POINTS - 1)


def consolidate_runs(book, number, rng, folder):
    """End two runs and consolidate them."""
    store = open_store(book.path)
    for run in (10 * number, 10 * number + 1):
        writer = store.start_run(f"r{run}", family="f")
        writer.append(step=range(POINTS), train_loss=[value(run, step) for step in range(POINTS)])
        writer.finish("done")
        book.acknowledge(run, POINTS - 1)
    store.close()

    def consolidate(acknowledge):
        acknowledge(open_store(book.path).consolidate())

    done = killed_after(moment(rng, book.path, 0.01, 0.35), consolidate)
    book.killed("consolidators", finished=bool(done))


class Reader:
    """A process that reads the whole store again and again, and looks at every value."""

    def __init__(self, path):
        self._stop, stopped = os.pipe()[::-1]
        self._said, saying = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(self._stop)
            try:
                os.write(saying, json.dumps(_read_until(path, stopped)).encode())
            finally:
                os._exit(0)
        os.close(stopped)
        os.close(saying)

    def stop(self):
        os.write(self._stop, b".")  # other children hold this end too: closing it says nothing
        os.close(self._stop)
        with os.fdopen(self._said, "rb") as pipe:
            said = pipe.read()
        os.waitpid(self._child, 0)
        return json.loads(said) if said else {"reads": 0, "failed": ["the reader died"]}


def _read_until(path, stopped):
    store, sizes, reads, failed = open_store(path), {}, 0, []
    while not select.select([stopped], [], [], 0.05)[0] and len(failed) < 5:
        try:
            runs = store.runs()
        except Exception as error:  # whatever it is, it is what a reader must not see
            failed.append(f"{type(error).__name__}: {error}")
            continue
        reads += 1
        for name, one in iter_runs(runs):
            steps = one["step"].to_numpy()
            run = int(name.removeprefix("r"))
            whole = np.array_equal(steps, np.arange(len(steps)))
            if not whole or not np.array_equal(one["train_loss"].to_numpy(), value(run, steps)):
                failed.append(f"{name} was torn in read {reads}.")
            if len(steps) < sizes.get(name, 0):
                failed.append(f"{name} became shorter in read {reads}.")
            sizes[name] = len(steps)
        if sizes.keys() - set(map(str, runs["run_id"].to_numpy())):
            failed.append(f"a run was gone in read {reads}.")
    return {"reads": reads, "failed": failed[:5]}


if __name__ == "__main__":
    mode, path, rounds, seed = sys.argv[1:]
    print(json.dumps(globals()[mode](path, int(rounds), random.Random(int(seed)))))
