"""Kill -9 at random moments over a family in training, until it is done; then compare every value.

python benchmarks/resume.py [FAMILIES [KILLS_EACH [SEED]]]

A family of six runs in two batches is trained by the command line with two workers, in turn by
local processes and by Dask. When a random share of its records has been written one worker, the
command, or the whole process group is killed; a command that was killed is run again. The finished
family must have the values of one that was left in peace, in every record, and no step may have
been written twice.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from machine import ROOT, keep

sys.path.insert(0, str(ROOT))
from tests.training.kills import (
    await_records,
    differences,
    end,
    records_in,
    start,
    values,
    workers_of,
    write_spec,
    written_more_than_once,
)

LAUNCHERS = ("local", "dask")
VICTIMS = ("worker", "driver", "group")
SHARE = 3.0
"""Length of the runs, in those of the tests."""


def kill_one(process: subprocess.Popen[str], victim: str, rng: random.Random) -> str:
    """Kill a worker, the command, or both; return who was killed, "" when all were gone."""
    workers = workers_of(process.pid)
    if process.poll() is not None or (victim == "worker" and not workers):
        return ""
    if victim == "worker":
        os.kill(rng.choice(workers), signal.SIGKILL)
    elif victim == "driver":
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    else:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return victim


def train_under_fire(
    spec: Path, path: Path, launcher: str, kills: int, total: int, rng: random.Random
) -> dict[str, Any]:
    """Train the family, of `total` records, with so many kills on the way; return what was done."""
    killed: Counter[str] = Counter()
    moments, seconds = [], time.perf_counter()
    process = start(spec, path, "--launcher", launcher)
    for share in sorted(rng.uniform(0.02, 0.95) for _ in range(kills)):
        await_records(path, process, beyond=round(share * total), every=0.2)
        moments.append(round(records_in(path) / total, 3))
        killed[kill_one(process, rng.choice(VICTIMS), rng)] += 1
        if process.poll() is not None:
            process.communicate()
            process = start(spec, path, "--launcher", launcher)
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        end(process)
        raise RuntimeError(errors)
    return {
        "killed": {name: count for name, count in killed.items() if name},
        "written_when_killed": moments,
        "seconds": round(time.perf_counter() - seconds, 1),
    }


def main() -> int:
    """Kill, print the counts and keep them; 1 when a value differs or a step is there twice."""
    given = dict(enumerate(sys.argv[1:]))
    families, kills, seed = (int(given.get(i, n)) for i, n in enumerate((10, 3, 0)))
    rng = random.Random(seed)
    killed: Counter[str] = Counter()
    differing: list[str] = []
    twice, trials = 0, []
    with tempfile.TemporaryDirectory() as folder:
        spec = write_spec(Path(folder) / "family.toml", share=SHARE)
        peace = start(spec, Path(folder) / "peace")
        _, errors = peace.communicate(timeout=600)
        if peace.returncode:
            raise RuntimeError(errors)
        expected = values(Path(folder) / "peace")
        records = sum(len(run["step"]) for run in expected.values())
        for number in range(families):
            path, launcher = Path(folder) / f"runs-{number}", LAUNCHERS[number % 2]
            trial = train_under_fire(spec, path, launcher, kills, records, rng)
            found = differences(values(path), expected)
            again, steps = written_more_than_once(path)
            differing += found
            twice += again
            killed.update({f"{launcher} {name}": n for name, n in trial["killed"].items()})
            trials.append({"launcher": launcher, **trial, "steps": steps, "differing": len(found)})
            print(f"{launcher}: {trial['killed']}, {len(found)} columns differ, {again} twice")
    count = sum(killed.values())
    print(f"{count} kills, {len(differing)} columns differ, {twice} steps written twice")
    figures = {
        "kills": count,
        "killed": dict(killed),
        "families": families,
        "records_compared": families * records,
        "columns_differing": differing,
        "steps_written_twice": twice,
        "trials": trials,
    }
    print(f"figures: {keep('resume', figures, 'torch', 'distributed', 'safetensors').name}")
    return int(bool(differing or twice))


if __name__ == "__main__":
    sys.exit(main())
