"""What a reader collects of one run: its settings, and every column's values by step.

Each column is a series of its own, because tools log training and validation at different steps,
out of order, and again after a restart. At a step that a column has several times the value
logged last counts, so a reader adds the attempts of a run in the order they were started.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.errors import DataError
from workbench.io.result import Parsed, SkippedSource
from workbench.schema import RECORD_FIELDS, RUN_FIELDS, canonical_record_name, canonical_run_name
from workbench.store.batches import Records
from workbench.store.snapshot import column
from workbench.text import plural

_STEP_LIMIT = 2**53  # beyond it a float no longer tells neighbouring steps apart
_RESERVED = ("run", "obs", "row_size")


class RunLog:
    """One run as a reader finds it.

    Parameters
    ----------
    run_id : str
        Name of the run.
    source : str
        Where it is read from, for notes and errors.

    Attributes
    ----------
    settings : dict of str to number or text
        Run coordinates, under canonical or own names; None, NaN and "" mean not recorded.
    notes : list of str
        Decisions the reader made.
    """

    def __init__(self, run_id: str, *, source: str) -> None:
        self.run_id = run_id
        self.source = source
        self.settings: dict[str, Any] = {}
        self.notes: list[str] = []
        self._steps: dict[str, array[int]] = {}
        self._values: dict[str, array[float]] = {}
        self._left_out: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of values added."""
        return sum(map(len, self._steps.values()))

    def add(self, step: float | None, values: Mapping[str, float]) -> None:
        """Add the values of one step; without a usable step they are counted as left out.

        Parameters
        ----------
        step : number or None
            Optimiser step.
        values : mapping of str to float
            What was logged; NaN is a value like any other, an absent name was not logged.
        """
        if step is None or not math.isfinite(step):
            self.leave_out("record without a step")
        elif step < 0 or step % 1 or step >= _STEP_LIMIT:
            self.leave_out("record whose step is no whole number from 0")
        else:
            for name, value in values.items():
                if name not in self._steps:
                    self._steps[name], self._values[name] = array("q"), array("d")
                self._steps[name].append(int(step))
                self._values[name].append(value)

    def add_series(self, name: str, steps: ArrayLike, values: ArrayLike) -> None:
        """Add one column's values in the order they were logged.

        Parameters
        ----------
        name : str
            Column.
        steps, values : array-like of shape (point,)
            Steps that are no whole number from 0 are counted as left out.
        """
        given, logged = np.asarray(steps, np.float64), np.asarray(values, np.float64)
        with np.errstate(invalid="ignore"):  # of infinity there is no rest
            usable = (given >= 0) & (given < _STEP_LIMIT) & (given % 1 == 0)  # False for NaN
        if not usable.all():
            self.leave_out("record without a usable step", int((~usable).sum()))
            given, logged = given[usable], logged[usable]
        if name not in self._steps:
            self._steps[name], self._values[name] = array("q"), array("d")
        self._steps[name].frombytes(given.astype(np.int64).tobytes())
        self._values[name].frombytes(logged.tobytes())

    def columns(self) -> list[str]:
        """Return the names under which values were added."""
        return list(self._steps)

    def has(self, name: str) -> bool:
        """Tell whether a column of this canonical name has a finite value."""
        return any(
            canonical_record_name(given) == name and bool(np.isfinite(values).any())
            for given, values in self._values.items()
        )

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count something that is not imported; the report says how many of each.

        Parameters
        ----------
        what : str
            Singular, such as "record without a step"; its plural is made of the first word.
        count : int
            How many.
        """
        self._left_out[what] += count

    def records(self) -> Records:
        """Return one record a step: sorted, the value logged last in each column.

        Returns
        -------
        dict of str to ndarray of shape (record,)
            ``step`` and the columns, under canonical names where the schema knows them.
        """
        series = {
            name: last_of_each(np.asarray(self._steps[name]), np.asarray(self._values[name]))
            for name in self._steps
        }
        steps = np.sort(np.concatenate([np.empty(0, np.int64), *(s for s, _ in series.values())]))
        steps = steps[np.diff(steps, prepend=-1) > 0]
        names = _column_names(series)
        records: Records = {"step": steps.astype(np.int64)}
        for given, (own, values) in series.items():
            if names[given] == "step":
                continue
            full = np.full(len(steps), np.nan)
            full[np.searchsorted(steps, own)] = values
            records[names[given]] = full
        return records

    def remarks(self) -> list[str]:
        """Return the notes, with what was left out or replaced, one sentence each."""
        said = [
            f"{self.source}: {note}" if self.source not in note else note for note in self.notes
        ]
        for what, count in self._left_out.items():
            first, _, rest = what.partition(" ")
            said.append(f"{self.source}: left out {plural(count, first)} {rest}".rstrip())
        given = [np.asarray(steps) for steps in self._steps.values()]
        again = sum(len(steps) - len(last_of_each(steps, steps)[0]) for steps in given)
        if again:
            said.append(
                f"{self.source}: {plural(again, 'value')} of {self.run_id!r} logged again at a "
                "step that had one (a restart); the value logged last was kept"
            )
        return said


def parsed(logs: Sequence[RunLog], *, skipped: Sequence[SkippedSource] = ()) -> Parsed:
    """Turn run logs into what a reader returns; runs without a record are skipped by name.

    Raises
    ------
    DataError
        If no run has a record.
    """
    filled = [log for log in logs if len(log)]
    empty = [
        SkippedSource(source=f"{log.source}: {log.run_id}", reason="it has no record")
        for log in logs
        if not len(log)
    ]
    if not filled:
        where = logs[0].source if logs else "The source"
        msg = f"{where} holds no record. Import it when the first one has been written."
        raise DataError(msg)
    records = [log.records() for log in filled]
    notes = tuple(note for log in logs for note in log.remarks())
    return Parsed(_ragged(filled, records), skipped=(*skipped, *empty), notes=notes)


def _ragged(logs: Sequence[RunLog], records: Sequence[Records]) -> xr.Dataset:
    from workbench.io.columns import ragged

    columns = {name for part in records for name in part}
    settings = [_run_settings(log, columns) for log in logs]
    coords: dict[str, NDArray[np.generic]] = {
        name: column([own.get(name) for own in settings])
        for name in dict.fromkeys(name for own in settings for name in own)
    }
    return ragged(coords | {"run_id": np.array([log.run_id for log in logs])}, records)


def _run_settings(log: RunLog, columns: set[str]) -> dict[str, Any]:
    """Return settings under usable names; one called like a column becomes ``run_NAME``."""
    own: dict[str, Any] = {}
    for given in sorted(log.settings, key=lambda name: name not in RUN_FIELDS):
        value = log.settings[given]
        if value is None or value == "" or value != value:
            continue
        name = canonical_run_name(given)
        name = name if name in RUN_FIELDS and name not in own else usable_name(given)
        name = f"run_{name}" if name in columns and name not in RUN_FIELDS else name
        own.setdefault(name, float(value) if isinstance(value, bool) else value)
    return own


def usable_name(name: str) -> str:
    """Return a variable name that every file format takes: letters, digits and ``_ . + -``."""
    plain = re.sub(r"[^\w.+-]+", "_", name).strip(".+-") or "unnamed"
    return f"{plain}_" if plain in _RESERVED else plain


def _column_names(given: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each column: the schema's where it knows it, else a usable own one."""
    names: dict[str, str] = {}
    for name in sorted(given, key=lambda n: n not in RECORD_FIELDS):
        known = canonical_record_name(name)
        wanted = known if known in RECORD_FIELDS and known not in names.values() else ""
        plain = wanted or usable_name(name)
        while plain in names.values() or (plain in RECORD_FIELDS and not wanted):
            plain += "_"
        names[name] = plain
    return names


def last_of_each(steps: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return steps sorted without repetition, and of the values of each the one that came last."""
    if len(steps) < 2 or (np.diff(steps) > 0).all():
        return steps, values
    order = np.argsort(steps, kind="stable")
    ends = np.flatnonzero(np.diff(steps[order], append=steps[order[-1]] + 1))
    return steps[order][ends], values[order][ends]
