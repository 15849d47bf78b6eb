"""The store: a folder of runs that many processes may write and read at the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import sqlalchemy as sa
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.schema import STATUSES, Filter, add_history
from workbench.store.attributes import clean_attributes
from workbench.store.batches import unpack
from workbench.store.check import find_problems
from workbench.store.chosen import choose
from workbench.store.consolidate import AddResult, add_change, consolidate_change
from workbench.store.export import Exported, complete_or_absent, export_runs
from workbench.store.lazy import Chunks, lazy_runs
from workbench.store.registry import Registry, bump, points, runs, value_of
from workbench.store.snapshot import Snapshot, read_settled, take_snapshot
from workbench.store.table import run_table
from workbench.store.writer import RunWriter, check_run_id
from workbench.text import plural

REGISTRY = "registry.sqlite"
_T = TypeVar("_T")


def open_store(path: str | os.PathLike[str], *, create: bool = False) -> Store:
    """Open the store in a folder.

    Parameters
    ----------
    path : path
        Folder of the store.
    create : bool
        Make it when it is missing.

    Returns
    -------
    Store

    Raises
    ------
    ArgumentError
        If there is no store, or `path` is an URL.
    DataError
        If it is damaged, or was written by a newer version of the workbench.
    """
    text = os.fspath(path)
    if "://" in text:
        msg = f"store {text!r} is an URL; a store is a local folder for now. Give a path."
        raise ArgumentError(msg)
    root = Path(text)
    if not (root / REGISTRY).is_file():
        _may_create(root, create=create)
        root.mkdir(parents=True, exist_ok=True)
        return Store(root, Registry.create(root / REGISTRY))
    return Store(root, Registry.open(root / REGISTRY))


def _may_create(root: Path, *, create: bool) -> None:
    if not create:
        msg = (
            f"There is no store at {str(root)!r}. Make one with: workbench import LOG --store "
            f"{root}, or: workbench train --store {root}; or name another one with --store."
        )
        raise ArgumentError(msg)
    if root.exists() and not root.is_dir():
        msg = f"store {str(root)!r} is a file. Give a folder."
        raise ArgumentError(msg)
    foreign = [p.name for p in root.iterdir() if p.name[0] != "."] if root.exists() else []
    if foreign and not any(name.startswith("registry.sqlite") for name in foreign):
        msg = (
            f"store {str(root)!r} is a folder with other things in it ({foreign[0]!r}). "
            "Give an empty or a new folder."
        )
        raise ArgumentError(msg)


class Store:
    """Runs in a folder: a registry with the live points, and consolidated curves beside it.

    Any number of processes on one machine may write and read it at once. Made by `open_store`.
    """

    def __init__(self, root: Path, registry: Registry) -> None:
        self.root = root
        self._registry = registry

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._registry.close()

    def revision(self) -> int:
        """Return a number that grows with every change a reader could see; cheap to poll."""
        with self._registry.read() as connection:
            return value_of(connection, "revision")

    def table(self) -> pd.DataFrame:
        """Return one row per run, planned ones too, in the order they came.

        Returns
        -------
        DataFrame
            ``run_id``, ``family``, ``status``, ``last_step``, ``n_records``, ``final_train_loss``,
            ``final_eval_loss`` (last finite values) [nats/token] and the hyper-parameters.
        """

        def read(snapshot: Snapshot) -> pd.DataFrame:
            growing = not all(row.settled for row in snapshot.rows)
            return run_table(snapshot, self._settled(snapshot) if growing else None)

        return self._stable(read)

    def runs(
        self,
        *,
        where: Sequence[Filter | str] = (),
        status: str | Sequence[str] | None = None,
        chunks: Chunks | None = None,
    ) -> xr.Dataset:
        """Return runs with all their records: consolidated ones and what is being written now.

        Where several attempts logged a step, the record of the highest attempt stays. Runs
        without a finite loss yet are left out.

        Parameters
        ----------
        where : sequence of Filter or str
            ``NAME OP VALUE`` conditions on run coordinates, all of which must hold.
        status : str or sequence of str, optional
            Keep runs in these states only.
        chunks : int or "auto", optional
            Leave the records of consolidated runs on disk, as Dask arrays in blocks of about this
            many records; blocks end where runs end. They can be computed until the store has
            removed the curves they lie in: open it again after that.

        Returns
        -------
        Dataset (run, obs)
            In the schema; in memory unless `chunks` is given; without runs when there are none.

        Raises
        ------
        DataError
            If no run meets `where`, or the store is damaged.
        ArgumentError
            If a filter names an unknown coordinate, a status is unknown, or `chunks` cannot be.
        """
        statuses = (status,) if isinstance(status, str) else status
        unknown = [s for s in statuses or () if s not in STATUSES]
        if unknown:
            msg = f"status {unknown[0]!r} is unknown. Use one of {', '.join(STATUSES)}."
            raise ArgumentError(msg)
        wanted = None if statuses is None else tuple(statuses)

        def read(snapshot: Snapshot) -> xr.Dataset:
            chosen = choose(snapshot, self._settled(snapshot), where=where, statuses=wanted)
            found = chosen.read() if chunks is None else lazy_runs(chosen, chunks)
            found.attrs["store_revision"] = snapshot.revision
            return add_history(
                found, f"opened {plural(found.sizes['run'], 'run')} of {self.root.name!r}"
            )

        return self._stable(read, unsettled_only=True)

    def start_run(
        self,
        run_id: str,
        *,
        family: str,
        attributes: Mapping[str, Any] | None = None,
        reopen: bool = False,
    ) -> RunWriter:
        """Begin a run, or take over one that was planned or did not finish.

        Parameters
        ----------
        run_id : str
            Unique name.
        family : str
            Runs that share a recipe.
        attributes : mapping of str to number or text, optional
            Hyper-parameters; on a resumed run they are added to those it has.
        reopen : bool
            Take over a run that is done too: its log turned out to go on.

        Returns
        -------
        RunWriter

        Raises
        ------
        DataError
            If the run is done, unless `reopen`.
        ArgumentError
            If a name or value cannot be kept.
        """
        fresh = clean_attributes(attributes or {})
        check_run_id(run_id)
        now = time.time()
        with self._registry.write(durable=True) as connection:
            token = bump(connection, "revision")
            row = _state(connection, run_id)
            if row is None:
                _insert(connection, run_id, family, "running", fresh, attempt=1, token=token)
                return RunWriter(self._registry, run_id=run_id, attempt=1, token=token)
            if row.status == "done" and not reopen:
                msg = (
                    f"Run {run_id!r} is done; its curve cannot be added to. Use another run_id, "
                    "or read it with Store.runs()."
                )
                raise DataError(msg)
            taken = {"attempt": row.attempt + 1, "token": token, "settled": False}
            state = {"family": family, "status": "running", "heartbeat": now, "updated": now}
            values = {"attributes": row.attributes | fresh, **taken, **state}
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))
        return RunWriter(self._registry, run_id=run_id, attempt=row.attempt + 1, token=token)

    def last_step(self, run_id: str) -> int | None:
        """Return the largest step a run has in the store; None without one."""
        with self._registry.read() as connection:
            settled = sa.select(runs.c.last_step).where(runs.c.run_id == run_id)
            packed = sa.select(points.c.packed).where(points.c.run_id == run_id)
            found = [connection.execute(settled).scalar()]
            live = connection.execute(packed).scalars().all()
        found += [int(unpack(batch)["step"].max(initial=-1)) for batch in live]
        return max((step for step in found if step is not None and step >= 0), default=None)

    def plan_run(
        self, run_id: str, *, family: str, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Say that a run will come; planning it again replaces its hyper-parameters.

        Raises
        ------
        DataError
            If the run has already been started.
        ArgumentError
            If a name or value cannot be kept.
        """
        fresh = clean_attributes(attributes or {})
        check_run_id(run_id)
        with self._registry.write() as connection:
            bump(connection, "revision")
            row = _state(connection, run_id)
            if row is None:
                _insert(connection, run_id, family, "planned", fresh, attempt=0, token=0)
                return
            if row.status != "planned":
                msg = f"Run {run_id!r} is {row.status!r} and cannot be planned. Use another run_id."
                raise DataError(msg)
            values = {"attributes": fresh, "family": family, "updated": time.time()}
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

    def add_runs(self, runs: xr.Dataset, *, family: str | None = None) -> AddResult:
        """Add complete runs, straight into a new generation of consolidated curves: all or none.

        Parameters
        ----------
        runs : Dataset (run, obs)
            Ragged runs.
        family : str, optional
            Family to put them in, instead of the one they name.

        Returns
        -------
        AddResult
            Names of the runs added, of those that were there with the same content, of those
            whose run coordinates were stated anew, and of those that have grown: whose records
            are more than the store had, or were written on by a later attempt.

        Raises
        ------
        DataError
            If the data break the schema, or a run is there with other records; nothing is changed.
        """
        return add_change(self.root, self._registry, runs, family=family)

    def consolidate(self) -> int:
        """Move the points of ended runs into a new generation; return the number of runs moved."""
        return consolidate_change(self.root, self._registry)

    def check(self) -> tuple[str, ...]:
        """Verify everything the store holds; return the problems found, one sentence each."""
        return self._registry.problems() or self._stable(lambda now: find_problems(self.root, now))

    def export(
        self, path: str | os.PathLike[str], *, where: Sequence[Filter | str] = ()
    ) -> Exported:
        """Write runs to a file, every record of them, a block of runs at a time.

        Parameters
        ----------
        path : path
            ``.nc``, ``.zarr``, ``.parquet``, or a folder (no suffix, or ``.csv``) that gets
            ``runs.csv`` and ``curves.csv``.
        where : sequence of Filter or str
            Conditions as in `runs`.

        Returns
        -------
        Exported
            How many runs and records were written.

        Raises
        ------
        ArgumentError
            If the suffix is unknown, or the target exists.
        DataError
            If there is no run to write.
        """
        with complete_or_absent(Path(path)) as partial:

            def write(snapshot: Snapshot) -> Exported:
                settled = self._settled(snapshot)
                return export_runs(choose(snapshot, settled, where=where, statuses=None), partial)

            return self._stable(write, unsettled_only=True)

    def _settled(self, snapshot: Snapshot) -> xr.Dataset | None:
        return read_settled(self.root, snapshot)

    def _stable(self, read: Callable[[Snapshot], _T], *, unsettled_only: bool = False) -> _T:
        # Generation g is removed only after g + 2 was published. Zarr reads a missing chunk as
        # fill values, so what was read counts only if g + 1 was the newest when reading ended.
        while True:
            snapshot = take_snapshot(self._registry, unsettled_only=unsettled_only)
            failure: DataError | None = None
            try:
                found = read(snapshot)
            except DataError as error:
                failure = error
            with self._registry.read() as connection:
                newest = value_of(connection, "generation")
            if newest > snapshot.generation + 1:
                continue
            if failure is not None:
                raise failure
            return found


def _state(connection: sa.Connection, run_id: str) -> sa.Row[Any, Any, Any] | None:
    columns = (runs.c.status, runs.c.attempt, runs.c.attributes)
    return connection.execute(sa.select(*columns).where(runs.c.run_id == run_id)).first()


def _insert(
    connection: sa.Connection,
    run_id: str,
    family: str,
    status: str,
    attributes: dict[str, float | str],
    *,
    attempt: int,
    token: int,
) -> None:
    now = time.time()
    row = {"run_id": run_id, "family": family, "status": status, "attributes": attributes}
    times = {"heartbeat": now if status == "running" else None, "created": now, "updated": now}
    state = {"attempt": attempt, "token": token, "settled": False, "n_records": 0}
    connection.execute(sa.insert(runs), row | times | state)
