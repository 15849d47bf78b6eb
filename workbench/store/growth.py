"""What the records of an import add to a run that is in the store: nothing, more, or a conflict.

The rule: importing a log, and again when it has grown, gives what one import at the end would have
given, or one error. Records that only came to be more are added. Records that changed are another
run's, unless the log was plainly written on by a later attempt at the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.schema import LOSSES
from workbench.store.batches import Records, join, overlay


def grow(run_id: str, stored: Records, stated: Records) -> Records:
    """Return the records of a run after an import.

    Parameters
    ----------
    run_id : str
        For the error.
    stored, stated : dict of str to ndarray of shape (record,)
        What the store has and what the import says, each sorted by step, one record per step; NaN
        means not logged.

    Returns
    -------
    dict of str to ndarray of shape (record,)
        `stored` itself when the import adds nothing to it.

    Raises
    ------
    DataError
        If records changed, or belong to another run.
    """
    both = _compare(stored, stated)
    if not both.changed.any():
        _require_same_run(run_id, both)
        return stored if both.adds_nothing else join([stored, stated])
    first = int(both.common[both.changed][0])
    if not _is_later_attempt(both, first):
        raise DataError(_conflict(run_id, both))
    before = both.new_step < first
    unchanged = {name: values[before] for name, values in stated.items()}
    later = {name: values[~before] for name, values in stated.items()}
    return overlay(join([stored, unchanged]), later)


@dataclass(frozen=True)
class _Comparison:
    """The steps of both, and every column of both at the steps they have in common."""

    old_step: NDArray[np.int64]
    new_step: NDArray[np.int64]
    common: NDArray[np.int64]
    old: dict[str, NDArray[np.float64]]
    new: dict[str, NDArray[np.float64]]

    def differs(self, name: str) -> NDArray[np.bool_]:
        """Where both logged a value in a column, and not the same; shape (common,)."""
        old, new = self.old[name], self.new[name]
        return np.asarray(~np.isnan(old) & ~np.isnan(new) & (old != new), bool)

    def differs_in(self, names: tuple[str, ...]) -> NDArray[np.bool_]:
        found = np.zeros(len(self.common), bool)
        for name in names:
            if name in self.old:
                found |= self.differs(name)
        return found

    @property
    def changed(self) -> NDArray[np.bool_]:
        return self.differs_in(tuple(self.old))

    @property
    def adds_nothing(self) -> bool:
        return len(self.common) == len(self.new_step) and not any(
            (np.isnan(self.old[name]) & ~np.isnan(self.new[name])).any() for name in self.old
        )


def _compare(stored: Records, stated: Records) -> _Comparison:
    old_step = np.asarray(stored["step"], np.int64)
    new_step = np.asarray(stated["step"], np.int64)
    common, here, there = np.intersect1d(
        old_step, new_step, assume_unique=True, return_indices=True
    )
    names = [name for name in dict.fromkeys((*stored, *stated)) if name != "step"]
    old = {name: _column(stored, name)[here] for name in names}
    return _Comparison(
        old_step, new_step, common, old, {name: _column(stated, name)[there] for name in names}
    )


def _column(records: Records, name: str) -> NDArray[np.float64]:
    missing = np.full(len(records["step"]), np.nan)
    return np.asarray(records.get(name, missing), np.float64)


def _require_same_run(run_id: str, both: _Comparison) -> None:
    """Raise unless the steps are those of one log: the whole, its tail, its head, or what follows.

    A log that was rotated or written by a resumed process lacks steps at its beginning, an older
    copy of it lacks steps at its end; one that lacks steps in between is another log.
    """
    old, new = both.old_step, both.new_step
    if not len(new) or new[0] > old[-1]:
        return
    inside = old[(old >= new[0]) & (old <= new[-1])]
    if not len(both.common) or len(inside) != len(both.common):
        lacking = np.setdiff1d(inside, new)
        msg = (
            f"Run {run_id!r} is in the store already, with other records: one of the two lacks "
            f"step {lacking[0] if len(lacking) else new[0]}, in the midst of the other; nothing "
            "was changed. Give the imported run another run_id, or import it into another store."
        )
        raise DataError(msg)


def _is_later_attempt(both: _Comparison, first: int) -> bool:
    """Tell whether a training was taken up again before step `first`, and its log written on.

    Another training under the same name may begin with the same values (the same seed), and an
    edited log is no attempt. So wall times must say it: equal before, later than all that is stored
    where something changed. Without them at least half of the stored records must be untouched,
    the log go on beyond them, and most losses in between differ, as they do when steps are made
    again.
    """
    kept = both.old_step[both.old_step < first]
    lacking = np.setdiff1d(kept, both.new_step)
    if len(lacking) and lacking[-1] > both.new_step[0]:
        return False
    again = both.common >= first
    if "wall_time" in both.old:
        before, now = both.old["wall_time"], both.new["wall_time"]
        if not (np.isnan(before).any() or np.isnan(now).any()):
            if not (now[both.changed] > before.max()).all():
                return False
            if not again.all():  # the records before `first` have their wall times too
                return True
    goes_on = both.new_step[-1] > both.old_step[-1]
    redone = both.differs_in(LOSSES)[again].mean()
    return bool(goes_on and 2 * len(kept) >= len(both.old_step) and redone > 0.5)


def _conflict(run_id: str, both: _Comparison) -> str:
    i = int(np.flatnonzero(both.changed)[0])
    name = next(name for name in both.old if both.differs(name)[i])
    return (
        f"Run {run_id!r} is in the store already, with other records: {name} at step "
        f"{both.common[i]} is {both.old[name][i]:.17g} there and {both.new[name][i]:.17g} here; "
        "nothing was changed. Give the imported run another run_id, or import it into another "
        "store."
    )
