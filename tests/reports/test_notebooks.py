"""Every shipped notebook keeps the house rules."""

from __future__ import annotations

import ast
import inspect
import logging

import jupytext
import pytest
from papermill import inspect_notebook

from workbench.reports import REPORTS, build_report
from workbench.reports.build import _source


@pytest.fixture(params=[source for source, _ in REPORTS.values()])
def notebook(request):
    return jupytext.reads(_source(request.param), fmt="py:percent")


def test_question_first_answer_last(notebook):
    assert "**Question.**" in notebook.cells[0].source
    headings = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    assert headings[-1].startswith("## Answer")


def test_one_typed_parameters_cell_that_papermill_reads(notebook, caplog):
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    with caplog.at_level(logging.WARNING):
        found = inspect_notebook(notebook)
    assert all(row["inferred_type_name"] not in (None, "None") for row in found.values())
    assert all(row["help"] for row in found.values())
    own = {"name", "out", "progress"}
    assert set(found) == set(inspect.signature(build_report).parameters) - own
    assert not caplog.records


def test_no_long_functions_and_no_outputs(notebook):
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        assert not cell.outputs
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 10
