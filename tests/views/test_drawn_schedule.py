from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import ArgumentError
from workbench.recipes import SCHEDULES, NamedSchedule
from workbench.views.drawn_schedule import MOST_POINTS, points_through, read_points, write_points


def test_points_are_shares_of_the_largest_in_any_order():
    found = read_points("100:0, 10:50  60:50 0:0")
    np.testing.assert_allclose(found.at([0, 0.05, 0.3, 0.8, 1]), [0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:0", "found 1"),
        ("0:0 10 100:0", "'10' is no point"),
        ("0:0 ten:5", "'ten:5' is no point"),
        ("0:0 50:1 50:2", "must rise"),
        ("0:1 120:2", "must rise within"),
        ("0:0 100:0", "above zero"),
        ("0:-1 100:1", "not negative"),
        (" ".join(f"{i}:1" for i in range(30)), "2 to 24 points"),
    ],
)
def test_what_is_no_schedule_is_said(text, said):
    with pytest.raises(ArgumentError, match=said):
        read_points(text)


@pytest.mark.parametrize("name", [s for s in SCHEDULES if s not in ("multi_step", "inverse_sqrt")])
def test_points_follow_a_named_schedule(name):
    final = 0.1 if name in ("exponential", "harmonic") else 0.0
    named = NamedSchedule(name, 0.1, final_lr_fraction=final)
    text = write_points(named)
    assert len(text.split()) <= MOST_POINTS
    x = np.linspace(0, 1, 200)
    assert np.abs(read_points(text).at(x) - named.at(x)).mean() < 0.02


def test_straight_parts_need_only_their_ends():
    assert write_points(NamedSchedule("linear", 0.1)) == "0:0 10:100 100:0"


def test_points_through_a_recorded_rate():
    factor = NamedSchedule("wsd", 0.1, 0.2).factors(256)
    found = read_points(points_through(factor))
    assert np.abs(found.factors(256) - factor).mean() < 0.01
