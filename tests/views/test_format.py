from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.views import format as fmt


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (fmt.count, 11_800_000, "11.8M"),
        (fmt.count, 1.3e9, "1.3B"),
        (fmt.count, 0.52e12, "520B"),
        (fmt.count, 960, "960"),
        (fmt.count, 999_950, "1M"),
        (fmt.count, 100e6, "100M"),
        (fmt.tau, 0.0421, "0.042"),
        (fmt.tau, float("nan"), "not recorded"),
        (fmt.tpp, 20.4, "20"),
        (fmt.tpp, 7.04, "7.0"),
        (fmt.loss, 3.13344, "3.133"),
        (fmt.number, 3.0, "3"),
    ],
)
def test_numbers_read_as_the_brief_asks(write, value, text):
    assert write(value) == text


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=30, unique=True))
def test_different_values_never_read_the_same(values):
    labels = fmt.distinct_labels("tau", np.sort(values))
    assert len(set(labels)) == len(labels)


def test_one_unit_per_axis():
    assert fmt.axis_unit("tokens", 3.5e10) == (1e9, "B")
    assert fmt.axis_unit("compute", 4e17) == (1e15, "PFLOP")
    assert fmt.axis_unit("progress", 1.0) == (1.0, "")
