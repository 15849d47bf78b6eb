"""What the records of an import add to a run that is in the store: nothing, more, or a conflict.

The rule: importing a log, and again when it has grown, gives what one import at the end would have
given, or one error. Records that only came to be more are added. Records that changed are another
run's, unless the log was plainly written on by a later attempt at the same one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.schema import LOSSES
from workbench.store.batches import Records, join, overlay

_Steps = NDArray[np.int64]


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
    _, here, there = np.intersect1d(
        stored["step"], stated["step"], assume_unique=True, return_indices=True
    )
    differ = _differing(stored, stated, here, there)
    changed = np.logical_or.reduce([np.zeros(len(here), bool), *differ.values()])
    if not changed.any():
        _require_same_run(run_id, stored["step"], stated["step"], len(here))
        return stored if _adds_nothing(stored, stated, here, there) else join([stored, stated])
    first = int(stored["step"][here[changed][0]])
    if not _is_later_attempt(stored, stated, first, here, there, differ):
        raise DataError(_conflict(run_id, stored, stated, here, there, differ))
    before = stated["step"] < first
    unchanged = {name: values[before] for name, values in stated.items()}
    later = {name: values[~before] for name, values in stated.items()}
    return overlay(join([stored, unchanged]), later)


def _column(records: Records, name: str, index: _Steps) -> NDArray[np.float64]:
    if name not in records:
        return np.full(len(index), np.nan)
    return records[name][index].astype(np.float64)


def _names(*parts: Records) -> list[str]:
    return [name for name in dict.fromkeys(n for part in parts for n in part) if name != "step"]


def _differing(
    stored: Records, stated: Records, here: _Steps, there: _Steps
) -> dict[str, NDArray[np.bool_]]:
    """Return for each column where both logged a value at a step, and not the same."""
    out = {}
    for name in _names(stored, stated):
        old, new = _column(stored, name, here), _column(stated, name, there)
        out[name] = ~np.isnan(old) & ~np.isnan(new) & (old != new)
    return out


def _adds_nothing(stored: Records, stated: Records, here: _Steps, there: _Steps) -> bool:
    return len(here) == len(stated["step"]) and not any(
        (np.isnan(_column(stored, name, here)) & ~np.isnan(_column(stated, name, there))).any()
        for name in _names(stored, stated)
    )


def _require_same_run(run_id: str, stored: _Steps, stated: _Steps, common: int) -> None:
    """Raise unless the steps are those of one log: the whole, its tail, its head, or what follows.

    A log that was rotated or written by a resumed process lacks steps at its beginning, an older
    copy of it lacks steps at its end; one that lacks steps in between is another log.
    """
    if not len(stated) or stated[0] > stored[-1]:
        return
    inside = stored[(stored >= stated[0]) & (stored <= stated[-1])]
    if not common or len(inside) != common:
        at = int(np.setdiff1d(inside, stated)[0]) if len(inside) != common else int(stated[0])
        msg = (
            f"Run {run_id!r} is in the store already, with other records: one of the two lacks "
            f"step {at}, in the midst of the other; nothing was changed. Give the imported run "
            "another run_id, or import it into another store."
        )
        raise DataError(msg)


def _is_later_attempt(
    stored: Records,
    stated: Records,
    first: int,
    here: _Steps,
    there: _Steps,
    differ: dict[str, NDArray[np.bool_]],
) -> bool:
    """Tell whether a training was taken up again before `first`, and its log written on.

    Another training under the same name may begin with the same values (the same seed), and an
    edited log is no attempt. So wall times must say it: equal before, later than all that is stored
    from `first` on. Without them at least half of the stored records must be untouched, the log go
    on beyond them, and most losses in between differ, as they do when steps are made again.
    """
    missing = np.setdiff1d(stored["step"][stored["step"] < first], stated["step"])
    if len(missing) and missing[-1] > stated["step"][0]:
        return False
    times = _column(stated, "wall_time", there)
    again = stored["step"][here] >= first
    known = _column(stored, "wall_time", np.arange(len(stored["step"])))
    if not (np.isnan(times).any() or np.isnan(known).any()):
        redone = np.logical_or.reduce(list(differ.values()))
        return bool(not again.all() and (times[redone] > known.max()).all())
    losses = [differ[name] for name in LOSSES if name in differ]
    redone = np.logical_or.reduce(losses)[again] if losses else np.zeros(1, bool)
    kept = int((stored["step"] < first).sum())
    goes_on = stated["step"][-1] > stored["step"][-1]
    return bool(goes_on and 2 * kept >= len(stored["step"]) and redone.mean() > 0.5)


def _conflict(
    run_id: str,
    stored: Records,
    stated: Records,
    here: _Steps,
    there: _Steps,
    differ: dict[str, NDArray[np.bool_]],
) -> str:
    name, i = min(
        ((name, int(np.flatnonzero(where)[0])) for name, where in differ.items() if where.any()),
        key=lambda found: found[1],
    )
    step = int(stored["step"][here[i]])
    old, new = float(stored[name][here[i]]), float(stated[name][there[i]])
    return (
        f"Run {run_id!r} is in the store already, with other records: {name} at step {step} is "
        f"{old!r} there and {new!r} here; nothing was changed. Give the imported run another "
        "run_id, or import it into another store."
    )
