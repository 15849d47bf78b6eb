"""State of the Data page without a GUI: the table, imports, exports and the store's health."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import param

from workbench.errors import ArgumentError, DataError
from workbench.io import MappingReport, import_sources
from workbench.io.settings import parse_settings
from workbench.store import Store, matching_rows
from workbench.store.tier import Generation
from workbench.text import plural

EXPORTS: Mapping[str, str] = {"NetCDF": ".nc", "Parquet": ".parquet", "CSV (zip)": ".zip"}
_USUAL = (
    "run_id",
    "family",
    "status",
    "lost",
    "model_size",
    "tau",
    "tpp",
    "schedule",
    "seed",
    "final_eval_loss",
    "final_train_loss",
    "n_records",
    "last_step",
)
MAX_UPLOAD = 200 * 2**20
"""Bytes that visitors may send at once."""


@dataclass(frozen=True)
class Health:
    """How a store is.

    Parameters
    ----------
    statuses : mapping of str to int
        Runs in each state; a running run that is not heard of counts as ``lost``.
    records : int
        Records of all runs.
    generation : str
        The last consolidated generation, and when it was published.
    bytes_on_disk : int or None
        Size of a local store.
    """

    statuses: Mapping[str, int]
    records: int
    generation: str
    bytes_on_disk: int | None


class DataModel(param.Parameterized):
    """The runs of a store, what goes in and what comes out.

    Parameters
    ----------
    store : Store
        Opened store.
    writable : bool
        Whether imports are taken.
    paths : bool
        Whether files of the serving machine may be named, besides being sent.
    """

    where = param.String(default="", doc="Conditions on run coordinates, separated by ;")
    family = param.String(default="", doc="Family of imported runs; empty for their own.")
    format = param.String(default="auto", doc="Log format of what is imported.")
    settings = param.String(default="", doc="Run coordinates as NAME=VALUE, separated by ;")

    def __init__(self, store: Store, *, writable: bool = True, paths: bool = True) -> None:
        super().__init__()
        self.store = store
        self.writable, self.paths = writable, writable and paths

    # -- the table ----------------------------------------------------------------------------

    def conditions(self) -> list[str]:
        """Return the conditions of `where`, one each."""
        return [part.strip() for part in self.where.split(";") if part.strip()]

    def table(self) -> pd.DataFrame:
        """Return one row per run that meets the conditions.

        Raises
        ------
        ArgumentError
            If a condition cannot be read or names no column.
        DataError
            If the store cannot be read.
        """
        table = self.store.table()
        return table[matching_rows(table, self.conditions())]

    # -- in -----------------------------------------------------------------------------------

    def import_path(self, text: str) -> MappingReport:
        """Import files or folders of the serving machine, separated by ``;``.

        Raises
        ------
        ArgumentError
            If this is not allowed here, or nothing is named.
        DataError
            As `import_sources`; the store is as it was.
        """
        if not self.paths:
            msg = (
                "Files of the serving machine cannot be named here, because others can reach this "
                "page. Send the file instead, or run workbench import there."
            )
            raise ArgumentError(msg)
        return self._import([part.strip() for part in text.split(";") if part.strip()])

    def import_files(self, files: Mapping[str, bytes]) -> MappingReport:
        """Import files a visitor sent.

        Parameters
        ----------
        files : mapping of str to bytes
            Content by name; of a name only its last part counts.

        Raises
        ------
        ArgumentError
            If imports are not taken here, or the files are too large.
        DataError
            As `import_sources`; the store is as it was.
        """
        self._require_writable()
        size = sum(len(content) for content in files.values())
        if size > MAX_UPLOAD:
            msg = (
                f"The files have {size / 2**20:.0f} MiB, and at most {MAX_UPLOAD / 2**20:.0f} MiB "
                "are taken by the page. Use workbench import for larger logs."
            )
            raise ArgumentError(msg)
        with tempfile.TemporaryDirectory(prefix="workbench-upload-") as folder:
            named = [
                _kept(Path(folder), number, name, content)
                for number, (name, content) in enumerate(files.items())
            ]
            return self._import([str(path) for path in named])

    def _import(self, sources: list[str]) -> MappingReport:
        self._require_writable()
        settings = [part.strip() for part in self.settings.split(";") if part.strip()]
        return import_sources(
            self.store,
            sources,
            format=self.format,
            settings=parse_settings(settings),
            family=self.family.strip() or None,
        )

    def _require_writable(self) -> None:
        if not self.writable:
            msg = (
                "Imports are off: others can reach this page without a login. Serve it with a "
                "password, or run workbench import on the serving machine."
            )
            raise ArgumentError(msg)

    # -- out ----------------------------------------------------------------------------------

    def export(self, kind: str) -> BytesIO:
        """Return the runs that meet the conditions as a file, every record of them.

        Raises
        ------
        ArgumentError
            If there is no such kind, or a condition is wrong.
        DataError
            If no run is left.
        """
        if kind not in EXPORTS:
            msg = f"kind must be one of {', '.join(EXPORTS)}, found {kind!r}."
            raise ArgumentError(msg)
        with tempfile.TemporaryDirectory(prefix="workbench-export-") as folder:
            suffix = EXPORTS[kind]
            target = Path(folder) / ("curves.csv" if suffix == ".zip" else f"curves{suffix}")
            self.store.export(target, where=self.conditions())
            return BytesIO(_zipped(target) if target.is_dir() else target.read_bytes())

    # -- health -------------------------------------------------------------------------------

    def health(self) -> Health:
        """Return counts and sizes; cheap enough to be asked on every visit."""
        table = self.store.table()
        status = np.where(table["lost"], "lost", table["status"].astype(str))
        names, counts = np.unique(status, return_counts=True)
        past = self.store.history()
        last = past[-1] if past else None
        return Health(
            statuses=dict(zip(names.tolist(), counts.tolist(), strict=True)),
            records=int(table["n_records"].sum()),
            generation="nothing yet" if last is None else _told(last),
            bytes_on_disk=_size(self.store.root),
        )

    def check(self) -> tuple[str, ...]:
        """Verify the whole store and return its problems; may take a while."""
        return self.store.check()


def summary(health: Health) -> list[tuple[str, str]]:
    """Return what a store's health reads as: names and texts."""
    order = ("done", "running", "planned", "stopped", "failed", "lost")
    runs = [f"{health.statuses[name]} {name}" for name in order if name in health.statuses]
    rows = [
        ("Runs", ", ".join(runs) or "none"),
        ("Records", f"{health.records:,}"),
        ("Consolidated", health.generation),
    ]
    if health.bytes_on_disk is not None:
        rows.append(("On disk", f"{health.bytes_on_disk / 2**20:,.1f} MiB"))
    return rows


def _kept(folder: Path, number: int, name: str, content: bytes) -> Path:
    """Write a sent file under the last part of its name, in a folder of its own."""
    last = Path(name.replace("\\", "/")).name
    if last in ("", ".", "..") or "\0" in last:
        msg = f"A file was sent under the name {name!r}, which is none. Rename it."
        raise DataError(msg)
    place = folder / str(number)
    place.mkdir()
    path = place / last
    path.write_bytes(content)
    return path


def _zipped(folder: Path) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def _told(last: Generation) -> str:
    return (
        f"generation {last.generation} with {plural(last.n_runs, 'run')}, "
        f"{last.time:%Y-%m-%d %H:%M} UTC"
    )


def _size(root: Path | None) -> int | None:
    if root is None:
        return None
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def as_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that say anything, the usual ones first, under the names filters use."""
    usual = [name for name in _USUAL if name in table]
    names = [*usual, *(str(name) for name in table.columns if name not in usual)]
    told = [n for n in names if table[n].notna().any() and not (n == "lost" and not table[n].any())]
    return table[told].astype({"last_step": "Int64"} if "last_step" in told else {})
