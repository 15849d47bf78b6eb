"""Verbs that move curves and look after stores: import, runs, export, check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from workbench.cli.app import app, emit, say
from workbench.cli.options import AsJson, PastSelection, StorePath, store_path
from workbench.errors import ArgumentError
from workbench.io import (
    FollowResult,
    MappingReport,
    follow_sources,
    import_sources,
    load_mapping,
)
from workbench.io.follow import INTERVAL_SECONDS
from workbench.io.mapping import NO_MAPPING
from workbench.io.report_text import report_lines
from workbench.io.settings import parse_settings
from workbench.store import matching_rows, open_store
from workbench.store.snapshot import LEASE_SECONDS
from workbench.text import plural, short_count, without_password

_LEADING = (
    "run_id",
    "family",
    "status",
    "model_size",
    "tau",
    "tpp",
    "schedule",
    "seed",
    "n_records",
    "last_step",
    "final_loss",
)


@app.command(name="import")
def import_(
    *sources: Annotated[
        str, Parameter(help="Files or folders to read, or wandb://entity/project.")
    ],
    store: StorePath = None,
    format: Annotated[str, Parameter(help="Log format; auto looks at the content.")] = "auto",
    family: Annotated[str | None, Parameter(help="Family the runs belong to.")] = None,
    set: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="Run coordinate as NAME=VALUE; total_steps=last. Repeatable."),
    ] = (),
    map: Annotated[
        Path | None, Parameter(help="TOML file: what columns mean, coordinates of some runs.")
    ] = None,
    follow: Annotated[
        bool, Parameter(negative="", help="Read on while the logs are written, until they end.")
    ] = False,
    interval: Annotated[
        float, Parameter(help="With --follow: seconds between two looks.")
    ] = INTERVAL_SECONDS,
    until_idle: Annotated[
        float | None, Parameter(help="With --follow: end after so many seconds without change.")
    ] = None,
    curves: Annotated[
        str | None,
        Parameter(help="Where a new store keeps its curves: s3://bucket/prefix[?endpoint=URL]."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Read logs into a store. All or nothing: a failed import changes nothing."""
    if not sources:
        msg = "import needs at least one SOURCE. Example: workbench import curves.nc --store runs"
        raise ArgumentError(msg)
    mapping = NO_MAPPING if map is None else load_mapping(map)
    settings, path = parse_settings(set), store_path(store)
    if curves is not None:
        open_store(path, create=True, curves=curves).close()
    if follow:
        result = follow_sources(
            path,
            sources,
            format=format,
            settings=settings,
            family=family,
            mapping=mapping,
            interval=interval,
            until_idle=until_idle,
            on_event=lambda event: say(event.text),
        )
        _emit_followed(result, path, as_json=json)
        return
    report = import_sources(
        path, sources, format=format, settings=settings, family=family, mapping=mapping
    )
    lines = [f"Imported {plural(len(report.imported), 'run')} into {without_password(path)}."]
    emit(report_data(report), "\n".join([*lines, *report_lines(report)]), as_json=json)


def _emit_followed(result: FollowResult, path: str, *, as_json: bool) -> None:
    lines = [f"Followed {plural(len(result.runs), 'run')} into {without_password(path)}."]
    lines += [
        f"{run['run_id']}: {run['status']}, {plural(run['records'], 'record')}"
        for run in result.runs
    ]
    data = report_data(result.report) | {"followed": [dict(run) for run in result.runs]}
    emit(data, "\n".join([*lines, *report_lines(result.report)]), as_json=as_json)


def report_data(report: MappingReport) -> dict[str, Any]:
    """Return an import's report as JSON has it."""
    return {
        "imported": [dict(row) for row in report.imported],
        "skipped": [dict(row) for row in report.skipped],
        "unmapped": list(report.unmapped),
        "notes": list(report.notes),
        "missing": [dict(row) for row in report.missing],
    }


@app.command
def runs(selection: PastSelection | None = None, *, json: AsJson = False) -> None:
    """List the runs of a store, planned and running ones too.

    A run that says it is running and has not been heard of for two minutes shows as lost; starting
    it again takes it over.
    """
    chosen = selection or PastSelection()
    table = chosen.open().table(at=chosen.at)
    table["final_loss"] = table["final_eval_loss"].fillna(table["final_train_loss"])
    table = table[matching_rows(table, chosen.where)]
    names = [*(n for n in _LEADING if n in table), *(n for n in table if n not in _LEADING)]
    rows: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()}
        for row in table[names].to_dict(orient="records")
    ]
    emit(rows, "" if json else _render(rows), as_json=json)


def _render(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No runs."
    shown = [name for name in _LEADING if name in rows[0]]
    table = Table(*shown, box=None, pad_edge=False)
    for row in rows:
        status = {"status": "lost"} if row["lost"] else {}
        table.add_row(*(_cell(name, (row | status)[name]) for name in shown))
    console = Console(width=max(100, Console().width))
    with console.capture() as capture:
        console.print(table)
    lost = sum(bool(row["lost"]) for row in rows)
    note = f"; {lost} lost: not heard of for {LEASE_SECONDS:.0f} s" if lost else ""
    return f"{capture.get()}{plural(len(rows), 'run')}{note}"


def _cell(name: str, value: Any) -> str:
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if name == "model_size":
        return short_count(value)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@app.command
def export(
    target: Annotated[Path, Parameter(help=".nc, .zarr, .parquet, or a folder for CSV.")],
    selection: PastSelection | None = None,
    *,
    json: AsJson = False,
) -> None:
    """Write the selected runs to a file, every record of them."""
    chosen = selection or PastSelection()
    written = chosen.open().export(target, where=chosen.where, at=chosen.at)
    emit(
        {"target": os.fspath(target), "runs": written.runs, "records": written.records},
        f"Wrote {plural(written.runs, 'run')}, {plural(written.records, 'record')} to {target}.",
        as_json=json,
    )


@app.command
def check(
    *,
    store: StorePath = None,
    repair: Annotated[
        bool, Parameter(negative="", help="Repair what can be, never by dropping a point.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Verify a store: hashes, counts, increasing steps, orphaned points. Exit 1 on a problem."""
    opened = open_store(store_path(store))
    done = opened.repair() if repair else None
    problems = opened.check() if done is None else done.problems
    data: dict[str, Any] = {"ok": not problems, "problems": list(problems)}
    lines = list(problems) or ["No problem found."]
    if done is not None:
        data["repaired"] = list(done.repaired)
        lines = [*(f"Repaired: {text}" for text in done.repaired), *lines]
    emit(data, "\n".join(lines), as_json=json)
    return 1 if problems else 0
