"""Claims turn both ways; a chart is the same thing on the screen and in print."""

from __future__ import annotations

import json
import re

import holoviews as hv
import numpy as np
import pytest

from workbench.reports.papers import ENTRIES
from workbench.reports.papers.charts import Band, Chart, Figure, Line, Points, Rule, Table, shades
from workbench.reports.papers.claims import at_least, at_most, equal, near, number, untested
from workbench.reports.papers.notebook import handed_back

X = np.linspace(1, 10, 7)
CHART = Chart(
    "Title",
    "x [unit]",
    "y [unit]",
    [
        Band(X, X, 2 * X, "band"),
        Line(X, X, "line"),
        Line(X, 1.5 * X, "line"),
        Points([2, 3], [4, 5], "points", names=("a", "b")),
        Rule(3.0, "y", "rule"),
        Rule(4.0, "x"),
    ],
    "Caption.",
    log_x=True,
    y_range=(0.5, 30.0),
)


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        (near("a", expected=2.0, found=2.1, rel=0.05), "held"),
        (near("a", expected=2.0, found=2.11, rel=0.05), "did not hold"),
        (near("a", expected=0.0, found=0.2, off=0.1), "did not hold"),
        (near("a", expected=1.0, found=float("nan"), rel=0.05), "did not hold"),
        (at_most("a", bound=1.0, found=1.0), "held"),
        (at_most("a", bound=1.0, found=1.1), "did not hold"),
        (at_least("a", bound=1.0, found=0.9), "did not hold"),
        (at_least("a", bound=1.0, found=float("nan")), "did not hold"),
        (equal("a", expected=3, found=3), "held"),
        (equal("a", expected=True, found=False), "did not hold"),
        (untested("a", expected="b", reason="c"), "not testable here"),
    ],
)
def test_verdicts(claim, status):
    assert claim.status == status
    assert claim.to_dict()["status"] == status
    assert status in str(claim)


def test_yes_and_no_are_words():
    claim = equal("a", expected=True, found=False)
    assert (claim.expected, claim.found) == ("yes", "no")
    assert equal("a", expected=1, found=1).found == "1"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (234.04, "234"),
        (1.47e20, "1.470e+20"),
        (7.9e-5, "7.900e-05"),
        (1346251.6, "1.346e+06"),
    ],
)
def test_numbers(value, said):
    assert number(value) == said
    assert number(value, "nats") == f"{said} nats"


def test_the_verdict_of_a_figure_counts():
    claims = [near("a", expected=1, found=1, rel=0.1), untested("b", expected="c", reason="d")]
    assert Figure(claims).verdict == "1 claim held, 1 claim not testable here."
    assert Figure(claims[:1] * 2).verdict == "2 claims held."


def test_on_the_screen_every_mark_is_drawn_and_named_once():
    overlay = Figure([], [CHART]).holoviews()[0]
    kinds = [type(element).__name__ for element in overlay]
    assert kinds == ["Area", "Curve", "Curve", "Points", "HLine", "Curve", "VLine"]
    plot = hv.renderer("bokeh").get_plot(overlay).state
    labels = [item.label["value"] for item in plot.legend[0].items]
    assert labels == ["band", "line", "points", "rule"]
    assert plot.xaxis[0].axis_label == "x [unit]"
    assert (plot.y_range.start, plot.y_range.end) == (0.5, 30.0)
    assert type(plot.x_scale).__name__ == "LogScale"


def test_what_a_page_embeds_is_the_same_twice_and_shares_no_identifier():
    pytest.importorskip("matplotlib")
    figure = Figure([], [CHART, CHART], [Table("t", ("a",), [["b"]])], "Yes.", {"n": np.float64(1)})
    one, two = handed_back(figure), handed_back(figure)
    assert one == two
    first, second = (json.loads(chart["live"]) for chart in one["charts"])
    ids = [set(re.findall(r'"id": ?"([^"]+)"', json.dumps(item))) for item in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert all(name.startswith("NAME-0-") for name in ids[0])
    assert one["tables"] == [{"title": "t", "head": ["a"], "rows": [["b"]]}]
    assert json.loads(json.dumps(one)) == one


def test_in_print_every_mark_is_drawn():
    pytest.importorskip("matplotlib")
    figure = Figure([], [CHART, CHART, CHART]).matplotlib()
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == 3
    ax = shown[0]
    assert ax.get_title(loc="left") == "Title"
    assert ax.get_xscale() == "log"
    assert ax.get_ylim() == (0.5, 30.0)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "band",
        "line",
        "points",
        "rule",
    ]
    assert {text.get_text() for text in ax.texts} == {"a", "b"}
    assert len(ax.lines) == 5


@pytest.mark.parametrize("name", ["bergsma-fig-5", "bergsma-fig-20", "qiu-fig-5b"])
def test_the_curves_drawn_are_those_of_the_figure(name):
    figure = ENTRIES[name].function()()
    for chart, overlay in zip(figure.charts, figure.holoviews(), strict=True):
        lines = [mark for mark in chart.marks if isinstance(mark, Line)]
        drawn = [e for e in overlay if isinstance(e, hv.Curve) and len(e) > 1]
        assert len(drawn) == len(lines)
        for mark, element in zip(lines, drawn, strict=True):
            np.testing.assert_array_equal(element.dimension_values("y"), np.asarray(mark.y))


def test_shades_run_through_a_palette():
    assert len(set(shades("size", 8))) == 8
    assert len(shades("tpp", 1)) == 1
    assert shades("tau", 3)[0] == shades("tau", 5)[0]
