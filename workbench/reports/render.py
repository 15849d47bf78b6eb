"""From an executed notebook to one HTML page that opens from disk without a network."""

from __future__ import annotations

import copy
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from nbconvert import HTMLExporter
from nbformat import NotebookNode

from workbench.reports.provenance import RESULT


def render(notebook: NotebookNode, *, title: str) -> str:
    """Return the page: text, tables and figures of the notebook, without its code.

    Parameters
    ----------
    notebook : NotebookNode
        Executed; only what its cells display as HTML is shown.
    title : str
        Title of the page.
    """
    shown = copy.deepcopy(notebook)
    for cell in shown.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if "text/html" in out.get("data", {})]
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(shown)
    package = files("workbench.reports")
    page = Template(package.joinpath("page.html").read_text(encoding="utf-8"))
    style = package.joinpath("page.css").read_text(encoding="utf-8")
    return page.substitute(title=escape(title), style=style, body=body)


def result_of(notebook: NotebookNode) -> dict[str, Any] | None:
    """Return what the notebook handed back, None if it handed back nothing."""
    for cell in reversed(notebook.cells):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if RESULT in data:
                return dict(data[RESULT])
    return None
