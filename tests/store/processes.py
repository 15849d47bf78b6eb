"""Processes for the tests to start, and to kill.

``python processes.py MODE STORE ROUNDS SEED [CURVES]``

Everything is imported before the first fork, so that a kill falls into the work and not into an
import. Each mode prints one JSON document: what was acknowledged.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import sys
import time

import zarr  # noqa: F401  (imported here so that children do not spend their life on it)

from workbench.store import Recorder, open_store

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
        acknowledged += killed_after(rng.uniform(0.005, 0.12), write)
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

        acknowledged[attempt] = max(killed_after(rng.uniform(0.02, 0.12), record), default=-1)
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

        finished += killed_after(rng.uniform(0.01, 0.35), consolidate)
    return {"rounds": rounds, "finished": len(finished)}


def write_together(path, rounds, rng, curves=None):
    children = []
    for run in range(8):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store = open_store(path, create=True, curves=curves)
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


if __name__ == "__main__":
    mode, path, rounds, seed, *curves = sys.argv[1:]
    print(json.dumps(globals()[mode](path, int(rounds), random.Random(int(seed)), *curves)))
