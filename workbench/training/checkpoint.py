"""Checkpoints of a batch: everything a bitwise resume needs, in files that never run code.

A file is safetensors: a JSON header with shapes, types and a few texts, then the raw numbers. It is
written aside, synced, and renamed to its step and the SHA-256 of its content, so a file that has
its name is whole, and one that was changed since is found out. The last two of a job are kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.store.folder import sync_path
from workbench.training.plan import RunPlan
from workbench.training.spec import FamilySpec

FORMAT = "workbench checkpoint 1"
KEPT = 2
SUFFIX = ".safetensors"
_DIGITS = 32

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Row:
    """What a checkpoint says of one run.

    Parameters
    ----------
    fingerprint : str
        Of all that its numbers follow from; see `fingerprint`.
    floor : int
        Largest step that the store had of the run when it was begun from its first step, by an
        attempt that was given up; 0 without one.
    """

    fingerprint: str
    floor: int


@dataclass(frozen=True)
class Checkpoint:
    """One file, its numbers unread.

    Parameters
    ----------
    path : Path
        Where it lies.
    step : int
        Updates made; 0 marks the beginning of a job and holds no numbers.
    rows : dict of str to Row
        The runs it can resume.
    made_by : str
        Library and processor that made it; with others a run goes on, but not bit for bit.
    """

    path: Path
    step: int
    rows: dict[str, Row]
    made_by: str

    def load(self) -> dict[str, NDArray[Any]]:
        """Read the state; empty at step 0.

        Raises
        ------
        DataError
            If the content is not that which was written.
        """
        from safetensors.numpy import load

        try:
            content = self.path.read_bytes()
        except OSError as error:
            msg = f"Checkpoint {self.path} cannot be read: {error.strerror}."
            raise DataError(msg) from error
        if _name(self.step, hashlib.sha256(content).hexdigest()) != self.path.name:
            msg = f"Checkpoint {self.path} is not what was written: its SHA-256 differs."
            raise DataError(msg)
        texts = json.loads(_header(self.path)["texts"])
        arrays: dict[str, NDArray[Any]] = dict(load(content))
        return arrays | {name: np.array(text, dtype=np.str_) for name, text in texts.items()}


class JobCheckpoints:
    """The checkpoints of one job, in a folder of its own.

    Parameters
    ----------
    folder : Path
        Made when the first one is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: State, *, step: int, rows: Mapping[str, Row], made_by: str = "") -> Path:
        """Write a checkpoint so that it is there whole or not at all, and remove older ones.

        Parameters
        ----------
        state : mapping of str to ndarray
            Of ``RowBatch.state``; empty for a mark at step 0.
        step : int
            Updates made.
        rows : mapping of str to Row
            The runs it can resume.
        made_by : str
            Library and processor.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            If it cannot be written; those before are still there.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        texts = {n: value.tolist() for n, value in state.items() if value.dtype.kind == "U"}
        arrays = {n: np.asarray(v, order="C") for n, v in state.items() if n not in texts}
        header = {
            "format": FORMAT,
            "step": str(step),
            "rows": json.dumps({name: [row.fingerprint, row.floor] for name, row in rows.items()}),
            "texts": json.dumps(texts),
            "made_by": made_by,
        }
        partial = self.folder / f"{uuid.uuid4().hex}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(arrays, partial, metadata=header)
            with partial.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            sync_path(partial)
            target = partial.rename(self.folder / _name(step, digest))
            sync_path(self.folder)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            msg = f"A checkpoint could not be written to {self.folder}: {error}."
            raise DataError(msg) from error
        for old in sorted(self._files(), reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)
        return target

    def newest(self) -> Iterator[Checkpoint]:
        """Yield what is there, the largest step first."""
        for path in sorted(self._files(), reverse=True):
            with suppress(DataError):
                yield read_checkpoint(path)

    def drop_after(self, step: int) -> None:
        """Remove those beyond a step: no run that is still training can use them."""
        for checkpoint in self.newest():
            if checkpoint.step > step:
                checkpoint.path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what killed processes left half written."""
        for path in self.folder.glob("*.partial"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all: nothing is left to resume."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> Iterable[Path]:
        return self.folder.glob(f"step-*{SUFFIX}")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what a checkpoint is of, not its numbers.

    Raises
    ------
    DataError
        If it is none, or gone.
    """
    try:
        header = _header(path)
        rows = {
            str(name): Row(str(mark), int(floor))
            for name, (mark, floor) in json.loads(header["rows"]).items()
        }
        return Checkpoint(path, int(header["step"]), rows, header["made_by"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        msg = f"{path} is no checkpoint of this workbench: {error}."
        raise DataError(msg) from error


def fingerprint(spec: FamilySpec, run: RunPlan) -> str:
    """Return a mark of all that the numbers of a run follow from: its plan and what all share."""
    shared = spec.model_dump(mode="json", exclude={"family", "group", "fault"})
    said = json.dumps(shared, sort_keys=True) + repr(run)
    return hashlib.sha256(said.encode()).hexdigest()[:_DIGITS]


def job_name(marks: Iterable[str]) -> str:
    """Return the name of the folder of a job that trains the runs with these fingerprints."""
    return hashlib.sha256("\n".join(sorted(marks)).encode()).hexdigest()[:_DIGITS]


def family_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return all checkpoints of a family, the largest step first."""
    jobs = sorted(path for path in folder.glob("*") if path.is_dir())
    found = [checkpoint for job in jobs for checkpoint in JobCheckpoints(job).newest()]
    return sorted(found, key=lambda checkpoint: -checkpoint.step)


def clear_finished(folder: Path, finished: Iterable[str]) -> None:
    """Remove the checkpoints of jobs whose runs have all finished, and folders left empty."""
    done = set(finished)
    for job in [path for path in folder.glob("*") if path.is_dir()]:
        checkpoints = JobCheckpoints(job)
        if all(done.issuperset(checkpoint.rows) for checkpoint in checkpoints.newest()):
            checkpoints.clear()
    for empty in (folder, folder.parent):
        with suppress(OSError):
            empty.rmdir()


def _name(step: int, digest: str) -> str:
    return f"step-{step:010d}-{digest[:_DIGITS]}{SUFFIX}"


def _header(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        msg = f"Checkpoint {path} cannot be read: {error}."
        raise DataError(msg) from error
    if header.get("format") != FORMAT:
        msg = f"{path} is no checkpoint of this workbench: its format is {header.get('format')!r}."
        raise DataError(msg)
    return header
