"""Throw mutated logs at every reader: a result or one clean error, nothing else, ever.

python benchmarks/fuzz_readers.py [--inputs 100000] [--workers 2] [--seed 0] [--format NAME]...

Each input is a small log of some format, mutated, and read with its format named or looked for.
Found are: an error that is not ours, a crash, a read of over ten seconds, memory that grows by over
a gibibyte, a store that is not what it was after an import that failed. The inputs that did it are
kept in a folder, which is printed; the same seed makes the same inputs. Exit 1 when there are any.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from fuzz_mutations import mutated
from fuzz_seeds import Seed, all_seeds
from machine import keep

from workbench.errors import WorkbenchError
from workbench.io import import_sources, read
from workbench.store import Store, open_store

HANG_SECONDS = 10
GROWTH_BYTES = 1 << 30
IMPORTED_SHARE = 0.02  # of the inputs that can be read; all that cannot are tried on the store


class HangError(Exception):
    """A read took too long."""


def on_alarm(_number: int, _frame: object) -> None:
    """Turn the alarm into an exception."""
    raise HangError


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Write the files of an input below `folder`; return what to read."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(files)) if len(files) == 1 else folder


def outcome(source: Path, format: str, store: Store, rng: random.Random) -> str:
    """Read one input; return what came of it, one word for what is allowed."""
    before = store.revision()
    signal.alarm(HANG_SECONDS)
    try:
        read(source, format=format)
    except WorkbenchError:
        word = "refused"
    else:
        if rng.random() >= IMPORTED_SHARE:
            return "read"
        word = "imported"
    finally:
        signal.alarm(0)
    try:
        import_sources(store, [source], format=format)
    except WorkbenchError:
        if store.revision() != before:
            return "store changed by a failed import"
        return "refused"
    return word


def work(pipe: Connection, seeds: list[Seed], number: int, step: int, count: int) -> None:
    """Read inputs `number`, `number + step`, … below `count`; send (input, outcome) for each."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, on_alarm)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        store = open_store(Path(scratch) / "store", create=True)
        limit = address_space() + GROWTH_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for index in range(number, count, step):
            rng = random.Random(f"{SEED}/{index}")
            seed = rng.choice(seeds)
            files = mutated(seed.files, rng, others=[s.files for s in seeds])
            folder = Path(scratch) / "input"
            source = write(files, folder)
            pipe.send((index, seed.format, None))
            format = seed.format if rng.random() < 0.7 else "auto"
            try:
                found = outcome(source, format, store, rng)
            except Exception as error:
                found = f"{type(error).__name__}: {error}"[:300]
            pipe.send((index, seed.format, found))
            shutil.rmtree(folder, ignore_errors=True)
        store.close()
    pipe.send(None)


def address_space() -> int:
    """Return the bytes of address space in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


ALLOWED = ("read", "refused", "imported")
SEED = 0


def watch(seeds: list[Seed], worker: int, workers: int, count: int) -> list[tuple[int, str, str]]:
    """Run one worker to its end, beginning again after a crash; return (input, format, outcome)."""
    context = multiprocessing.get_context("fork")
    results: list[tuple[int, str, str]] = []
    first = worker
    while first < count:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(theirs, seeds, first, workers, count))
        process.start()
        theirs.close()
        current: tuple[int, str] | None = None
        try:
            while ours.poll(HANG_SECONDS + 5) and (said := ours.recv()) is not None:
                index, format, found = said
                current = (index, format) if found is None else None
                if found is not None:
                    results.append((index, format, found))
        except EOFError:
            process.join()
            index, format = current or (first, "")
            results.append((index, format, f"process ended with {process.exitcode}"))
            first = index + workers
            continue
        if current is None:
            process.join()
            break
        process.kill()  # a library hangs: no alarm reaches it
        process.join()
        results.append((*current, f"hang of over {HANG_SECONDS} s"))
        first = current[0] + workers
    return results


def fuzz(seeds: list[Seed], *, count: int, workers: int) -> list[tuple[int, str, str]]:
    """Return (input, format, outcome) of `count` inputs."""
    with ThreadPool(workers) as pool:
        parts = pool.map(lambda k: watch(seeds, k, workers, count), range(workers))
    return sorted(result for part in parts for result in part)


def keep_inputs(bad: list[tuple[int, str, str]], seeds: list[Seed]) -> Path:
    """Write the inputs that did what is not allowed, one folder each."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-found-"))
    for index, format, _ in bad[:100]:
        rng = random.Random(f"{SEED}/{index}")
        files = mutated(rng.choice(seeds).files, rng, others=[s.files for s in seeds])
        write(files, folder / f"{index}-{format}")
    return folder


def main() -> int:
    """Fuzz, print a summary, keep the figures."""
    global SEED
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", action="append", default=[])
    parser.add_argument("--dry", action="store_true", help="keep no figures")
    options = parser.parse_args()
    SEED = options.seed
    seeds = [s for s in all_seeds() if not options.format or s.format in options.format]
    start = time.monotonic()
    results = fuzz(seeds, count=options.inputs, workers=options.workers)
    bad = [result for result in results if result[2] not in ALLOWED]
    table: dict[str, Counter[str]] = {}
    for _, format, found in results:
        table.setdefault(format, Counter())[found if found in ALLOWED else "found"] += 1
    figures: dict[str, Any] = {
        "inputs": len(results),
        "seconds": round(time.monotonic() - start),
        "outcomes": {format: dict(table[format]) for format in sorted(table)},
        "found": len(bad),
    }
    print(json.dumps(figures, indent=1))
    if bad:
        for index, format, found in bad[:40]:
            print(f"input {index}, {format}: {found}")
        print(f"kept in {keep_inputs(bad, seeds)}")
    elif not options.dry:
        print(keep("fuzz_readers", figures, "numpy", "pandas"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
