"""Building the papers: kept parts, failures, changes; kernels run in the slow tests only."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from workbench.cli import run
from workbench.errors import ArgumentError, DataError
from workbench.reports import provenance
from workbench.reports.papers import ENTRIES, Entry, build, pdf
from workbench.reports.papers.changes import changes_since
from workbench.reports.papers.claims import near, untested

NAMES = ("bergsma-table-6", "bergsma-fig-1", "qiu-fig-2")
BROKEN = "bergsma-fig-26"


def part_of(job, found=100.0):
    claims = [near("Sum <b>", expected=100, found=found, off=0.01, unit="%").to_dict()]
    claims.append(untested("Rest", expected="more", reason="not here").to_dict())
    chart = {"title": "T", "caption": "C", "live": '{"a": "</script>"}', "still": "<svg></svg>"}
    return {
        "status": "built",
        "key": job.key,
        "parameters": dict(job.parameters),
        "data": {},
        "seconds": 1.0,
        "answer": "Yes & no.",
        "verdict": "1 claim held.",
        "claims": claims,
        "numbers": {},
        "charts": [chart],
        "tables": [],
    }


@pytest.fixture
def kernels(monkeypatch):
    """Replace the kernel by a canned part and count how often it would have run."""
    pytest.importorskip("matplotlib")
    ran = []

    def stand_in(job):
        ran.append(job.entry.name)
        if job.entry.name in stand_in.fails:
            trace = build._shown(["\x1b[31mKeyError\x1b[0m", "/home/me/x/workbench/a.py in f"])
            reason = "The notebook stopped: KeyError: 'x'"
            return {"status": "failed", "key": job.key, "reason": reason, "traceback": trace}
        return part_of(job, stand_in.found)

    stand_in.fails, stand_in.found, stand_in.ran = set(), 100.0, ran
    monkeypatch.setattr(build, "_run", stand_in)
    return stand_in


def built(out, names=NAMES, **options):
    return build.build_papers(out=out, names=names, progress=False, **options)


def test_a_build_has_every_box_and_a_second_one_nothing_to_do(tmp_path, kernels):
    first = built(tmp_path)
    assert kernels.ran == ["bergsma-table-6"]
    assert {name: part["status"] for name, part in first.parts.items()} == {
        "bergsma-table-6": "built",
        "bergsma-fig-1": "not remade",
        "qiu-fig-2": "no data",
    }
    assert first.verdict == ("1 of 3 boxes built; 1 claims held, 0 did not, 1 not testable here.")
    files = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    second = built(tmp_path)
    assert kernels.ran == ["bergsma-table-6"]
    assert second.ran == second.changes == ()
    assert files == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_the_page_says_all_and_escapes_what_it_is_given(tmp_path, kernels):
    page = built(tmp_path).html.read_text(encoding="utf-8")
    for name in NAMES:
        assert f'id="{name}"' in page
        assert f'href="#{name}"' in page
    assert "Not remade: it needs the families full" in page
    assert "with --data" in page
    assert "Sum &lt;b&gt;" in page
    assert "Yes &amp; no." in page
    assert '{"a": "<\\/script>"}' in page
    assert page.count('<span class="tag quiet">not testable here</span>') == 2  # all, own


def test_the_manifest_says_what_it_was_made_from(tmp_path, kernels):
    manifest = json.loads(built(tmp_path).manifest.read_text(encoding="utf-8"))
    box = manifest["boxes"]["bergsma-table-6"]
    assert box["parameters"] == {"whole": 100.0}
    assert len(box["key"]) == 64
    assert "charts" not in box
    assert {"created", "seconds", "scale", "versions", "hardware", "changes"} <= set(manifest)
    assert "matplotlib" in manifest["versions"]


def test_other_parameters_are_made_again_and_the_change_is_listed(tmp_path, kernels, monkeypatch):
    built(tmp_path)
    old = ENTRIES["bergsma-table-6"]
    other = Entry(old.name, old.title, old.question, old.make, full={"whole": 99.0})
    monkeypatch.setitem(ENTRIES, old.name, other)
    kernels.found = 101.0
    again = built(tmp_path, scale="full")
    assert again.ran == ("bergsma-table-6",)
    assert len(again.changes) == 1
    said = again.changes[0]
    assert said.startswith("bergsma-table-6: made again for other parameters; 'Sum <b>' was held")
    assert said.endswith("now did not hold; 1 number moved.")
    assert said.replace("<b>", "&lt;b&gt;").replace("'", "&#x27;") in again.html.read_text("utf-8")


def test_other_code_is_another_key(tmp_path, kernels, monkeypatch):
    built(tmp_path)
    monkeypatch.setattr(build, "_code", lambda room: f"other {room}")
    again = built(tmp_path)
    assert again.ran == ("bergsma-table-6",)
    assert again.changes == (
        "bergsma-table-6: made again for other code or versions; same numbers.",
    )


@pytest.mark.parametrize("torn", ["", '{"key": "', "[]", '{"key": "0"}'])
def test_a_part_that_is_torn_or_of_another_build_is_made_again(tmp_path, kernels, torn):
    built(tmp_path)
    (tmp_path / "parts" / "bergsma-table-6.json").write_text(torn, encoding="utf-8")
    assert built(tmp_path).ran == ("bergsma-table-6",)


def test_a_failure_is_named_the_rest_is_built_and_only_it_is_tried_again(tmp_path, kernels):
    kernels.fails = {"bergsma-table-8"}
    names = ("bergsma-table-6", "bergsma-table-8")
    first = built(tmp_path, names)
    assert first.failed == ("bergsma-table-8",)
    assert first.parts["bergsma-table-6"]["status"] == "built"
    page = first.html.read_text(encoding="utf-8")
    assert "KeyError" in page
    assert "/home/me" not in page
    assert "\x1b" not in page
    kernels.fails = set()
    again = built(tmp_path, names)
    assert again.ran == ("bergsma-table-8",)
    assert again.failed == ()
    assert again.changes == ("bergsma-table-8: was failed, now built.",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": ["bergsma-fig-99"]}, "No figure 'bergsma-fig-99'"),
        ({"processes": 0}, "at least 1"),
        ({"names": ["qiu-fig-2"], "data": "nowhere"}, "not a folder"),
    ],
)
def test_bad_arguments(tmp_path, kernels, options, said):
    with pytest.raises(ArgumentError, match=said):
        build.build_papers(out=tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_out_must_not_be_a_file(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ArgumentError, match="must be a folder"):
        build.build_papers(out=tmp_path / "file")


def test_the_verb(tmp_path, kernels, capsys):
    kernels.fails = {"bergsma-table-8"}
    out = str(tmp_path / "out")
    assert run(["report", "figure:bergsma-table-6", "--out", out, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["boxes"] == {"bergsma-table-6": "built"}
    assert row["ran"] == ["bergsma-table-6"]
    assert Path(row["html"]).is_file()
    code = run(["report", "figure:bergsma-table-6", "figure:bergsma-table-8", "--out", out])
    said = capsys.readouterr()
    assert code == 1
    assert "bergsma-table-8: The notebook stopped: KeyError" in said.err
    assert "1 of 2 boxes built" in said.out


@pytest.mark.parametrize(
    ("names", "said"),
    [(["paper"], "No report 'paper'"), (["collapse", "papers"], "a folder of its own")],
)
def test_the_verb_refuses(names, said, tmp_path, capsys):
    assert run(["report", *names, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    def missing(*, and_also):
        raise PackageNotFoundError(*and_also)

    monkeypatch.setattr(provenance, "versions", missing)
    build._versions.cache_clear()
    try:
        with pytest.raises(DataError, match=r"matplotlib\).*\[report\]"):
            built(tmp_path / "out")
    finally:
        build._versions.cache_clear()
    assert not (tmp_path / "out").exists()


def test_boxes_that_are_gone_are_listed():
    before = {"a": {"status": "built", "key": "1"}, "b": {"status": "built", "key": "1"}}
    now = {"a": {"status": "built", "key": "1"}, "c": {"status": "no data"}}
    assert changes_since(before, now) == ("c: new, no data.", "b: no longer part of the report.")


def test_without_a_browser_the_pdf_says_what_else_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "find_browser", lambda: None)
    with pytest.raises(DataError, match=r"needs Chromium.*open .*page.html"):
        pdf.print_page(tmp_path / "page.html", tmp_path / "page.pdf")


def test_a_browser_that_fails_leaves_no_pdf(tmp_path, monkeypatch):
    false = tmp_path / "browser"
    false.write_text("#!/bin/sh\necho no display >&2\nexit 3\n", encoding="utf-8")
    false.chmod(0o755)
    monkeypatch.setattr(pdf, "find_browser", lambda: str(false))
    with pytest.raises(DataError, match=r"exit 3\): no display"):
        pdf.print_page(tmp_path / "page.html", tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


# -- with real kernels ----------------------------------------------------------------------------

SMALL = ("bergsma-table-6", "bergsma-fig-5", "bergsma-table-8")
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


def command(out):
    names = [f"figure:{name}" for name in SMALL]
    code = "from workbench.cli import main; main()"
    return [sys.executable, "-c", code, "report", *names, "--out", str(out), "--processes=1"]


def without_dates(out):
    page = _DATE.sub("", (out / "papers.html").read_text(encoding="utf-8"))
    parts = {}
    for path in sorted((out / "parts").iterdir()):
        part = json.loads(path.read_text(encoding="utf-8"))
        parts[path.name] = {k: v for k, v in part.items() if k != "seconds"}
    return page, parts


@pytest.mark.slow
@pytest.mark.xdist_group("report")
def test_a_killed_build_goes_on_and_ends_the_same(tmp_path):
    pytest.importorskip("matplotlib")
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = subprocess.Popen(command(stopped), stderr=subprocess.DEVNULL)
    first = stopped / "parts" / f"{SMALL[0]}.json"
    until = time.monotonic() + 200
    while not first.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert first.exists()
    assert not (stopped / "papers.html").exists()
    resumed = build.build_papers(out=stopped, names=SMALL, processes=2, progress=False)
    assert SMALL[0] not in resumed.ran
    assert resumed.ran
    build.build_papers(out=whole, names=SMALL, processes=2, progress=False)
    assert without_dates(stopped) == without_dates(whole)


@pytest.mark.slow
@pytest.mark.xdist_group("report")
def test_a_notebook_that_fails_is_reported_with_its_traceback(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    old = ENTRIES[BROKEN]
    broken = Entry(old.name, old.title, old.question, old.make, full={"points": 3})
    monkeypatch.setitem(ENTRIES, BROKEN, broken)
    result = build.build_papers(out=tmp_path, names=[BROKEN], scale="full", progress=False)
    assert result.failed == (BROKEN,)
    assert "points must be at least 20, found 3" in result.parts[BROKEN]["reason"]
    assert "figure_26" in result.parts[BROKEN]["traceback"]
    assert "points must be at least 20" in result.html.read_text(encoding="utf-8")
    assert not (tmp_path / "parts").exists()
