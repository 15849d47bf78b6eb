"""Stop decisions: somebody says that a run should end, and whoever trains it obeys.

A decision is not the end itself. It stands until it is withdrawn, so that a run stopped on purpose
is not taken up again by the next call that finds its family unfinished.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from workbench.errors import ArgumentError, DataError
from workbench.store.registry import Registry, clock, runs, stops


class Stops:
    """The stop decisions of a store; see ``Store.stops``.

    Parameters
    ----------
    registry : Registry
        Of the store.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def decide(self, run_id: str, *, reason: str) -> str:
        """Decide that a run should end; the trainer looks once a second.

        Parameters
        ----------
        run_id : str
            A run that is not done; one that is only planned will not begin.
        reason : str
            Why; the trainer keeps it with the run as ``stop_reason``.

        Returns
        -------
        str
            Status of the run at the moment of the decision.

        Raises
        ------
        DataError
            If there is no such run, or it is done.
        ArgumentError
            If `reason` is empty or not printable.
        """
        if not isinstance(reason, str) or not reason.strip() or not reason.isprintable():
            msg = f"reason must be printable, non-empty text, found {reason!r}."
            raise ArgumentError(msg)
        row = {"run_id": run_id, "reason": reason.strip(), "time": clock()}

        def decide(connection: sa.Connection, _again: bool) -> str:
            status = _status(connection, run_id)
            if status == "done":
                msg = f"Run {run_id!r} is done; there is nothing left to stop."
                raise DataError(msg)
            connection.execute(sa.delete(stops).where(stops.c.run_id == run_id))
            connection.execute(sa.insert(stops).values(**row))
            return status

        return self._registry.transact(decide, durable=True)

    def withdraw(self, run_id: str) -> bool:
        """Take a decision back, so that the run may be trained on; False where there was none.

        Raises
        ------
        DataError
            If there is no such run.
        """

        def withdraw(connection: sa.Connection, _again: bool) -> bool:
            _status(connection, run_id)
            found = connection.execute(sa.delete(stops).where(stops.c.run_id == run_id))
            return found.rowcount > 0

        return self._registry.transact(withdraw, durable=True)

    def reasons(self, run_ids: Sequence[str] | None = None) -> dict[str, str]:
        """Return the decisions that stand, as reasons by run; cheap to poll.

        Parameters
        ----------
        run_ids : sequence of str, optional
            Runs to look at; all of the store by default.
        """
        query = sa.select(stops.c.run_id, stops.c.reason)
        if run_ids is not None:
            query = query.where(stops.c.run_id.in_(run_ids))
        return self._registry.query(
            lambda connection: {row.run_id: row.reason for row in connection.execute(query)}
        )


def _status(connection: sa.Connection, run_id: str) -> str:
    # Locked: its own writer may be ending it at this moment.
    query = sa.select(runs.c.status).where(runs.c.run_id == run_id).with_for_update()
    status = connection.execute(query).scalar()
    if status is None:
        msg = f"There is no run {run_id!r} in this store. See: workbench runs"
        raise DataError(msg)
    return str(status)
