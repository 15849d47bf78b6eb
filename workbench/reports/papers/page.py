"""The page of the papers: contents, claims, one section a box; every text from data is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from workbench.reports.papers.claims import STATUSES
from workbench.reports.papers.entry import PAPERS, Entry
from workbench.reports.papers.registry import ENTRIES

if TYPE_CHECKING:
    from workbench.reports.figures import Html
    from workbench.reports.papers.charts import Figure

_TONES = {"held": "ok", "did not hold": "no", "not testable here": "quiet"}
_CLAIM_HEAD = ("Claim", "Expected", "Found", "Tolerance", "Verdict")
Part = Mapping[str, Any]


def still(figure: Figure) -> list[Html]:
    """Return each chart as a still picture with its caption."""
    from workbench.reports.figures import Html
    from workbench.reports.papers.printing import svg

    return [
        Html(
            f"<figure>{svg([chart], name=f'still-{i}')}"
            f"<figcaption>{escape(chart.caption)}</figcaption></figure>"
        )
        for i, chart in enumerate(figure.charts)
    ]


def tables_html(figure: Figure) -> list[Html]:
    """Return the tables of a figure."""
    from workbench.reports.figures import Html

    return [Html(_table(t.title, t.head, t.rows)) for t in figure.tables]


def claims_html(figure: Figure) -> Html:
    """Return the claims of a figure as a table."""
    from workbench.reports.figures import Html

    return Html(_claims([claim.to_dict() for claim in figure.claims]))


def papers_page(
    parts: Mapping[str, Part], *, scale: str, changes: Sequence[str], made: Mapping[str, Any]
) -> str:
    """Return the whole page.

    Parameters
    ----------
    parts : mapping of str to mapping
        By name, in order: ``status``, and what the figure handed back or why there is none.
    scale : str
        Scale it was built at.
    changes : sequence of str
        What changed since the last build.
    made : mapping
        Versions, hardware and date.
    """
    from workbench.reports.figures import bokeh_runtime

    package = files("workbench.reports")
    style = package.joinpath("page.css").read_text(encoding="utf-8")
    style += package.joinpath("papers", "papers.css").read_text(encoding="utf-8")
    script = package.joinpath("papers", "papers.js").read_text(encoding="utf-8")
    body = [
        "<h1>Loss-curve collapse: the papers, remade</h1>",
        _summary(parts, scale),
        _contents(parts),
        _all_claims(parts),
        *(_section(ENTRIES[name], part) for name, part in parts.items()),
        _changes(changes),
        _made(made),
        bokeh_runtime().text,
        f"<script>{script}</script>",
    ]
    page = Template(package.joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(title="The papers, remade", style=style, body="\n".join(body))


def _summary(parts: Mapping[str, Part], scale: str) -> str:
    claims = [claim for part in parts.values() for claim in part.get("claims", ())]
    counts = {status: sum(c["status"] == status for c in claims) for status in STATUSES}
    built = sum(part["status"] == "built" for part in parts.values())
    failed = [name for name, part in parts.items() if part["status"] == "failed"]
    numbers = "".join(
        f"<div><b>{count}</b><span>{escape(text)}</span></div>"
        for text, count in (
            (f"of {len(parts)} boxes remade", built),
            *((f"claims {status}", n) for status, n in counts.items()),
        )
    ).replace("claims not testable", "not testable")
    failures = f" {len(failed)} failed: {escape(', '.join(failed))}." if failed else ""
    return (
        '<section class="verdict"><div><p>Every figure and table of two papers on loss-curve '
        "collapse, remade from closed forms, printed numbers and logs, and judged against what the "
        f"papers say. Scale: {escape(scale)}. Where a box is not remade, it says why."
        f'{failures}</p></div><div class="numbers">{numbers}</div></section>'
    )


def _contents(parts: Mapping[str, Part]) -> str:
    lists = []
    for paper, source in PAPERS.items():
        rows = "".join(
            f'<li><a href="#{name}">{escape(ENTRIES[name].label)}</a> '
            f"{escape(ENTRIES[name].title)} {_tag_of(part)}</li>"
            for name, part in parts.items()
            if ENTRIES[name].paper == paper
        )
        if rows:
            lists.append(f"<div><h3>{escape(source)}</h3><ul>{rows}</ul></div>")
    return f'<h2>Contents</h2><nav class="contents">{"".join(lists)}</nav>'


def _tag_of(part: Part) -> str:
    if part["status"] == "built":
        found = {claim["status"] for claim in part["claims"]}
        worst = next(s for s in ("did not hold", "held", "not testable here") if s in found)
        return _tag(worst)
    return f'<span class="tag quiet">{escape(part["status"])}</span>'


def _tag(status: str) -> str:
    return f'<span class="tag {_TONES[status]}">{escape(status)}</span>'


def _all_claims(parts: Mapping[str, Part]) -> str:
    rows = [(name, claim) for name, part in parts.items() for claim in part.get("claims", ())]
    if not rows:
        return ""
    body = "".join(
        f'<tr><td><a href="#{name}">{escape(_short(ENTRIES[name]))}</a></td>{_cells(claim)}</tr>'
        for name, claim in rows
    )
    return (
        '<h2 id="claims">Claims</h2><details open><summary>Every claim, with numbers</summary>'
        + _framed("Claims", ("Box", *_CLAIM_HEAD), body, kind="all")
        + "</details>"
    )


def _short(entry: Entry) -> str:
    return f"{entry.paper.capitalize()}, {entry.label.lower()}"


def _cells(claim: Mapping[str, str]) -> str:
    reason = f"<small>{escape(claim['reason'])}</small>" if claim["reason"] else ""
    texts = (claim["expected"], claim["found"], claim["tolerance"])
    return (
        f"<td>{escape(claim['text'])}{reason}</td>"
        + "".join(f"<td>{escape(text)}</td>" for text in texts)
        + f"<td>{_tag(claim['status'])}</td>"
    )


def _claims(claims: Sequence[Mapping[str, str]]) -> str:
    body = "".join(f"<tr>{_cells(claim)}</tr>" for claim in claims)
    return _framed("Claims of this box", _CLAIM_HEAD, body)


def _framed(label: str, head: Sequence[str], body: str, *, kind: str = "own") -> str:
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    return (
        f'<div class="table claims {kind}" role="region" tabindex="0" aria-label="{escape(label)}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from workbench.reports.tables import table

    return f"<h3>{escape(title)}</h3>" + table(head, rows, label=title).text


def _section(entry: Entry, part: Part) -> str:
    top = (
        f'<section class="box" id="{entry.name}"><h2>{escape(entry.label)}: '
        f"{escape(entry.title)} {_tag_of(part)}</h2>"
        f'<p class="source">{escape(PAPERS[entry.paper])}</p>'
        f"<p><b>Question.</b> {escape(entry.question)}</p>"
    )
    if part["status"] != "built":
        trace = f"<pre>{escape(part['traceback'])}</pre>" if part.get("traceback") else ""
        return f"{top}<p>{escape(part['reason'])}</p>{trace}</section>"
    charts = "".join(_chart(entry.name, i, chart) for i, chart in enumerate(part["charts"]))
    tables = "".join(_table(t["title"], t["head"], t["rows"]) for t in part["tables"])
    said = f"<p><b>Answer.</b> {escape(part['answer'])} {escape(part['verdict'])}</p>"
    pair = f'<div class="pair">{charts}</div>' if charts else ""
    given = ", ".join(f"{k} = {v}" for k, v in part["parameters"].items())
    made = f'<p class="source">Parameters: {escape(given)}.</p>' if given else ""
    return f"{top}{said}{pair}{tables}{_claims(part['claims'])}{made}</section>"


def _chart(name: str, number: int, chart: Mapping[str, str]) -> str:
    own = f"{name}-{number}"
    live = chart["live"].replace(f"NAME-{number}", own).replace("</", "<\\/")
    picture = chart["still"].replace(f"NAME-{number}", own)
    return (
        f'<figure><h3>{escape(chart["title"])}</h3><div class="live" id="{own}"></div>'
        f'<script type="application/json" data-chart="{own}">{live}</script>'
        f'<div class="still">{picture}</div>'
        f"<figcaption>{escape(chart['caption'])}</figcaption></figure>"
    )


def _changes(changes: Sequence[str]) -> str:
    rows = "".join(f"<li>{escape(text)}</li>" for text in changes)
    return f"<h2>Changed since the build before</h2><ul>{rows or '<li>Nothing.</li>'}</ul>"


def _made(made: Mapping[str, Any]) -> str:
    from workbench.reports.tables import facts

    rows = {str(key): str(value) for key, value in made.items()}
    return f"<h2>How this was made</h2>{facts(rows, label='How this was made').text}"
