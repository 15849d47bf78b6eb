"""Options that several verbs share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

import xarray as xr
from cyclopts import Parameter

from workbench.schema import parse_filter, select_runs
from workbench.store import Store, open_store

DEFAULT_STORE = "runs"

StorePath = Annotated[
    str | None,
    Parameter(name="--store", help="Store to use [env WORKBENCH_STORE; default ./runs]."),
]
AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON document on stdout.")
]
Where = Annotated[
    tuple[str, ...],
    Parameter(
        name="--where",
        negative="",
        help="Keep runs with NAME OP VALUE (= != < <= > >=; NAME=a,b means any of). Repeatable.",
    ),
]

At = Annotated[
    str | None,
    Parameter(
        name="--at",
        help="Earlier state of the consolidated curves: generation, snapshot, or UTC date-time.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Selection:
    """Which runs of which store."""

    store: StorePath = None
    where: Where = ()

    def open(self) -> Store:
        """Open the store."""
        return open_store(store_path(self.store))

    def runs(self) -> xr.Dataset:
        """Return the selected runs with their records; `DataError` when there are none."""
        for text in self.where:
            parse_filter(text)
        return select_runs(self.open().runs(where=self.where, at=self._moment), ())

    def runs_among_all(self) -> tuple[xr.Dataset, xr.Dataset]:
        """Return the selected runs, and all runs of the store."""
        for text in self.where:
            parse_filter(text)
        everything = self.open().runs(at=self._moment)
        return select_runs(everything, self.where), everything

    @property
    def _moment(self) -> str | None:
        return None


# For verbs that have no --at of their own, such as the share of a run a prediction may see.
@Parameter(name="*")
@dataclass(frozen=True)
class PastSelection(Selection):
    """Which runs of which store, now or at a moment before."""

    at: At = None

    @property
    def _moment(self) -> str | None:
        return self.at


def store_path(given: str | None) -> str:
    """Return the store to use: the option, else WORKBENCH_STORE, else ./runs."""
    return given or os.environ.get("WORKBENCH_STORE") or DEFAULT_STORE
