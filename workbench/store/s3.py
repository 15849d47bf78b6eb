"""Consolidated curves on S3: an Icechunk repository, one commit per generation.

Each generation is committed to a branch of its own, under a name no other process uses, and that
commit holds nothing but it. So consolidators never write the same object, and the registry's
transaction alone decides which of them wins; it names the commit. A commit that the registry never
came to name (its process was killed, or another was first) stays on its branch, unread. Branches
that are not kept are deleted ``keep_days`` after they were written, orphans too: should a registry
have been restored from an old copy, the curves it no longer knows are there for that long.
Icechunk's garbage collection then removes what no branch leads to.

``main`` follows the newest generation, for tools that read Icechunk and not the registry.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any

import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.store.generation import open_curves, readable, write_curves
from workbench.store.object_errors import is_object_store_error, said
from workbench.store.s3_place import S3Place
from workbench.store.tier import Aside, Found, Generation, Mended

if TYPE_CHECKING:
    from icechunk import Repository, Storage

CREATE_SECONDS = 5.0
COLLECT_EVERY = 16
COLLECT_MARGIN = timedelta(hours=24)

_used_by: int | None = None  # process that has started Icechunk's threads


class S3Tier:
    """Generations in an Icechunk repository on S3; see ``CurveTier``.

    Nothing is contacted before the first call that needs it. Credentials come from where the AWS
    tools take them, and are kept nowhere else.

    Parameters
    ----------
    place : S3Place
        Where the repository lies, and which store it belongs to.
    """

    loud = True

    def __init__(self, place: S3Place) -> None:
        self._where = place
        self._opened: Repository | None = None

    @property
    def place(self) -> str:
        """Bucket and prefix."""
        return str(self._where)

    def create(self) -> None:
        """Make the repository.

        Raises
        ------
        ArgumentError
            If the place holds curves already.
        DataError
            If the object store cannot be reached, or there is no such bucket.
        """
        with self._doing("made"):
            self._start()
            repository = _open_or_create(self._storage())
            taken = repository.list_branches() - {"main"}
        if taken:
            msg = (
                f"{self.place} holds the curves of another store. Open that one by its registry, "
                "or give a new prefix."
            )
            raise ArgumentError(msg)

    def write(self, runs: xr.Dataset, number: int) -> Aside:
        """Commit runs (run, obs) to a branch of their own."""
        with self._doing("written"):
            repository = self._repository()
            branch = f"{self._branches()}{number}.{uuid.uuid4().hex[:8]}"
            repository.create_branch(branch, _first(repository))
            session = repository.writable_session(branch)
            write_curves(session.store, runs)
            about = {"store": self._where.store, "generation": number}
            return Aside(number, branch, session.commit(f"generation {number}", metadata=about))

    def publish(self, aside: Aside) -> None:
        """Do nothing: the registry names the commit."""

    def discard(self, aside: Aside) -> None:
        """Do nothing: `tidy` removes it once it is certain that the registry does not name it.

        A transaction whose outcome was lost on the way may have been committed.
        """

    def announce(self, aside: Aside) -> None:
        """Move ``main`` forward to the generation, unless a newer one was there first."""
        assert aside.snapshot is not None
        with self._doing("announced"):
            repository = self._repository()
            while True:
                tip = repository.lookup_branch("main")
                commit = repository.lookup_snapshot(tip)
                first = commit.parent_id is None
                if not first and not self._precedes(commit.metadata, aside.number):
                    return
                try:
                    repository.reset_branch("main", aside.snapshot, from_snapshot_id=tip)
                except _icechunk().IcechunkError:
                    if repository.lookup_branch("main") == tip:
                        raise  # not because another process moved it
                else:
                    return

    def open(self, generation: int, snapshot: str | None, *, damaged: bool = False) -> xr.Dataset:
        """Open a generation (run, obs): run coordinates in memory, records on S3."""
        if snapshot is None:
            msg = (
                f"The registry names no commit in {self.place} for generation {generation}; it is "
                "damaged. Restore it from a copy."
            )
            raise DataError(msg)
        place = f"{self.place} (generation {generation}, snapshot {snapshot})"
        with readable(place):
            session = self._repository().readonly_session(snapshot_id=snapshot)
        return open_curves(session.store, place=place, damaged=damaged)

    def kept(self, generations: Sequence[Generation]) -> tuple[Generation, ...]:
        """Return those whose successor is younger than `keep_days`, and the last two."""
        horizon = self._horizon()
        followed = pairwise(generations[:-1])
        return (*(old for old, after in followed if after.time > horizon), *generations[-2:])

    def tidy(self, kept: Sequence[Generation]) -> None:
        """Delete old branches that are not kept, and at times collect garbage.

        A branch numbered like a published generation, or lower, can no longer be published; one
        numbered higher may be about to be, and is left alone.
        """
        newest = kept[-1].generation
        with self._doing("tidied"):
            repository = self._repository()
            for branch in self._superfluous(repository, kept):
                repository.delete_branch(branch)
            if newest % COLLECT_EVERY == 0:
                repository.garbage_collect(datetime.now(UTC) - COLLECT_MARGIN)

    def problems(self, generations: Sequence[Generation]) -> tuple[str, ...]:
        """Return which generations have no branch to protect them, one sentence each."""
        return tuple(
            f"generation {entry.generation} (snapshot {entry.snapshot}) has no branch in "
            f"{self.place}."
            for entry in self._unprotected(generations)
        )

    def _unprotected(self, generations: Sequence[Generation]) -> list[Generation]:
        with self._doing("checked"):
            there = {self._number(branch) for branch in self._repository().list_branches()}
        return [entry for entry in generations if entry.generation not in there]

    def found(self, generations: Sequence[Generation]) -> tuple[Found, ...]:
        """Return what lies on the branches of this store, newest first."""
        with self._doing("looked through"):
            repository = self._repository()
            tips = {name: repository.lookup_branch(name) for name in repository.list_branches()}
        numbers = [(self._number(name), tip) for name, tip in tips.items()]
        own = {Found(number, tip) for number, tip in numbers if number is not None}
        named = {Found(entry.generation, entry.snapshot) for entry in generations}
        return tuple(sorted(own | named, key=lambda entry: (-entry.generation, entry.snapshot)))

    def set_aside(self, generation: int) -> str | None:
        """Do nothing: what was committed stays for ``keep_days``."""
        return None

    def mend(self, generations: Sequence[Generation], *, sound: bool) -> Mended:
        """Give kept generations their branches back, and let ``main`` lead to the newest."""
        done, gone = [], []
        for entry in self._unprotected(generations):
            if self._protect(entry):
                done.append(f"Generation {entry.generation} has a branch again.")
            elif entry != generations[-1]:
                gone.append(entry.generation)
        if generations and generations[-1].snapshot is not None:
            newest = generations[-1]
            before = self._tip()
            self.announce(Aside(newest.generation, "", newest.snapshot))
            if self._tip() != before:
                done.append(f"main leads to generation {newest.generation}.")
        return Mended(tuple(done), tuple(gone))

    def _protect(self, entry: Generation) -> bool:
        """Make a branch for a generation, which keeps it from being collected; False if it is."""
        with self._doing("protected"):
            name = f"{self._branches()}{entry.generation}.{uuid.uuid4().hex[:8]}"
            try:
                self._repository().create_branch(name, str(entry.snapshot))
            except _icechunk().IcechunkError as error:
                if "snapshot" not in str(error).lower():
                    raise
                return False
        return True

    def _tip(self) -> str:
        with self._doing("looked up"):
            return str(self._repository().lookup_branch("main"))

    def _superfluous(self, repository: Repository, kept: Sequence[Generation]) -> list[str]:
        numbers = {name: self._number(name) for name in sorted(repository.list_branches())}
        own = {name: number for name, number in numbers.items() if number is not None}
        snapshots = {entry.generation: entry.snapshot for entry in kept}
        rivals = {number for number, count in Counter(own.values()).items() if count > 1}

        def needless(name: str, number: int) -> bool:
            if number not in snapshots:
                return number < kept[-1].generation
            return number in rivals and repository.lookup_branch(name) != snapshots[number]

        def old(name: str) -> bool:
            tip = repository.lookup_snapshot(repository.lookup_branch(name))
            return tip.written_at < self._horizon()

        return [name for name, number in own.items() if needless(name, number) and old(name)]

    def _horizon(self) -> datetime:
        return datetime.now(UTC) - timedelta(days=self._where.keep_days)

    def _branches(self) -> str:
        return f"{self._where.store}.generation-"

    def _number(self, branch: str) -> int | None:
        if not branch.startswith(self._branches()):
            return None
        number = branch.removeprefix(self._branches()).partition(".")[0]
        return int(number) if number.isdecimal() else None

    def _precedes(self, about: dict[str, Any], number: int) -> bool:
        return about.get("store") == self._where.store and about["generation"] < number

    def _start(self) -> None:
        global _used_by
        if _used_by not in (None, os.getpid()):
            msg = (
                f"The curves in {self.place} cannot be used in a process forked from one that has "
                "used curves on S3. Start it with multiprocessing's 'spawn', or fork it before."
            )
            raise DataError(msg)
        _used_by = os.getpid()

    def _repository(self) -> Repository:
        self._start()
        if self._opened is None:
            self._opened = _icechunk().Repository.open(self._storage())
        return self._opened

    def _storage(self) -> Storage:
        place = self._where
        return _icechunk().s3_storage(  # type: ignore[no-any-return]
            bucket=place.bucket,
            prefix=place.prefix,
            region=place.region,
            endpoint_url=place.endpoint,
            allow_http=(place.endpoint or "").startswith("http://"),
            force_path_style=place.endpoint is not None,
            from_env=True,
        )

    @contextmanager
    def _doing(self, done: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_object_store_error(error):
                raise
            msg = (
                f"Curves could not be {done} in {self.place}: {said(error)}. What the store held "
                "is as it was. Look at endpoint, region and bucket, and at the credentials, which "
                "come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the AWS configuration "
                "files; then do it again."
            )
            raise DataError(msg) from error


def _open_or_create(storage: Storage) -> Repository:
    # Where another process is making the same repository, some of its objects are there first.
    deadline = time.monotonic() + CREATE_SECONDS
    while True:
        try:
            return _icechunk().Repository.open_or_create(storage)  # type: ignore[no-any-return]
        except _icechunk().IcechunkError as error:
            meanwhile = any(text in str(error) for text in ("clean prefix", "update conflict"))
            if not meanwhile or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _first(repository: Repository) -> str:
    """Return the empty snapshot every generation begins from."""
    *_, first = repository.ancestry(branch="main")
    return first.id


def _icechunk() -> ModuleType:
    try:
        import icechunk
    except ImportError:
        msg = "Curves on S3 need Icechunk. Install it with: pip install 'collapse-workbench[s3]'"
        raise DataError(msg) from None
    if "ICECHUNK_LOG" not in os.environ:  # what fails is said once, by our own error
        icechunk.set_logs_filter("off")
    return icechunk
