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
_LONGEST_NAME, _LONGEST_COLUMN = 1000, 200
_CELLS, _SPARSEST = 1 << 26, 64  # a table over half a GiB needs a value in 64 cells at least


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
        self.run_id = plain_text(run_id)
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
                if name in self._steps or self._start(name, 1):
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
        given, logged = np.asarray(steps), np.asarray(values, np.float64)
        if given.dtype.kind not in "iu":
            given = given.astype(np.float64)
        usable = usable_steps(given)
        if not usable.all():
            self.leave_out("record without a usable step", int((~usable).sum()))
            given, logged = given[usable], logged[usable]
        if name in self._steps or self._start(name, len(given)):
            _append(self._steps[name], given)
            _append(self._values[name], logged)

    def _start(self, name: str, count: int) -> bool:
        """Start a column, unless its name is too long to be one; count what is left out then."""
        if len(name) > _LONGEST_COLUMN:
            self.leave_out(f"value under a name of over {_LONGEST_COLUMN} characters", count)
            return False
        self._steps[name], self._values[name] = array("q"), array("d")
        return True

    def has(self, name: str) -> bool:
        """Tell whether a column of this canonical name has a finite value."""
        return any(
            canonical_record_name(given) == name and bool(np.isfinite(values).any())
            for given, values in self._values.items()
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns added, in that order."""
        return tuple(self._steps)

    def rename(self, column: str, name: str) -> None:
        """Give a column another name; one that has values must not have it."""
        if name in self._steps:
            msg = f"{self.source} has a column {name!r} already; {column!r} cannot be called so."
            raise DataError(msg)
        self._steps[name] = self._steps.pop(column)
        self._values[name] = self._values.pop(column)

    def last_of(self, column: str) -> float:
        """Return the value of a column that was logged last at its greatest step."""
        steps = np.asarray(self._steps[column])
        return self._values[column][int(np.flatnonzero(steps == steps.max())[-1])]

    def same(self, column: str, other: str) -> bool:
        """Tell whether two columns hold the same values at the same steps."""
        values, others = (np.asarray(self._values[name]) for name in (column, other))
        return self._steps[column] == self._steps[other] and np.array_equal(
            values, others, equal_nan=True
        )

    def drop(self, column: str) -> None:
        """Take a column out again."""
        del self._steps[column], self._values[column]

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
        steps = _all_of([own for own, _ in series.values()])
        names = _column_names(series)
        records: Records = {"step": steps}
        for given, (own, values) in series.items():
            if names[given] == "step":
                continue
            full = np.full(len(steps), np.nan)
            full[slice(None) if len(own) == len(steps) else np.searchsorted(steps, own)] = values
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
        again = sum(self._replaced(name) for name in self._steps)
        if again:
            said.append(
                f"{self.source}: {plural(again, 'value')} of {self.run_id!r} logged again at a "
                "step that had one (a restart); the value logged last was kept"
            )
        return said

    def _replaced(self, name: str) -> int:
        """Return how many values another one replaces; the same value again replaces none."""
        steps, values = np.asarray(self._steps[name]), np.asarray(self._values[name])
        own, kept = last_of_each(steps, values)
        if len(own) == len(steps):
            return 0
        last = kept[np.searchsorted(own, steps)]
        return int(((last != values) & ~(np.isnan(last) & np.isnan(values))).sum())


def parsed(
    logs: Sequence[RunLog],
    *,
    skipped: Sequence[SkippedSource] = (),
    about: RunLog | None = None,
) -> Parsed:
    """Turn run logs into what a reader returns; runs without a record are skipped by name.

    Parameters
    ----------
    logs : sequence of RunLog
        The runs.
    skipped : sequence of {source, reason}
        What the reader left out by name.
    about : RunLog, optional
        What is to be said of a file of several runs as a whole; no run itself.

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
        named = [log for log in (about, *logs) if log is not None]  # an empty log is falsy
        where = named[0].source if named else "The source"
        why = "; ".join(dict.fromkeys(note for log in logs for note in log.remarks()[:3]))[:300]
        said = f" ({why})" if why else ""
        msg = f"{where} holds no record{said}. Import it when the first one has been written."
        raise DataError(msg)
    _require_names(filled)
    _require_dense(filled)
    records = [log.records() for log in filled]
    told = [*logs, about] if about is not None else logs
    notes = tuple(note for log in told for note in log.remarks())
    return Parsed(_ragged(filled, records), skipped=(*skipped, *empty), notes=notes)


def _require_names(logs: Sequence[RunLog]) -> None:
    long = next((log for log in logs if len(log.run_id) > _LONGEST_NAME), None)
    if long is not None:
        msg = (
            f"{long.source} names a run with {len(long.run_id)} characters, {long.run_id[:40]!r}…. "
            f"Run names have at most {_LONGEST_NAME}."
        )
        raise DataError(msg)


def _require_dense(logs: Sequence[RunLog]) -> None:
    """Refuse logs whose table would be almost empty and too large for the memory."""
    columns = {name for log in logs for name in log.columns}
    records = sum(max((len(s) for s in log._steps.values()), default=0) for log in logs)
    settings = {name for log in logs for name in log.settings}
    tables = (
        ("columns", len(columns) * records, sum(map(len, logs))),
        ("settings", len(settings) * len(logs), sum(len(log.settings) for log in logs)),
    )
    for what, cells, values in tables:
        if cells > _CELLS and cells > _SPARSEST * values:
            msg = (
                f"{logs[0].source} holds {values} values under so many {what} that a table of them "
                f"has {cells} cells. Write fewer {what}, or the runs in separate files."
            )
            raise DataError(msg)


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
        value = plain_text(value) if isinstance(value, str) else value
        own.setdefault(name, float(value) if isinstance(value, bool) else value)
    return own


def usable_steps(steps: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which steps are whole numbers from 0; NaN is not."""
    usable: NDArray[np.bool_] = (steps >= 0) & (steps < _STEP_LIMIT)
    if steps.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # a signalling NaN
            usable &= np.floor(steps) == steps
    return usable


def _append(column: array[Any], more: NDArray[Any]) -> None:
    column.frombytes(np.ascontiguousarray(more, column.typecode).data.cast("B"))


def _all_of(series: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the steps of all series, each of which is sorted without repetition."""
    first = max(series, key=len, default=np.empty(0, np.int64))
    others = [steps for steps in series if not np.array_equal(steps, first)]
    if not others:
        return first.copy()
    steps = np.sort(np.concatenate([first, *others]))
    return steps[np.diff(steps, prepend=-1) > 0]


def plain_text(text: str) -> str:
    """Return text that every file and database takes: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "�").encode("utf-8", errors="replace").decode()


def usable_name(name: str) -> str:
    """Return a variable name that every file format takes: letters, digits and ``_ . + -``."""
    plain = re.sub(r"[^\w.+-]+", "_", name).strip(".+-") or "unnamed"
    return f"{plain}_" if plain in _RESERVED else plain


def _column_names(given: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each column: the schema's where it knows it, else a usable own one."""
    names: dict[str, str] = {}
    for name in sorted(given, key=_claim):
        known = canonical_record_name(name)
        wanted = known if known in RECORD_FIELDS and known not in names.values() else ""
        plain = wanted or usable_name(name)
        while plain in names.values() or (plain in RECORD_FIELDS and not wanted):
            plain += "_"
        names[name] = plain
    return names


def _claim(name: str) -> int:
    """Return the rank of a name among those for the same thing: the schema's, then its aliases."""
    field = RECORD_FIELDS.get(canonical_record_name(name))
    if field is None or name == field.name:
        return 0
    aliases = [alias.casefold() for alias in field.aliases]
    folded = name.strip().casefold()
    return 1 + (aliases.index(folded) if folded in aliases else 0)


def last_of_each(
    steps: NDArray[Any], values: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return steps sorted without repetition, and of the values of each the one that came last."""
    if (steps[1:] > steps[:-1]).all():
        return steps, values
    order = np.argsort(steps, kind="stable")
    ends = np.flatnonzero(np.diff(steps[order], append=steps[order[-1]] + 1))
    return steps[order][ends], values[order][ends]
