"""The store: runs that many processes may write and read at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import xarray as xr

from workbench.errors import ArgumentError
from workbench.schema import STATUSES, Filter, add_history
from workbench.store.address import Address, to_address
from workbench.store.check import find_problems
from workbench.store.chosen import choose
from workbench.store.claims import last_step, plan_run, start_run
from workbench.store.consolidate import AddResult, add_change, consolidate_change
from workbench.store.export import Exported, complete_or_absent, export_runs
from workbench.store.folder import FolderTier
from workbench.store.history import Moment
from workbench.store.lazy import Chunks, lazy_runs
from workbench.store.moments import kept, read_now, read_past
from workbench.store.places import open_places
from workbench.store.registry import Registry, revision_of
from workbench.store.repair import Repair, repair_store
from workbench.store.snapshot import Snapshot, lost_runs, read_settled
from workbench.store.stops import Stops
from workbench.store.table import run_table
from workbench.store.tier import CurveTier, Generation
from workbench.store.writer import RunWriter
from workbench.text import plural

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
        Where a new store keeps its consolidated curves. ``s3://bucket/prefix``, with
        ``?endpoint=...&region=...&keep_days=30`` where needed, works for every store; credentials
        are those of the AWS tools, from the environment or their configuration files. A store on
        PostgreSQL may have them in a folder instead, empty or new, that every machine reaches
        under the same name. The place is written into the registry, so that later `path` is
        enough. ``?curves=`` at the end of a database's URL says the same.

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
    return Store(*open_places(address, create=create), address)


class Store:
    """Runs: a registry with the live points, and consolidated curves.

    Any number of processes may write and read it at once: on one machine where the registry is a
    file, on any that reaches the server where it is a database. Made by `open_store`.

    Parameters
    ----------
    registry : Registry
        The registry.
    curves : CurveTier
        Where the consolidated curves lie.
    address : Address
        Where another process opens the same store.
    """

    def __init__(self, registry: Registry, curves: CurveTier, address: Address) -> None:
        self.address = replace(address, curves=None)
        self._registry = registry
        self._curves = curves

    def __repr__(self) -> str:
        return f"Store({str(self.address)!r})"

    @property
    def name(self) -> str:
        """Name for people: that of the folder, or of the database."""
        return self.address.name

    @property
    def root(self) -> Path | None:
        """Folder of the consolidated curves; None where they lie elsewhere."""
        return self._curves.root if isinstance(self._curves, FolderTier) else None

    @property
    def stops(self) -> Stops:
        """The decisions that runs should end."""
        return Stops(self._registry)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._registry.close()

    def revision(self) -> int:
        """Return a number that grows with every change a reader could see; cheap to poll."""
        with self._registry.read() as connection:
            return revision_of(connection)

    def lost(self) -> frozenset[str]:
        """Return the runs that say they are running and have not been heard of for two minutes.

        Cheap to poll; a run becomes lost without any change of `revision`.
        """
        return lost_runs(self._registry)

    def history(self) -> list[Generation]:
        """Return the generations of consolidated curves that can still be read, oldest first.

        Returns
        -------
        list of (generation, time, n_runs, snapshot)
            In a folder the last two; on S3 those of the last ``keep_days`` and more.
        """
        return kept(self._registry)

    def table(self, *, at: Moment | None = None) -> pd.DataFrame:
        """Return one row per run, planned ones too, in the order they came.

        Parameters
        ----------
        at : int, str or datetime, optional
            An earlier state of the consolidated curves, as for `runs`.

        Returns
        -------
        DataFrame
            ``run_id``, ``family``, ``status``, ``lost`` (it says it is running, and has not been
            heard of for two minutes), ``last_step``, ``n_records``, ``final_train_loss``,
            ``final_eval_loss`` (last finite values) [nats/token] and the hyper-parameters.
        """
        if at is not None:
            return self._past(at, run_table, summarised=True)

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
        at: Moment | None = None,
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
            Leave the records of consolidated runs where they are, as Dask arrays in blocks of about
            this many records; blocks end where runs end. They can be computed until the store has
            removed the curves they lie in: open it again after that.
        at : int, str or datetime, optional
            Read an earlier state of the consolidated curves instead, without what is live: a
            generation's number, a snapshot's identifier, or a date and time (UTC without an
            offset), which means the last generation published until then. See `history`.

        Returns
        -------
        Dataset (run, obs)
            In the schema; in memory unless `chunks` is given; without runs when there are none.

        Raises
        ------
        DataError
            If no run meets `where`, the store is damaged, or `at` is not kept.
        ArgumentError
            If a filter names an unknown coordinate, a status is unknown, `chunks` cannot be, or
            `at` is no moment.
        """
        statuses = (status,) if isinstance(status, str) else status
        unknown = [s for s in statuses or () if s not in STATUSES]
        if unknown:
            msg = f"status {unknown[0]!r} is unknown. Use one of {', '.join(STATUSES)}."
            raise ArgumentError(msg)
        wanted = None if statuses is None else tuple(statuses)

        def read(snapshot: Snapshot, settled: xr.Dataset | None) -> xr.Dataset:
            chosen = choose(snapshot, settled, where=where, statuses=wanted)
            found = chosen.read() if chunks is None else lazy_runs(chosen, chunks)
            found.attrs["store_revision"] = snapshot.revision
            when = "" if at is None else f", generation {snapshot.generation}"
            return add_history(
                found, f"opened {plural(found.sizes['run'], 'run')} of {self.name!r}{when}"
            )

        return self._read(read, at=at)

    def start_run(
        self,
        run_id: str,
        *,
        family: str,
        attributes: Mapping[str, Any] | None = None,
        reopen: bool = False,
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
        return start_run(
            self._registry, run_id, family=family, attributes=attributes, reopen=reopen
        )

    def last_step(self, run_id: str) -> int | None:
        """Return the largest step a run has in the store; None without one."""
        return last_step(self._registry, run_id)

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
        plan_run(self._registry, run_id, family=family, attributes=attributes)

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
        return add_change(self._curves, self._registry, runs, family=family)

    def consolidate(self) -> int:
        """Move the points of ended runs into a new generation; return the number of runs moved."""
        return consolidate_change(self._curves, self._registry)

    def check(self) -> tuple[str, ...]:
        """Verify everything the store holds; return the problems found, one sentence each."""
        return self._registry.problems() or self._stable(
            lambda now: find_problems(self._curves, now, self.history()), everything=True
        )

    def repair(self) -> Repair:
        """Repair what can be repaired, never by dropping a point; say what was done and is left.

        Returns
        -------
        Repair
        """
        broken = self._registry.problems()
        done = () if broken else repair_store(self._curves, self._registry)
        return Repair(done, broken or self.check())

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        where: Sequence[Filter | str] = (),
        at: Moment | None = None,
    ) -> Exported:
        """Write runs to a file, every record of them, a block of runs at a time.

        Parameters
        ----------
        path : path
            ``.nc``, ``.zarr``, ``.parquet``, or a folder (no suffix, or ``.csv``) that gets
            ``runs.csv`` and ``curves.csv``.
        where : sequence of Filter or str
            Conditions as in `runs`.
        at : int, str or datetime, optional
            An earlier state, as in `runs`.

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

            def write(snapshot: Snapshot, settled: xr.Dataset | None) -> Exported:
                return export_runs(choose(snapshot, settled, where=where, statuses=None), partial)

            return self._read(write, at=at)

    def _read(self, read: Callable[[Snapshot, xr.Dataset | None], _T], *, at: Moment | None) -> _T:
        if at is not None:
            return self._past(at, read, summarised=False)
        return self._stable(lambda now: read(now, self._settled(now)), unsettled_only=True)

    def _settled(self, snapshot: Snapshot) -> xr.Dataset | None:
        return read_settled(self._curves, snapshot)

    def _stable(self, read: Callable[[Snapshot], _T], **asked: bool) -> _T:
        return read_now(self._registry, self._curves, read, **asked)

    def _past(
        self, at: Moment, read: Callable[[Snapshot, xr.Dataset], _T], *, summarised: bool
    ) -> _T:
        place = str(self.address)
        return read_past(
            self._registry, self._curves, read, at=at, place=place, summarised=summarised
        )
