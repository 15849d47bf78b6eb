"""What a report refuses before any kernel starts, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workbench.errors import ArgumentError
from workbench.reports import REPORTS, build_report
from workbench.reports.build import _own_error, _publish
from workbench.store import open_store


@pytest.fixture
def store(tmp_path, make_family):
    opened = open_store(tmp_path / "store", create=True)
    opened.add_runs(make_family())
    opened.close()
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "colapse"}, "Unknown report 'colapse'"),
        ({"where": ["tpp~20"]}, "NAME OP VALUE"),
        ({"store": "nowhere"}, "nowhere"),
    ],
)
def test_bad_arguments(store, tmp_path, change, said):
    given = {"name": "collapse", "store": store, "out": tmp_path / "out"} | change
    with pytest.raises(ArgumentError, match=said):
        build_report(given.pop("name"), **given)
    assert not (tmp_path / "out").exists()


def test_out_must_not_be_a_file(store, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ArgumentError, match="must be a folder"):
        build_report("collapse", store=store, out=tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("ArgumentError", 2, "stopped: bad"),
        ("DataError", 1, "stopped: bad"),
        ("KeyError", 1, "KeyError: bad"),
    ],
)
def test_errors_of_a_cell_keep_their_meaning(kind, code, said):
    error = _own_error("collapse", "collapse_report.py", kind, "bad\n  thing")
    assert error.exit_code == code
    assert str(error).endswith(f"{said} thing")
    assert "collapse_report.py" in str(error)


def test_publishing_is_all_or_nothing(tmp_path):
    (tmp_path / "a").write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        _publish({tmp_path / "a": "new", tmp_path / "b": "\ud800"})
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"


def test_importing_reports_is_cheap():
    heavy = ("papermill", "nbconvert", "jupytext", "panel", "holoviews", "bokeh", "IPython")
    code = (
        "import sys, workbench.reports\n"
        f"found = [name for name in {heavy} if name in sys.modules]\n"
        "sys.exit(found or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_report_has_its_notebook():
    from workbench.reports.build import _source

    for source, title in REPORTS.values():
        assert f"# # {title}" in _source(source)
