"""Rows of a large CSV, one at a time: what is not written in a row is not there."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.errors import DataError
from workbench.io.json_text import as_number
from workbench.io.lines import read_lines
from workbench.io.runlog import RunLog

_NOT_LOGGED = ("", "null", "undefined", "None", "NA", "N/A")


def header_row(head: str) -> list[str]:
    """Return the fields of the first line of a comma-separated text; empty when it is none."""
    first = head.removeprefix("\ufeff").partition("\n")[0].rstrip("\r")
    try:
        return next(csv.reader([first]), [])
    except csv.Error:
        return []


def read_rows(
    path: Path, log: RunLog, *, complete: str = "\n"
) -> tuple[list[str], Iterator[list[str]]]:
    """Return the header of a CSV and its rows, each as long as the header.

    Parameters
    ----------
    path : Path
        The file.
    log : RunLog
        Told of what was left out.
    complete : str
        As for `read_lines`.

    Raises
    ------
    DataError
        If the file has no header, a column twice, or a row that is not CSV.
    """
    rows = csv.reader(read_lines(path, log, complete=complete))
    header = [name.removeprefix("\ufeff").strip() for name in _next(rows, path) or []]
    repeated = {name for name in header if header.count(name) > 1} if len(header) < 1000 else set()
    if not header or repeated:
        what = f"column {min(repeated)[:40]!r} twice" if repeated else "no complete header"
        msg = f"{path} has {what}. Export it again with one column a name."
        raise DataError(msg)
    return header, _complete(rows, header, path, log)


def _complete(
    rows: Iterator[list[str]], header: Sequence[str], path: Path, log: RunLog
) -> Iterator[list[str]]:
    while (row := _next(rows, path)) is not None:
        if len(row) == len(header):
            yield row
        elif row:
            log.leave_out("row with more or fewer fields than the header")


def _next(rows: Iterator[list[str]], path: Path) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        msg = f"{path} is not comma-separated text: {error}. Export it again."
        raise DataError(msg) from error


def cells(row: Sequence[str], names: Sequence[str | None], log: RunLog) -> dict[str, float]:
    """Return the numbers of a row under the names of their columns; None leaves a column out."""
    out: dict[str, float] = {}
    for name, cell in zip(names, row, strict=True):
        if name is None or not cell:
            continue
        number = as_number(cell)
        if number is not None:
            out[name] = number
        elif cell.strip() not in _NOT_LOGGED:
            log.leave_out("value that is no number")
    return out
