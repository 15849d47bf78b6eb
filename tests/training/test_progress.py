"""The bar: in a terminal, in a log file, in a notebook; and the estimate of the time left."""

from __future__ import annotations

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from workbench.training import bars, parse_spec, plan_family
from workbench.training.progress import Tracker
from workbench.training.report import Report

GROUP = {"width": 8, "tau": 0.2, "tpp": 10, "seed": [0, 1]}


@pytest.fixture
def plan():
    return plan_family(parse_spec({"family": "f", "group": [GROUP]}))


@pytest.fixture
def events():
    return []


@pytest.fixture
def tracker(plan, events):
    return Tracker(plan, plan.runs, started=0.0, show=False, on_event=events.append)


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands until it is moved."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def tell(tracker, number, steps, status="running", **more):
    tracker.take(Report(list(tracker.open_runs)[number], steps, status, **more))


def test_time_left_follows_the_pace_of_this_call(plan, tracker, clock):
    steps = plan.runs[0].total_steps
    assert tracker.seconds_left() is None
    tell(tracker, 0, 0, resumed=0)
    tell(tracker, 1, 0, resumed=0)
    clock.seconds = 10.0
    tell(tracker, 0, steps // 2)
    assert tracker.share == pytest.approx(0.25, abs=1e-3)
    assert tracker.seconds_left() == pytest.approx(30.0, rel=5e-3)


def test_what_checkpoints_had_does_not_count_as_made(plan, tracker, clock):
    steps = plan.runs[0].total_steps
    half = steps // 2
    tell(tracker, 0, half, resumed=half)
    tell(tracker, 1, half, resumed=half)
    assert tracker.share == pytest.approx(0.5, abs=5e-3)
    assert tracker.steps_made == 0
    assert tracker.seconds_left() is None
    clock.seconds = 10.0
    tell(tracker, 0, steps)
    assert tracker.steps_made == steps - half
    assert tracker.seconds_left() == pytest.approx(10.0, rel=5e-3)


def test_a_job_taken_over_by_another_worker_changes_no_count(plan, tracker, events):
    steps = plan.runs[0].total_steps
    first = plan.runs[0].run_id
    tell(tracker, 0, 0, resumed=0)
    tell(tracker, 0, 40)
    tell(tracker, 0, 20, resumed=20)  # from the checkpoint before
    assert tracker.steps_made == 40
    tell(tracker, 0, steps, "done")
    tracker.take(Report(first, steps, "done", resumed=steps))
    tracker.finish()
    assert events[-1].runs_done == 1
    assert tracker.steps_made == steps
    assert [event.kind for event in events if event.kind == "run"] == ["run"]


def test_a_terminal_has_one_line_that_is_drawn_over(plan, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    tracker = Tracker(plan, plan.runs, started=time.monotonic() - 1, show=True, on_event=None)
    tell(tracker, 0, 0, resumed=0)
    tell(tracker, 1, 0, resumed=0)
    tell(tracker, 0, plan.runs[0].total_steps, "done")
    tracker.finish()
    said = screen.getvalue()
    assert said.count("\n") == 1
    assert re.search(r"Training f:  50 % \|.*\|, 1/2 runs, \d+ s left", said)


def test_a_log_file_gets_a_line_every_ten_seconds_only(plan, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert bars.TerminalBar("x").seconds == bars.LOG_SECONDS


def test_a_notebook_has_html_that_is_replaced(plan, monkeypatch):
    IPython = pytest.importorskip("IPython")
    shown = []

    class Handle:
        def update(self, page, *, raw):
            assert raw
            shown.append(page)

    def display(page, *, raw, display_id):
        assert raw
        assert display_id
        shown.append(page)
        return Handle()

    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", display)
    assert bars.in_notebook()
    tracker = Tracker(plan, plan.runs, started=time.monotonic() - 1, show=True, on_event=None)
    tell(tracker, 0, 0, resumed=0)
    tell(tracker, 0, plan.runs[0].total_steps, "done")
    tracker.finish()
    assert '<progress value="0.0000" max="1"' in shown[0]["text/html"]
    assert '<progress value="0.5000" max="1"' in shown[-1]["text/html"]
    assert re.fullmatch(r"Training f: 50 %, 1/2 runs, \d+ s left", shown[-1]["text/plain"])
    bars.NotebookBar("a<b")
    assert "a&lt;b" in shown[-1]["text/html"]


def test_outside_a_notebook_there_is_none(monkeypatch):
    assert not bars.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not bars.in_notebook()


@pytest.mark.slow
def test_a_real_notebook_shows_the_bar_and_keeps_it(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbconvert = pytest.importorskip("nbconvert.preprocessors")
    cell = (
        "from workbench.training import load_spec, train_family\n"
        f"train_family(load_spec('smoke'), {str(tmp_path / 'runs')!r}, processes=1)"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbconvert.ExecutePreprocessor(timeout=120, kernel_name="python3").preprocess(notebook)
    outputs = notebook.cells[0].outputs
    pages = [out["data"]["text/html"] for out in outputs if "text/html" in out.get("data", {})]
    assert len(pages) == 1  # drawn in place
    assert "Training smoke: 100 %, 5/5 runs, 0 s left" in pages[0]
    assert not [out for out in outputs if out.output_type == "stream"]
