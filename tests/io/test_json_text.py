from __future__ import annotations

import math

import pytest

from workbench.errors import DataError
from workbench.io.configs import flatten, take_config
from workbench.io.json_text import as_number, parse_json
from workbench.io.runlog import RunLog


def test_nan_is_a_number_and_a_byte_order_mark_is_none_of_our_business():
    assert math.isnan(parse_json(b"\xef\xbb\xbf[NaN]", where="x")[0])
    assert parse_json("[Infinity, 12345678901234567890]", where="x") == [
        math.inf,
        12345678901234567890.0,
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "not usable JSON"),
        ("{", "not usable JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[" + "9" * 309 + "]", "number of 309 digits"),
        ('{"a": {"b": 1, "b": 1}}', "key 'b' is twice in one object"),
        ('{"' + "k" * 9999 + '": 1, "' + "k" * 9999 + '": 1}', "key 'kkkk"),
    ],
)
def test_what_is_refused_is_said_in_one_short_paragraph(text, said):
    with pytest.raises(DataError, match=said) as caught:
        parse_json(text, where="the log")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (True, 1.0),
        ("1e-3", 0.001),
        ("x", None),
        (None, None),
        ([1], None),
        ("9" * 999, None),
    ],
)
def test_numbers_in_quotes(value, number):
    assert as_number(value) == number
    assert math.isnan(as_number("nan"))


def test_a_config_is_taken_within_limits():
    deep: dict[str, object] = {"x": 1}
    for _ in range(500):
        deep = {"a": deep}
    assert list(flatten(deep)) == []
    assert list(flatten({"k" * 300: 1, "b": 2})) == [("b", 2)]
    log = RunLog("r", source="s")
    take_config(log, {f"k{i}": i for i in range(5000)})
    assert len(log.settings) == 2000
    assert "only the first 2000 settings" in log.notes[0]
