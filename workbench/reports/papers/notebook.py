"""The notebook of a figure as a percent script, and what its cells call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from string import Template
from typing import TYPE_CHECKING, Any

from workbench.reports.papers.entry import PAPERS, Entry
from workbench.text import plain

if TYPE_CHECKING:
    from workbench.reports.papers.charts import Figure

_TEMPLATE = Template("""\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # $label: $title
#
# **Question.** $question
#
# Of $paper.

# %%
from __future__ import annotations

$imports

# %% tags=["parameters"]
$parameters

# %%
$loads$call
present(figure)

# %% [markdown]
# ## Answer

# %%
answer(figure)
""")
_WIDTH = 100


def source_of(entry: Entry) -> str:
    """Return the notebook of a box as a percent script.

    One cell is tagged ``parameters`` and holds, typed, those of the function that makes the
    figure.

    Raises
    ------
    ArgumentError
        If nothing remakes the box.
    """
    function = entry.function()
    module, name = entry.make.split(".")
    used = ["answer", *(["load_curves"] if entry.data else []), "present"]
    return _TEMPLATE.substitute(
        label=entry.label,
        title=entry.title,
        question="\n# ".join(_wrapped(entry.question, "# **Question.** ")),
        paper=PAPERS[entry.paper],
        imports="\n".join(
            sorted(
                [
                    f"from workbench.reports.papers.notebook import {', '.join(used)}",
                    f"from workbench.reports.papers.{module} import {name}",
                ]
            )
        ),
        parameters="\n".join(_typed(function, entry)) or "# This box has no parameter.",
        loads="".join(f'{one} = load_curves(data, "{one}")\n' for one in entry.data),
        call=_call(name, [*entry.data, *(f"{p}={p}" for p in entry.parameters())]),
    )


def _wrapped(text: str, start: str) -> list[str]:
    import textwrap

    lines = textwrap.wrap(text, _WIDTH - 2, initial_indent=" " * (len(start) - 2))
    return [lines[0].lstrip(), *lines[1:]]


def _typed(function: Callable[..., Figure], entry: Entry) -> list[str]:
    """Return ``name: type = default  # description`` for every parameter, as Black would."""
    said = described(function)
    lines = []
    if entry.data:
        names = " and ".join(f"{name}.nc" for name in entry.data)
        lines.append(f'data: str = "curves"  # folder with {names}')
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = repr(parameter.default).replace("'", '"').replace("e+", "e")
            value = f"{name}: {parameter.annotation} = {default}"
            line = f"{value}  # {said[name]}"
            lines += [line] if len(line) <= _WIDTH else [f"# {said[name]}", value]
    return lines


def described(function: Callable[..., Any]) -> dict[str, str]:
    """Return what the docstring of a function says of each parameter, in one line each."""
    text = inspect.cleandoc(function.__doc__ or "")
    found: dict[str, str] = {}
    lines = text.splitlines()
    for i, line in enumerate(lines):
        match = re.match(r"^(\w[\w, ]*) : ", line)
        if match:
            below = []
            for other in lines[i + 1 :]:
                if not other.startswith("    "):
                    break
                below.append(other.strip())
            for name in match[1].split(", "):
                found[name] = " ".join(below)
    return found


def _call(name: str, arguments: list[str]) -> str:
    short = f"figure = {name}({', '.join(arguments)})"
    if len(short) <= _WIDTH:
        return short
    return f"figure = {name}(\n    {', '.join(arguments)}\n)"


def load_curves(folder: str, name: str) -> Any:
    """Return the runs of a file in a folder; see `workbench.reports.papers.curves`."""
    from workbench.reports.papers.curves import find_curves

    return find_curves(folder, name).read()


def present(figure: Figure) -> None:
    """Show the charts of a figure, still, and its tables."""
    from workbench.reports.figures import show
    from workbench.reports.papers.page import still, tables_html

    show(*still(figure), *tables_html(figure))


def answer(figure: Figure) -> None:
    """Show the answer and the claims of a figure, and hand both back to whoever ran it."""
    from workbench.reports import provenance, tables
    from workbench.reports.figures import show
    from workbench.reports.papers.page import claims_html

    show(tables.paragraph(f"{figure.answer} {figure.verdict}".strip()), claims_html(figure))
    provenance.hand_back(handed_back(figure))


def handed_back(figure: Figure) -> Mapping[str, Any]:
    """Return everything a page needs of a figure, as plain values."""
    from workbench.reports.papers.interactive import embedded
    from workbench.reports.papers.printing import svg

    charts = [
        {
            "title": chart.title,
            "caption": chart.caption,
            "live": embedded(chart, name=f"NAME-{i}"),
            "still": svg([chart], name=f"NAME-{i}"),
        }
        for i, chart in enumerate(figure.charts)
    ]
    tables = [
        {"title": t.title, "head": list(t.head), "rows": [list(r) for r in t.rows]}
        for t in figure.tables
    ]
    result = {
        "answer": figure.answer,
        "verdict": figure.verdict,
        "claims": [claim.to_dict() for claim in figure.claims],
        "numbers": figure.numbers,
        "charts": charts,
        "tables": tables,
    }
    return dict(plain(result))
