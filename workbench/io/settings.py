"""Run coordinates given by the user: ``--set NAME=VALUE`` and where a curve came from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from workbench.errors import ArgumentError
from workbench.schema import (
    RECORD_FIELDS,
    RUN_FIELDS,
    STATUSES,
    canonical_run_name,
    row_bounds,
)
from workbench.store.snapshot import column

_BLOCK = 1 << 20


def apply_settings(
    runs: xr.Dataset,
    settings: Mapping[str, str],
    *,
    only: NDArray[np.bool_] | None = None,
    origin: str = "",
) -> xr.Dataset:
    """Fill or override run coordinates with the same value for every run, or for some.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs, not yet in the schema.
    settings : mapping of str to str
        ``total_steps=last`` takes each run's last logged step as its planned end; in ``run_id``
        the text ``{name}`` stands for the name the run has.
    only : ndarray of bool, shape (run,), optional
        Leave the other runs as they are.
    origin : str
        Where the settings stand, for errors; default: the option ``--set``.

    Returns
    -------
    Dataset (run, obs)

    Raises
    ------
    ArgumentError
        If a name cannot be set or a value is not what the name holds.
    """
    for given, text in settings.items():
        name = canonical_run_name(given)
        said = f"{origin}{given} = {text!r}" if origin else f"--set {given}={text}"
        if name in RECORD_FIELDS or name == "row_size" or name in runs.data_vars:
            msg = f"{said}: {name!r} is logged at every step, not set for a run."
            raise ArgumentError(msg)
        values = _value(runs, name, text, said)
        if only is not None:
            values = _where(only, values, runs, name)
        runs = set_coordinate(runs, name, values)
    return runs


def _where(
    only: NDArray[np.bool_], values: NDArray[np.generic], runs: xr.Dataset, name: str
) -> NDArray[np.generic]:
    """Return `values` for some runs and what the others have under the name, or an alias of it."""
    given = [n for n in map(str, runs.coords) if canonical_run_name(n) == name]
    others = sorted(given, key=lambda n: n != name)
    before = runs[others[0]].to_numpy() if others else np.full(len(only), None)
    return column([new if own else old for own, new, old in zip(only, values, before, strict=True)])


def set_coordinate(runs: xr.Dataset, name: str, values: ArrayLike) -> xr.Dataset:
    """Return `runs` with coordinate `name`, in place of any alias of it."""
    same = [
        str(other)
        for other, variable in runs.variables.items()
        if variable.dims == ("run",) and canonical_run_name(str(other)) == name
    ]
    return runs.drop_vars(same).assign_coords({name: ("run", np.asarray(values))})


def _value(runs: xr.Dataset, name: str, text: str, said: str) -> NDArray[np.generic]:
    count = runs.sizes["run"]
    if name == "total_steps" and text == "last":
        ends = row_bounds(runs)[1:]
        filled = runs["row_size"].to_numpy() > 0
        last = np.full(count, np.nan)
        last[filled] = runs["step"].to_numpy()[ends[filled] - 1]
        return last
    if name == "run_id":
        return _names(runs, text, said)
    if name == "status" and text not in STATUSES:
        msg = f"{said}: use one of {', '.join(STATUSES)}."
        raise ArgumentError(msg)
    field = RUN_FIELDS.get(name)
    if field is not None and field.kind == "text":
        return np.full(count, text)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return np.full(count, number)
    if field is not None:
        also = ", or 'last'" if name == "total_steps" else ""
        msg = f"{said}: {name!r} is a number [{field.units}]. Give a number{also}."
        raise ArgumentError(msg)
    return np.full(count, text)


def _names(runs: xr.Dataset, text: str, said: str) -> NDArray[np.generic]:
    if runs.sizes["run"] > 1 and "{name}" not in text:
        msg = (
            f"{said} would give {runs.sizes['run']} runs one name. Put the name they have in it: "
            f"'{text}/{{name}}'"
        )
        raise ArgumentError(msg)
    given = next(n for n in map(str, runs.variables) if canonical_run_name(n) == "run_id")
    return np.array([text.replace("{name}", str(name)) for name in runs[given].to_numpy()])


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, or of the names and contents of the files of a folder."""
    content = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            content.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
        return content.hexdigest()
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            content.update(block)
    return content.hexdigest()


def set_provenance(runs: xr.Dataset, path: Path) -> xr.Dataset:
    """Note where runs came from, unless they carry an earlier source with its sha256."""
    runs = runs.copy()
    count = runs.sizes["run"]
    own = {
        name: runs[name].to_numpy().astype(str) if name in runs.coords else np.full(count, "")
        for name in ("source", "source_sha256")
    }
    known = own["source_sha256"] != ""
    if known.all():
        return runs
    here = {"source": str(path), "source_sha256": sha256_of(path)}
    for name, value in here.items():
        runs = set_coordinate(runs, name, np.where(known, own[name], value))
    return runs


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Read repeated NAME=VALUE; `ArgumentError` for what has not that form."""
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            msg = f"--set takes NAME=VALUE, found {text!r}. Example: --set total_steps=24000"
            raise ArgumentError(msg)
        settings[name.strip()] = value.strip()
    return settings
