"""What a report was made from: hashes of the curves, versions, the machine without its name."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, TextIO

import numpy as np
import xarray as xr
from IPython.display import publish_display_data

from workbench import __version__
from workbench.collapse import excess_spread
from workbench.schema import coordinate_names, iter_runs, record_names
from workbench.text import plain

RESULT = "application/vnd.collapse-workbench.report+json"
"""MIME type in which a notebook hands its results back."""
_LIBRARIES = ("numpy", "scipy", "xarray", "zarr", "holoviews", "bokeh", "papermill", "nbconvert")


def run_hashes(runs: xr.Dataset) -> dict[str, str]:
    """Return the sha256 of every run: its coordinates and all its records.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.

    Returns
    -------
    dict of str to str
        By ``run_id``. The same data give the same hash on any machine and in any order of runs;
        what a run does not record does not count, so that a sister run with more columns changes
        nothing.
    """
    coords, records = sorted(coordinate_names(runs)), sorted(record_names(runs))
    return {name: _sha256(run, coords, records) for name, run in iter_runs(runs)}


def _sha256(run: xr.Dataset, coords: list[str], records: list[str]) -> str:
    digest = hashlib.sha256()
    for name in coords:
        value = run[name].item()
        if value != "" and value == value:  # "" and NaN mean not recorded
            digest.update(f"{name}={value!r}\n".encode())
    for name in records:
        values = run[name].to_numpy()
        if name != "step" and np.isnan(values).all():
            continue
        if name != "step":
            values = np.where(np.isnan(values), np.nan, values)  # one bit pattern for NaN
        digest.update(f"{name}[{len(values)}]\n".encode())
        digest.update(values.astype("<i8" if name == "step" else "<f8").tobytes())
    return digest.hexdigest()


def family_hash(hashes: dict[str, str]) -> str:
    """Return one sha256 over the hashes of all runs, independent of their order."""
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def versions(*, and_also: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, the workbench and the libraries numbers depend on.

    Parameters
    ----------
    and_also : iterable of str
        More distributions to name.
    """
    found = {"python": platform.python_version(), "collapse-workbench": __version__}
    for name in (*_LIBRARIES, *and_also):
        found[name] = metadata.version(name)
    return found


def hardware() -> dict[str, Any]:
    """Return the kind of machine; never its name, user or address."""
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_gib": memory,
        "byte_order": sys.byteorder,
    }


def seeds() -> dict[str, int]:
    """Return the seeds of the random numbers a collapse report draws."""
    return {"bootstrap": int((excess_spread.__kwdefaults__ or {})["rng"])}


def note_warnings() -> list[str]:
    """Collect the warnings of this process from now on; the list grows as they come.

    A report shows them as text: the default display would print paths of the machine.
    """
    noted: list[str] = []

    def note(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        noted.append(f"{category.__name__}: {message}")

    warnings.showwarning = note
    return noted


def hand_back(result: Mapping[str, Any]) -> None:
    """Leave the results in the notebook for whoever ran it; a page shows nothing of them."""
    publish_display_data({RESULT: plain(dict(result))})  # type: ignore[no-untyped-call]
