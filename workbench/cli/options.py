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
        return self.runs_among_all()[0]

    def runs_among_all(self) -> tuple[xr.Dataset, xr.Dataset]:
        """Return the selected runs, and all runs of the store."""
        for text in self.where:
            parse_filter(text)
        everything = self.open().runs()
        return select_runs(everything, self.where), everything


def store_path(given: str | None) -> str:
    """Return the store to use: the option, else WORKBENCH_STORE, else ./runs."""
    return given or os.environ.get("WORKBENCH_STORE") or DEFAULT_STORE
