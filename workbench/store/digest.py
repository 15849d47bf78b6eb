"""What a run holds, as one number: the same whatever lies beside it and wherever it was kept."""

from __future__ import annotations

import hashlib

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from workbench.schema import coordinate_names, record_names, row_bounds

_PROVENANCE = ("source", "source_sha256")


def digests(runs: xr.Dataset) -> dict[str, str]:
    """Return a sha256 of what each run holds, the same whatever other runs lie beside it.

    Where a curve came from is left out, so that a copied file is the same run; so is what was not
    recorded (NaN, ""), because joining runs adds such columns.

    Parameters
    ----------
    runs : Dataset (run, obs)
        Ragged runs.

    Returns
    -------
    dict of str to str
    """
    bounds = row_bounds(runs).tolist()
    coords = {name: runs[name].to_numpy() for name in coordinate_names(runs)}
    facts = {name: coords[name].tolist() for name in sorted(set(coords) - set(_PROVENANCE))}
    records = {name: runs[name].to_numpy() for name in sorted(record_names(runs))}
    out = {}
    for i, run_id in enumerate(map(str, coords["run_id"])):
        content = hashlib.sha256()
        for name, known in facts.items():
            text = _text_of(known[i])
            if text not in ("nan", ""):
                # `run_` is put before a name that another run logs as a column (`join_runs`).
                content.update(f"{name.removeprefix('run_')}={text}\n".encode())
        for name, column in records.items():
            values = _canonical(column[bounds[i] : bounds[i + 1]])
            if values is not None:
                content.update(f"{name}:{len(values)}\n".encode())
                content.update(values.data)
        out[run_id] = content.hexdigest()
    return out


def _text_of(value: float | str) -> str:
    # A number is the same number where another run made the coordinate a text (`join_runs`).
    try:
        return float(value).hex()
    except ValueError:
        return value if isinstance(value, str) else str(value)


def _canonical(values: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """Return values whose bytes say what they are; None where nothing was recorded."""
    if np.issubdtype(values.dtype, np.integer):
        return np.ascontiguousarray(values, dtype="<i8")
    # NaNs come in many bit patterns and zeros in two; files do not keep them apart reliably.
    plain = values.astype("<f8") + 0.0
    unknown = np.isnan(plain)
    if unknown.all():
        return None
    plain[unknown] = np.nan
    return plain
