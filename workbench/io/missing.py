"""What is still not known of runs, and what would have to be: τ, TPP and progress."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from workbench.io.result import MissingCoordinate
from workbench.schema import run_names
from workbench.text import plural

_NEEDED = (
    "tau",
    "tau_steps",
    "tpp",
    "peak_lr",
    "weight_decay",
    "model_size",
    "total_steps",
    "tokens_total",
)


def find_missing(runs: xr.Dataset) -> tuple[MissingCoordinate, ...]:
    """Return which runs lack τ, TPP or progress, grouped by what would give it.

    Parameters
    ----------
    runs : Dataset (run, obs)
        In the schema.

    Returns
    -------
    tuple of {name, runs, unknown}
    """
    known = {name: ~np.isnan(runs[name].to_numpy()) for name in _NEEDED}
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for i, run_id in enumerate(run_names(runs)):
        for name, unknown in _gaps({n: bool(values[i]) for n, values in known.items()}):
            groups.setdefault((name, unknown), []).append(run_id)
    return tuple(
        MissingCoordinate(name=name, runs=tuple(names), unknown=unknown)
        for (name, unknown), names in groups.items()
    )


def _gaps(known: dict[str, bool]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not known["tau"]:
        wanted = () if known["tau_steps"] else ("peak_lr", "weight_decay")
        yield "tau", tuple(n for n in (*wanted, "total_steps") if not known[n])
    if not known["tpp"]:
        yield "tpp", tuple(n for n in ("model_size", "tokens_total") if not known[n])
    if not (known["total_steps"] or known["tokens_total"]):
        yield "progress", ("total_steps",)


def describe_missing(gap: MissingCoordinate) -> str:
    """Write one gap as a sentence, such as "tau of 3 runs: weight_decay is not known"."""
    *others, last = gap["unknown"]
    names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"{gap['name']} of {plural(len(gap['runs']), 'run')}: {names} not known."
