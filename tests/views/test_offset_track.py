from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.collapse import OffsetEstimate
from workbench.views.offset_track import SNAP, offset_track


def estimate(value):
    return OffsetEstimate(value, 0.9 * value, value * 1.001, "test")


@given(st.floats(0.5, 20), st.floats(0.0, 0.999), st.floats(0, 1))
def test_position_and_offset_are_inverse(lowest, share, position):
    track = offset_track(lowest, estimate(share * lowest))
    offset = track.offset_at(position)
    assert 0 <= offset < lowest
    assert track.position_of(offset) == pytest.approx(position, abs=SNAP + 1e-9)


def test_handle_is_caught_by_the_fitted_value():
    track = offset_track(3.16, estimate(3.1334))
    assert track.offset_at(track.fitted + 0.9 * SNAP) == 3.1334
    assert track.offset_at(track.fitted + 1.1 * SNAP) != 3.1334
    assert track.offset_at(0) == 0


@given(st.floats(1e-3, 20), st.floats(0.01, 0.999))
def test_marks_lie_on_the_track_and_apart(lowest, share):
    marks = offset_track(lowest, estimate(share * lowest)).marks()
    places = [place for place, _ in marks]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert [text for _, text in marks].count("L₀") == 1


def test_without_a_fit_there_is_no_mark_for_it():
    assert "L₀" not in [text for _, text in offset_track(3.0, None).marks()]
