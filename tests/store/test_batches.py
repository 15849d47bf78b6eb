from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.errors import DataError
from workbench.store.batches import join, overlay, pack, unpack

names = st.text(min_size=1, max_size=8).filter(lambda name: name != "step")
doubles = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def batches(draw, *, max_step=2**62):
    count = draw(st.integers(0, 20))
    steps = draw(hnp.arrays(np.int64, count, elements=st.integers(0, max_step)))
    columns = draw(st.lists(names, unique=True, max_size=3))
    values = {name: draw(hnp.arrays(np.float64, count, elements=doubles)) for name in columns}
    return {"step": steps, **values}


@given(batches())
def test_packing_keeps_every_bit(batch):
    back = unpack(pack(batch))
    assert list(back) == list(batch)
    for name, values in batch.items():
        assert back[name].tobytes() == values.tobytes()


@given(batches(), st.data())
def test_no_flipped_bit_goes_unnoticed(batch, data):
    packed = bytearray(pack(batch))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= 1 << data.draw(st.integers(0, 7))
    if 8 <= position < 12:  # the header length is not under the checksum: it fails to parse
        with pytest.raises((DataError, ValueError)):
            unpack(bytes(packed))
    else:
        with pytest.raises(DataError, match="damaged"):
            unpack(bytes(packed))


@given(st.lists(batches(max_step=10), min_size=1, max_size=4))
def test_join_keeps_one_record_a_step_with_the_last_value_known(parts):
    expected: dict[int, dict[str, float]] = {}
    for part in parts:
        for i, step in enumerate(part["step"]):
            row = expected.setdefault(int(step), {})
            row |= {n: v[i] for n, v in part.items() if n != "step" and not np.isnan(v[i])}
    joined = join(parts)
    assert joined["step"].tolist() == sorted(expected)
    for name in set(joined) - {"step"}:
        wanted = [expected[int(step)].get(name, np.nan) for step in joined["step"]]
        np.testing.assert_array_equal(joined[name], wanted)


def test_overlay_replaces_whole_records_and_keeps_the_rest():
    older = {"step": np.array([1, 2, 3]), "a": np.array([1.0, 2.0, 3.0]), "b": np.ones(3)}
    newer = {"step": np.array([2, 4]), "a": np.array([20.0, 40.0])}
    both = overlay(older, newer)
    assert both["step"].tolist() == [1, 2, 3, 4]
    assert both["a"].tolist() == [1, 20, 3, 40]
    np.testing.assert_array_equal(both["b"], [1, np.nan, 1, np.nan])
