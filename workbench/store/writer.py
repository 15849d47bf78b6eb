"""Write one run: its points in batches, its heartbeat, its end."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from numpy.typing import ArrayLike

from workbench.errors import ArgumentError, DataError
from workbench.store.attributes import clean_attributes, clean_points
from workbench.store.batches import join, pack, unpack
from workbench.store.registry import Batch, Registry, bump, clock, points, runs, shard_of

EndStatus = Literal["done", "stopped", "failed"]
ENDS: tuple[EndStatus, ...] = ("done", "stopped", "failed")
FOLD_EVERY = 64


class TakenOverError(DataError):
    """The run belongs to another attempt by now, or has ended."""


class RunWriter:
    """The only one who may add points to a run; made by ``Store.start_run``.

    A later ``start_run`` of the same run takes over: from then on every call here raises
    `DataError`, so that a process thought dead cannot write into its successor's curve.

    Parameters
    ----------
    registry : Registry
        Of the store.
    run_id : str
        The run.
    attempt : int
        Which attempt at the run this is, from 1.
    token : int
        Fencing token: larger than that of any attempt before.
    """

    def __init__(self, registry: Registry, *, run_id: str, attempt: int, token: int) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self.token = token
        self._registry = registry
        self._sequence = 0
        # Runs that began together would otherwise fold at the same moment, each in the other's way.
        self._turn = zlib.crc32(run_id.encode()) % FOLD_EVERY

    def append(self, *, step: ArrayLike, **columns: ArrayLike) -> None:
        """Add points; they are kept, whatever happens to this process, once this returns.

        Parameters
        ----------
        step : int or array-like of int, shape (point,)
            Optimiser steps. A step logged again fills in or replaces what it had.
        **columns : float or array-like of shape (point,)
            ``train_loss``, ``eval_loss`` [nats/token], ``tokens``, ``learning_rate`` or any name
            of your own; NaN means not logged.

        Raises
        ------
        ArgumentError
            If a value is not a number or lengths differ.
        DataError
            If another process has taken over the run, or it has ended.
        """
        packed = pack(clean_points(step, columns))
        # The number is spent even when this raises: the points may have been kept all the same,
        # and what comes next must not pass for them.
        self._sequence += 1
        number = self._sequence

        def add(connection: sa.Connection, again: bool) -> None:
            if again and self._holds(connection, number):
                return
            self._claim(connection)
            row = {"run_id": self.run_id, "attempt": self.attempt, "sequence": number}
            connection.execute(sa.insert(points), row | {"packed": packed})
            if self._folds(number):
                self._fold(connection, number)
            bump(connection, shard_of(self.run_id))

        batch = Batch(self.run_id, self.attempt, self.token, number, packed)
        if self._folds(number) or not self._registry.add_at_once(batch):
            self._registry.transact(add)

    def describe(self, attributes: Mapping[str, Any]) -> None:
        """Add hyper-parameters to those the run has, or correct them.

        Raises
        ------
        ArgumentError
            If a name or value cannot be kept.
        DataError
            If another process has taken over the run, or it has ended.
        """
        fresh = clean_attributes(attributes)
        own = sa.select(runs.c.attributes).where(runs.c.run_id == self.run_id).with_for_update()

        def add(connection: sa.Connection, _again: bool) -> None:
            row = connection.execute(own).first()
            self._claim(connection, attributes=(row.attributes if row else {}) | fresh)
            bump(connection, shard_of(self.run_id))

        self._registry.transact(add)

    def heartbeat(self) -> None:
        """Say that the run is alive, without a point; `DataError` when it was taken over."""
        self._registry.transact(lambda connection, _again: self._claim(connection))

    def finish(self, status: EndStatus = "done") -> None:
        """End the run; no point can be added afterwards.

        Raises
        ------
        ArgumentError
            If `status` is not done, stopped or failed.
        DataError
            If another process has taken over the run, or it has ended.
        """
        if status not in ENDS:
            msg = f"a run ends as {', '.join(ENDS)}, found {status!r}."
            raise ArgumentError(msg)
        mine = (runs.c.run_id == self.run_id) & (runs.c.token == self.token)
        ended = sa.select(runs.c.run_id).where(mine & (runs.c.status == status))

        def end(connection: sa.Connection, again: bool) -> None:
            if again and connection.execute(ended).first() is not None:
                return
            self._claim(connection, status=status)
            bump(connection, shard_of(self.run_id))

        self._registry.transact(end, durable=True)

    def _folds(self, number: int) -> bool:
        return number % FOLD_EVERY == self._turn

    def _holds(self, connection: sa.Connection, number: int) -> bool:
        own = (points.c.run_id == self.run_id) & (points.c.attempt == self.attempt)
        kept = sa.select(points.c.sequence).where(own & (points.c.sequence == number))
        return connection.execute(kept).first() is not None

    def _claim(self, connection: sa.Connection, **values: Any) -> None:
        mine = (runs.c.run_id == self.run_id) & (runs.c.token == self.token)
        alive = sa.update(runs).where(mine & (runs.c.status == "running"))
        times = {"heartbeat": clock(), "updated": clock()}
        if connection.execute(alive.values(**times, **values)).rowcount == 1:
            return
        row = connection.execute(
            sa.select(runs.c.attempt, runs.c.status).where(runs.c.run_id == self.run_id)
        ).first()
        what = "is gone" if row is None else f"is {row.status!r} in attempt {row.attempt}"
        msg = (
            f"Attempt {self.attempt} of run {self.run_id!r} may not write any more: the run "
            f"{what}. "
            "Stop this process, or take the run over again with start_run."
        )
        raise TakenOverError(msg)

    def _fold(self, connection: sa.Connection, last: int) -> None:
        # Long runs would otherwise leave a row a second, each of which a reader has to fetch.
        own = (points.c.run_id == self.run_id) & (points.c.attempt == self.attempt)
        recent = own & (points.c.sequence > last - FOLD_EVERY)
        query = sa.select(points.c.packed).where(recent).order_by(points.c.sequence)
        folded = join([unpack(packed) for packed in connection.execute(query).scalars()])
        connection.execute(sa.delete(points).where(recent & (points.c.sequence < last)))
        whole = sa.update(points).where(own & (points.c.sequence == last))
        connection.execute(whole.values(packed=pack(folded)))


def check_run_id(run_id: str) -> str:
    """Return `run_id`, or raise `ArgumentError` when it cannot name a run."""
    if not isinstance(run_id, str) or not run_id.strip() or not run_id.isprintable():
        msg = f"run_id must be printable, non-empty text, found {run_id!r}."
        raise ArgumentError(msg)
    return run_id


def check_family(family: str) -> str:
    """Return `family`, or raise `ArgumentError` when it cannot name one."""
    if not isinstance(family, str) or not family.isprintable():
        msg = f"family must be printable text, found {family!r}."
        raise ArgumentError(msg)
    return family
