"""The report verb: one family judged on a page, or the papers remade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from workbench.cli.app import app, emit, say
from workbench.cli.options import AsJson, Selection, store_path
from workbench.cli.science_verbs import LossOption, parse_offset
from workbench.errors import ArgumentError
from workbench.reports.papers import Scale

_PAPERS, _FIGURE, _COLLAPSE = "papers", "figure:", "collapse"


@Parameter(name="*")
@dataclass(frozen=True)
class PapersOptions:
    """How the papers are remade."""

    scale: Annotated[Scale, Parameter(help="How thoroughly the papers are remade.")] = "quick"
    data: Annotated[
        Path | None, Parameter(help="Folder with your copies of public curves, for the papers.")
    ] = None
    processes: Annotated[
        int | None, Parameter(help="Notebooks of the papers run at once; default: one a core.")
    ] = None
    pdf: Annotated[
        bool, Parameter(negative="", help="Also print the papers to PDF; needs a Chromium.")
    ] = False


@app.command
def report(
    *names: Annotated[
        str,
        Parameter(
            help="collapse (the default), papers, or figure:NAME, such as figure:"
            "bergsma-fig-5; several figures make one page."
        ),
    ],
    out: Annotated[Path, Parameter(help="Folder for the report.")],
    selection: Selection | None = None,
    loss: LossOption = None,
    offset: Annotated[str, Parameter(help="zero, fit, or a number in nats/token.")] = "fit",
    papers: PapersOptions | None = None,
    json: AsJson = False,
) -> int:
    """Build a report: a family from a store, or the papers' figures and tables, as one page."""
    figures = _figures(names)
    built: list[dict[str, Any]] = []
    lines: list[str] = []
    failed = False
    if _COLLAPSE in names or not names:
        row, text = _collapse(selection or Selection(), out, loss, offset)
        built.append(row)
        lines.append(text)
    if figures is not None:
        row, text = _papers(figures, out, papers or PapersOptions())
        built.append(row)
        lines.append(text)
        failed = bool(row["failed"])
    emit(built, "\n".join(lines), as_json=json)
    return 1 if failed else 0


def _figures(names: Sequence[str]) -> list[str] | None:
    """Return the boxes asked for, an empty list for all, None for none."""
    for name in names:
        if name not in (_COLLAPSE, _PAPERS) and not name.startswith(_FIGURE):
            msg = f"No report {name!r}. There are: {_COLLAPSE}, {_PAPERS}, {_FIGURE}NAME."
            raise ArgumentError(msg)
    if _COLLAPSE in names and len(names) > 1:
        msg = f"{_COLLAPSE} writes its own manifest: give it a folder of its own."
        raise ArgumentError(msg)
    if _PAPERS in names:
        return []
    return [name.removeprefix(_FIGURE) for name in names if name.startswith(_FIGURE)] or None


def _collapse(
    chosen: Selection, out: Path, loss: LossOption, offset: str
) -> tuple[dict[str, Any], str]:
    from workbench.reports import build_report

    result = build_report(
        "collapse",
        store=store_path(chosen.store),
        out=out,
        where=chosen.where,
        offset=parse_offset(offset),
        loss=loss,
    )
    row = {
        "name": _COLLAPSE,
        "html": str(result.html),
        "manifest": str(result.manifest),
        "verdict": result.verdict,
        "seconds": result.seconds,
    }
    return row, f"{result.html}  ({result.seconds:.0f} s)\n{result.verdict}"


def _papers(
    figures: Sequence[str], out: Path, options: PapersOptions
) -> tuple[dict[str, Any], str]:
    from workbench.reports.papers.build import build_papers

    result = build_papers(
        out=out,
        names=figures,
        scale=options.scale,
        data=options.data,
        processes=options.processes,
    )
    for name in result.failed:
        part = result.parts[name]
        say("\n".join(filter(None, (f"{name}: {part['reason']}", part.get("traceback")))))
    row = {
        "name": _PAPERS,
        "html": str(result.html),
        "manifest": str(result.manifest),
        "pdf": str(_printed(result.html)) if options.pdf else None,
        "verdict": result.verdict,
        "seconds": result.seconds,
        "boxes": {name: part["status"] for name, part in result.parts.items()},
        "ran": list(result.ran),
        "failed": list(result.failed),
        "changes": list(result.changes),
    }
    changes = result.changes or ("Nothing changed since the build before.",)
    said = [f"{result.html}  ({result.seconds:.0f} s)", result.verdict, *changes]
    return row, "\n".join(said)


def _printed(html: Path) -> Path:
    """Return the PDF beside a page, printed unless it is newer than the page."""
    from workbench.reports.papers.pdf import print_page

    pdf = html.with_suffix(".pdf")
    if not pdf.is_file() or pdf.stat().st_mtime < html.stat().st_mtime:
        print_page(html, pdf)
    return pdf
