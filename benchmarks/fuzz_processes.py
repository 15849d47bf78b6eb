"""Read fuzzing inputs in processes that may crash or hang, and judge each reading."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzz_seeds import Seed
from fuzz_structures import mutated

from workbench.errors import WorkbenchError
from workbench.io import import_sources
from workbench.store import Store, open_store

HANG_SECONDS = 10
GROWTH_BYTES = 1 << 30
SHORT = "refused for want of memory"  # of which none was taken; counted, to be looked into
ALLOWED = ("read", "refused", "imported", SHORT)
_NET_BYTES = 4 << 30  # what a process may ask for at all; what it takes is measured
_IMPORTED_SHARE = 0.02  # of the inputs that can be read; adding runs to a store takes its time
_IMPORTS_A_STORE = 10
_INPUTS_A_PROCESS = 1000
_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
Job = tuple[str, int]


class HangError(BaseException):
    """A read took too long; no handler of errors on the way may take it for one."""


class WholeReadError(BaseException):
    """All was read and would now go into the store."""


@dataclass(frozen=True)
class Result:
    """What came of one input: a word for what is allowed, else what was found."""

    format: str
    index: int
    outcome: str
    seconds: float = 0.0
    grown: int = 0


@dataclass(frozen=True)
class Inputs:
    """All inputs of one seed number: the same (format, index) is the same input."""

    seeds: list[Seed]
    number: int

    def make(self, job: Job) -> tuple[dict[str, bytes], random.Random]:
        """Return the files of an input, and the generator to go on with."""
        format, index = job
        rng = random.Random(f"{self.number}/{format}/{index}")
        seed = rng.choice([seed for seed in self.seeds if seed.format == format])
        others = [each.files for each in self.seeds]
        return mutated(format, seed.files, rng, others=others), rng


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Write the files of an input below `folder`; return what to read."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(files)) if len(files) == 1 else folder


class Target:
    """The store that inputs are imported into; a new one after some imports, to stay small."""

    def __init__(self, folder: Path) -> None:
        self.takes = True
        self._folder = folder
        self._made = 0
        self.store = self._new()

    def _new(self) -> Store:
        self._made += 1
        self._imports = 0
        store = open_store(self._folder / f"store{self._made}", create=True)
        whole = store.add_runs

        def add_runs(runs: Any) -> Any:
            if not self.takes:
                raise WholeReadError
            return whole(runs)

        store.add_runs = add_runs  # type: ignore[method-assign]
        self.store = store
        self._state = self.state()
        return store

    def renew(self) -> None:
        """Take a new store."""
        self.store.close()
        shutil.rmtree(self._folder / f"store{self._made}", ignore_errors=True)
        self._new()

    def changed(self) -> None:
        """Say that an import was made; after some, take a new store."""
        self._imports += 1
        if self._imports >= _IMPORTS_A_STORE:
            self.renew()
        else:
            self._state = self.state()

    def is_as_it_was(self) -> bool:
        """Tell whether nothing changed since the last import."""
        return self.state() == self._state

    def state(self) -> str:
        """Return a digest of the revision and of every file's name, size and time of change."""
        seen = hashlib.sha256(str(self.store.revision()).encode())
        for folder, _, names in os.walk(self._folder / f"store{self._made}"):
            for name in sorted(names):
                path = Path(folder, name)
                status = path.stat()
                seen.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return seen.hexdigest()


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise `HangError` in what runs for too long."""
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def _on_alarm(_number: int, _frame: object) -> None:
    raise HangError


def outcome(source: Path, format: str, target: Target, rng: random.Random) -> str:
    """Import one input, as far as the store's door or now and then into it; say what came of it."""
    target.takes = rng.random() < _IMPORTED_SHARE
    try:
        with time_limit():
            import_sources(target.store, [source], format=format)
    except WholeReadError:
        return "read"
    except WorkbenchError as error:
        if not target.is_as_it_was():
            return "store changed by a failed import"
        return SHORT if _lacked_memory(error) else "refused"
    target.changed()
    return "imported"


def _lacked_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def work(pipe: Connection, inputs: Inputs, jobs: list[Job]) -> None:
    """Read inputs; send None and then its result for each, at the end None."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_IN_MEMORY) as scratch:
        tempfile.tempdir = scratch  # what a reader leaves behind in a crash goes with it
        target = Target(Path(scratch))
        limit = _memory("VmSize") + _NET_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for job in jobs:
            pipe.send(job)
            pipe.send(_one(job, inputs, target, Path(scratch) / "input"))
    pipe.send(None)


def _one(job: Job, inputs: Inputs, target: Target, folder: Path) -> Result:
    files, rng = inputs.make(job)
    source = write(files, folder)
    format = job[0] if rng.random() < 0.7 else "auto"
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, start = _memory("VmRSS"), time.perf_counter()
    children = _children()
    try:
        found = outcome(source, format, target, rng)
    except HangError:
        found = f"hang of over {HANG_SECONDS} s"
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:300]
    seconds = time.perf_counter() - start
    grown = _memory("VmHWM") - before
    if _children() > max(children, _memory("VmHWM")):  # a child counts as its parent until it runs
        grown = max(grown, _children())
    if found not in ALLOWED:  # it may have ended in the middle of an import
        target.renew()
    elif grown > GROWTH_BYTES:
        found = f"memory grown by {grown} bytes"
    shutil.rmtree(folder, ignore_errors=True)
    return Result(*job, found, round(seconds, 4), grown)


def _memory(name: str) -> int:
    """Return a number of bytes that the system keeps of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    msg = f"no {name} in /proc/self/status"
    raise RuntimeError(msg)


def _children() -> int:
    """Return the most memory that any child process took."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


def watch(inputs: Inputs, jobs: list[Job], keep: Callable[[Result], None]) -> None:
    """Have all jobs done by one process at a time, a new one after a crash, a hang or some inputs.

    Parameters
    ----------
    inputs : Inputs
        Makes the input of each job.
    jobs : list of (format, index)
        What to read.
    keep : callable of Result
        Told of each as it comes.
    """
    context = multiprocessing.get_context("fork")
    done = 0
    while done < len(jobs):
        ours, theirs = context.Pipe(duplex=False)
        part = jobs[done : done + _INPUTS_A_PROCESS]
        process = context.Process(target=work, args=(theirs, inputs, part))
        process.start()
        theirs.close()
        current: Job | None = None
        try:
            while ours.poll(2 * HANG_SECONDS + 15) and (said := ours.recv()) is not None:
                current = said if isinstance(said, tuple) else None
                if isinstance(said, Result):
                    keep(said)
                    done += 1
        except EOFError:
            process.join()
            keep(Result(*(current or jobs[done]), f"process ended with {process.exitcode}"))
            done += 1
            continue
        if current is not None:
            process.kill()  # a library hangs: no alarm reaches it
            keep(Result(*current, "hang that no alarm ends"))
            done += 1
        with suppress(OSError):
            ours.close()
        process.join()
