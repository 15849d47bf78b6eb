"""A mapping file: what the names of a source mean, and what its logs do not record.

A TOML file with up to three parts::

    [columns]                       # a name in the source = what it is
    "train/ce_nats" = "train_loss"

    [set]                           # coordinates of every run
    weight_decay = 0.1

    [[runs]]                        # coordinates of the runs whose run_id matches; later ones win
    match = "25M/*"
    model_size = 25e6
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workbench.errors import ArgumentError
from workbench.io.settings import apply_settings
from workbench.schema import (
    RECORD_FIELDS,
    RUN_FIELDS,
    canonical_record_name,
    canonical_run_name,
    run_names,
)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value == "":
        msg = f"a coordinate is a number or a text, found {value!r}"
        raise ValueError(msg)
    return value if isinstance(value, str) else repr(value)


def _known(value: Any) -> str:
    for canonical, fields in (
        (canonical_record_name, RECORD_FIELDS),
        (canonical_run_name, RUN_FIELDS),
    ):
        if isinstance(value, str) and canonical(value) in fields:
            return canonical(value)
    names = ", ".join(RECORD_FIELDS)
    msg = f"{value!r} has no meaning in the schema; use one of {names}, or a run coordinate"
    raise ValueError(msg)


_Setting = Annotated[str, BeforeValidator(_text)]
_Name = Annotated[str, BeforeValidator(_known)]


class _Some(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, _Setting] = Field(init=False)
    match: Annotated[str, Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: dict[str, _Name] = {}
    set: dict[str, _Setting] = {}
    runs: tuple[_Some, ...] = ()


@dataclass(frozen=True)
class ColumnMapping:
    """What a mapping file says; made by `load_mapping`.

    Parameters
    ----------
    columns : mapping of str to str
        Canonical names by the name in the source.
    settings : mapping of str to str
        Coordinates of all runs, values as for ``--set``.
    some : tuple of (str, mapping of str to str)
        Glob of run identifiers, and the coordinates of those runs.
    source : str
        The file, for errors and notes.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    some: tuple[tuple[str, Mapping[str, str]], ...] = ()
    source: str = "the mapping"

    def apply(self, runs: xr.Dataset, settings: Mapping[str, str]) -> xr.Dataset:
        """Set coordinates: those of all runs, then of some, then `settings`, which win.

        Globs are compared with the run_id the run has in the end.

        Raises
        ------
        ArgumentError
            If a name cannot be set, or a value is not what it holds.
        """
        names = {n: v for n, v in settings.items() if canonical_run_name(n) == "run_id"}
        rest = {n: v for n, v in settings.items() if n not in names}
        for_all = {
            n: v
            for n, v in self.settings.items()
            if not (names and canonical_run_name(n) == "run_id")
        }
        runs = apply_settings(runs, for_all, origin=f"{self.source}, [set]: ")
        runs = apply_settings(runs, names)
        for i, (glob, own) in enumerate(self.some, start=1):
            only = self.matching(runs, glob)
            if only.any():
                origin = f"{self.source}, [[runs]] number {i} (match = {glob!r}): "
                runs = apply_settings(runs, own, only=only, origin=origin)
        return apply_settings(runs, rest)

    @staticmethod
    def matching(runs: xr.Dataset, glob: str) -> NDArray[np.bool_]:
        """Return which runs have an identifier that matches, shape (run,)."""
        given = next(n for n in map(str, runs.coords) if canonical_run_name(n) == "run_id")
        return np.array([fnmatchcase(str(name), glob) for name in runs[given].to_numpy()], bool)

    def unused(self, runs: xr.Dataset, found: Collection[str]) -> list[str]:
        """Return notes on what of the file had no effect on `runs`; `found` are columns it named.

        Raises nothing: a sweep may come in parts, but a typing error should show.
        """
        names = run_names(runs)
        notes = [
            f"{self.source}, [columns]: no source has {name!r}"
            for name in self.columns
            if name not in found
        ]
        notes += [
            f"{self.source}, [[runs]] number {i}: no run matches {glob!r}"
            for i, (glob, _) in enumerate(self.some, start=1)
            if not any(fnmatchcase(name, glob) for name in names)
        ]
        return notes


NO_MAPPING = ColumnMapping()


def load_mapping(path: str | os.PathLike[str]) -> ColumnMapping:
    """Read a mapping file.

    Parameters
    ----------
    path : path
        A TOML file, see the module's description.

    Returns
    -------
    ColumnMapping

    Raises
    ------
    ArgumentError
        If it cannot be read, is not TOML, or says something that cannot be: the message names the
        file and the first key that is wrong.
    """
    source = str(path)
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"mapping file {source!r} cannot be read: {error}. Give a TOML file."
        raise ArgumentError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"mapping file {source!r} is not valid TOML: {error}. Correct that line."
        raise ArgumentError(msg) from error
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise ArgumentError(_explain(error, source)) from error
    some = tuple((each.match, dict(each.__pydantic_extra__)) for each in file.runs)
    for i, (glob, own) in enumerate(some, start=1):
        if any(canonical_run_name(name) == "run_id" for name in own):
            msg = (
                f"mapping file {source!r}, [[runs]] number {i} (match = {glob!r}): run_id cannot "
                "be set for some runs. Set it for all of them under [set], with '{name}' in it."
            )
            raise ArgumentError(msg)
    return ColumnMapping(file.columns, file.set, some, source)


def _explain(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    table, *inner = [str(part) for part in first["loc"]]
    if table == "runs" and inner:
        place = f"[[runs]] number {int(inner[0]) + 1}, key {inner[-1]!r}"
    else:
        place = f"[{table}], key {inner[0]!r}" if inner else f"table {table!r}"
    wrong = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        wrong = "there is no such table; use [columns], [set] and [[runs]]"
    elif first["type"] == "missing":
        wrong = "it is needed: a glob of run_ids such as '25M/*'"
    return f"mapping file {source!r}, {place}: {wrong}."


def rename_columns(
    runs: xr.Dataset, columns: Mapping[str, str]
) -> tuple[xr.Dataset, set[str], list[str]]:
    """Give variables the canonical names a mapping states for them.

    Parameters
    ----------
    runs : Dataset (run, obs)
        As a reader returned them: names of the source, made usable, or canonical already.
    columns : mapping of str to str
        Canonical names by the name in the source.

    Returns
    -------
    Dataset (run, obs), set of str, list of str
        The runs, the columns that were there, and notes. A variable that had the name before
        gives way and becomes ``NAME_``.
    """
    renames: dict[str, str] = {}
    found = set()
    for given, wanted in columns.items():
        name = _variable(runs, given, wanted)
        if name is not None:
            found.add(given)
            renames[name] = wanted
    renames = {old: new for old, new in renames.items() if old != new}
    notes = []
    for new in list(renames.values()):
        if new in runs.variables and new not in renames:
            away = f"{new}_"
            while away in runs.variables:
                away += "_"
            renames[new] = away
            notes.append(f"{new!r} is another column by the mapping; what had the name is {away!r}")
    return runs.rename(renames), found, notes


def _variable(runs: xr.Dataset, given: str, wanted: str) -> str | None:
    from workbench.io.runlog import usable_name

    dim = "obs" if wanted in RECORD_FIELDS else "run"
    canonical = canonical_record_name if dim == "obs" else canonical_run_name
    for name in (given, usable_name(given), canonical(given)):
        if name in runs.variables and runs[name].dims == (dim,):
            return name
    return None
