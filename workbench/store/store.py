"""The store: a folder of runs that many processes may write and read at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import sqlalchemy as sa
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.schema import STATUSES, Filter, add_history
from workbench.store.address import Address, to_address
from workbench.store.attributes import clean_attributes
from workbench.store.check import find_problems
from workbench.store.consolidate import AddResult, add_change, consolidate_change
from workbench.store.export import export_runs
from workbench.store.places import open_database, require_own_folder, require_vacant
from workbench.store.registry import Registry, bump, clock, revision_of, runs, value_of
from workbench.store.repair import Repair, repair_store
from workbench.store.snapshot import Snapshot, read_settled, select, take_snapshot
from workbench.store.sqlite import SqliteRegistry
from workbench.store.table import run_table
from workbench.store.writer import RunWriter, check_family, check_run_id
from workbench.text import plural

REGISTRY = "registry.sqlite"
_T = TypeVar("_T")


def open_store(
    path: str | os.PathLike[str] | Address, *, create: bool = False, curves: str | None = None
) -> Store:
    """Open a store: in a folder, or on PostgreSQL.

    Parameters
    ----------
    path : path, str or Address
        Folder of the store, or ``postgresql://user:password@host/database``. The password may
        also come from where PostgreSQL's own tools take it: PGPASSWORD or ~/.pgpass.
    create : bool
        Make it when it is missing.
    curves : str, optional
        Where a new store on PostgreSQL keeps its consolidated curves: an empty or a new folder
        that every machine reaches under the same name. It is written into the registry, so that
        later the URL is enough. ``?curves=`` at the end of the URL says the same.

    Returns
    -------
    Store

    Raises
    ------
    ArgumentError
        If there is no store, the URL is of another kind, or the store has its curves elsewhere.
    DataError
        If it is damaged, cannot be reached, or was written by a newer version of the workbench.
    """
    address = to_address(path, curves=curves)
    if address.url is not None:
        return Store(*open_database(address, create=create), address)
    root = Path(str(address.root))
    if address.curves is not None:
        msg = (
            f"a store in a folder keeps its curves there; leave curves={address.curves!r} away, "
            "or name a database."
        )
        raise ArgumentError(msg)
    if not (root / REGISTRY).is_file():
        _may_create(root, create=create)
        root.mkdir(parents=True, exist_ok=True)
        return Store(root, SqliteRegistry.create(root / REGISTRY))
    return Store(root, SqliteRegistry.open(root / REGISTRY))


def _may_create(root: Path, *, create: bool) -> None:
    if not create:
        msg = (
            f"There is no store at {str(root)!r}. Make one with: workbench import LOG --store "
            f"{root}, or: workbench train --store {root}; or name another one with --store."
        )
        raise ArgumentError(msg)
    require_vacant(root, besides=REGISTRY)


class Store:
    """Runs: a registry with the live points, and consolidated curves.

    Any number of processes may write and read it at once: on one machine where the registry is a
    file, on any that reaches the server where it is a database. Made by `open_store`.

    Parameters
    ----------
    root : Path
        Folder of the consolidated curves.
    registry : Registry
        The registry.
    address : Address, optional
        Where another process opens the same store; by default the folder.
    """

    def __init__(self, root: Path, registry: Registry, address: Address | None = None) -> None:
        self.root = root
        self.address = address or to_address(root)
        self._registry = registry

    def __repr__(self) -> str:
        return f"Store({str(self.address)!r})"

    @property
    def name(self) -> str:
        """Name for people: that of the folder, or of the database."""
        return self.address.name

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._registry.close()

    def revision(self) -> int:
        """Return a number that grows with every change a reader could see; cheap to poll."""
        with self._registry.read() as connection:
            return revision_of(connection)

    def table(self) -> pd.DataFrame:
        """Return one row per run, planned ones too, in the order they came.

        Returns
        -------
        DataFrame
            ``run_id``, ``family``, ``status``, ``lost`` (it says it is running, and has not been
            heard of for two minutes), ``last_step``, ``n_records``, ``final_train_loss``,
            ``final_eval_loss`` (last finite values) [nats/token] and the hyper-parameters.
        """
        return self._stable(lambda snapshot: run_table(snapshot, self._settled(snapshot)))

    def runs(
        self,
        *,
        where: Sequence[Filter | str] = (),
        status: str | Sequence[str] | None = None,
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

        Returns
        -------
        Dataset (run, obs)
            In the schema, in memory; without runs when there are none.

        Raises
        ------
        DataError
            If no run meets `where`, or the store is damaged.
        ArgumentError
            If a filter names an unknown coordinate, or a status is unknown.
        """
        statuses = (status,) if isinstance(status, str) else status
        unknown = [s for s in statuses or () if s not in STATUSES]
        if unknown:
            msg = f"status {unknown[0]!r} is unknown. Use one of {', '.join(STATUSES)}."
            raise ArgumentError(msg)
        wanted = None if statuses is None else tuple(statuses)

        def read(snapshot: Snapshot) -> xr.Dataset:
            settled = self._settled(snapshot)
            found = select(snapshot, settled, where=where, statuses=wanted)
            found.attrs["store_revision"] = snapshot.revision
            return add_history(
                found, f"opened {plural(found.sizes['run'], 'run')} of {self.name!r}"
            )

        return self._stable(read)

    def start_run(
        self, run_id: str, *, family: str, attributes: Mapping[str, Any] | None = None
    ) -> RunWriter:
        """Begin a run, or take over one that was planned, did not finish, or was lost.

        Parameters
        ----------
        run_id : str
            Unique name.
        family : str
            Runs that share a recipe.
        attributes : mapping of str to number or text, optional
            Hyper-parameters; on a resumed run they are added to those it has.

        Returns
        -------
        RunWriter

        Raises
        ------
        DataError
            If the run is done.
        ArgumentError
            If a name or value cannot be kept.
        """
        fresh = clean_attributes(attributes or {})
        check_run_id(run_id)
        check_family(family)

        def start(connection: sa.Connection, _again: bool) -> RunWriter:
            # Begun twice, it takes over from itself: an attempt without a point.
            token = bump(connection, "revision")
            row = _state(connection, run_id)
            attempt = 1 if row is None else row.attempt + 1
            writer = RunWriter(self._registry, run_id=run_id, attempt=attempt, token=token)
            if row is None:
                _insert(connection, run_id, family, "running", fresh, attempt=1, token=token)
                return writer
            if row.status == "done":
                msg = (
                    f"Run {run_id!r} is done; its curve cannot be added to. Use another run_id, "
                    "or read it with Store.runs()."
                )
                raise DataError(msg)
            taken = {"attempt": attempt, "token": token, "settled": False, "folded": None}
            state = {"family": family, "status": "running"}
            times = {"heartbeat": clock(), "updated": clock()}
            values = {"attributes": row.attributes | fresh, **taken, **state, **times}
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))
            return writer

        return self._registry.transact(start, durable=True)

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
        check_family(family)

        def plan(connection: sa.Connection, _again: bool) -> None:
            bump(connection, "revision")
            row = _state(connection, run_id)
            if row is None:
                _insert(connection, run_id, family, "planned", fresh, attempt=0, token=0)
                return
            if row.status != "planned":
                msg = f"Run {run_id!r} is {row.status!r} and cannot be planned. Use another run_id."
                raise DataError(msg)
            values = {"attributes": fresh, "family": family, "updated": clock()}
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))

        self._registry.transact(plan)

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
            Names of the runs added, and of those that were there with the same content.

        Raises
        ------
        DataError
            If the data break the schema, or a run is there with other content; nothing is changed.
        """
        require_own_folder(self.root, self._registry)
        return add_change(self.root, self._registry, runs, family=family)

    def consolidate(self) -> int:
        """Move the points of ended runs into a new generation; return the number of runs moved."""
        require_own_folder(self.root, self._registry)
        return consolidate_change(self.root, self._registry)

    def check(self) -> tuple[str, ...]:
        """Verify everything the store holds; return the problems found, one sentence each."""
        return self._registry.problems() or self._stable(
            lambda now: find_problems(self.root, now), everything=True
        )

    def repair(self) -> Repair:
        """Repair what can be repaired, never by dropping a point; say what was done and is left.

        Returns
        -------
        Repair
        """
        require_own_folder(self.root, self._registry)
        broken = self._registry.problems()
        done = () if broken else repair_store(self.root, self._registry)
        return Repair(done, broken or self.check())

    def export(self, path: str | os.PathLike[str], *, where: Sequence[Filter | str] = ()) -> None:
        """Write runs to a file, every record of them.

        Parameters
        ----------
        path : path
            ``.nc``, ``.zarr``, ``.parquet``, or a folder (no suffix, or ``.csv``) that gets
            ``runs.csv`` and ``curves.csv``.
        where : sequence of Filter or str
            Conditions as in `runs`.

        Raises
        ------
        ArgumentError
            If the suffix is unknown, or the target exists.
        DataError
            If there is no run to write.
        """
        export_runs(self.runs(where=where), Path(path))

    def _settled(self, snapshot: Snapshot) -> xr.Dataset | None:
        return read_settled(self.root, snapshot)

    def _stable(self, read: Callable[[Snapshot], _T], *, everything: bool = False) -> _T:
        # Generation g is removed only after g + 2 was published. Zarr reads a missing chunk as
        # fill values, so what was read counts only if g + 1 was the newest when reading ended.
        while True:
            snapshot = take_snapshot(self._registry, everything=everything)
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
    # Locked: its own writer may be ending it at this moment.
    columns = (runs.c.status, runs.c.attempt, runs.c.attributes)
    query = sa.select(*columns).where(runs.c.run_id == run_id).with_for_update()
    return connection.execute(query).first()


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
    row = {"run_id": run_id, "family": family, "status": status, "attributes": attributes}
    beat = clock() if status == "running" else None
    times = {"heartbeat": beat, "created": clock(), "updated": clock()}
    state = {"attempt": attempt, "token": token, "settled": False, "n_records": 0}
    connection.execute(sa.insert(runs).values(**row, **times, **state))
