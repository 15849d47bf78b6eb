from __future__ import annotations

import numpy as np
import pytest

from workbench.text import percent, percent_two_digits, plain, plural, short_count, without_password


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (11_803_008, "11.8M"),
        (1.3e9, "1.30B"),
        (999_600, "1.00M"),
        (10_240, "10.2k"),
        (0.52e12, "520B"),
        (512, "512"),
        (float("nan"), "not recorded"),
    ],
)
def test_counts_have_three_digits(value, text):
    assert short_count(value) == text


def test_shares_and_spreads():
    assert percent(0.176) == "18 %"
    assert percent(0.004) == "0.4 %"
    assert percent_two_digits(0.0034) == "0.34 %"
    assert percent_two_digits(1.13) == "113 %"
    assert plural(1, "run") == "1 run"
    assert plural(2, "run") == "2 runs"


def test_json_gets_plain_values_only():
    value = plain({"a": np.array([1.0, np.nan]), "b": (np.int64(3), float("inf")), "c": None})
    assert value == {"a": [1.0, None], "b": [3, None], "c": None}
    assert type(value["b"][0]) is int


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("open postgresql://me:pw@host/db now", "open postgresql://me:***@host/db now"),
        ("postgresql:/me:p/w@x@host/db", "postgresql:/me:***@host/db"),
        ("host=h password=pw user=me", "host=h password=*** user=me"),
        ("postgresql://host/db?password=pw&a=1", "postgresql://host/db?password=***&a=1"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("http://127.0.0.1:5006/ and me@example.org", "http://127.0.0.1:5006/ and me@example.org"),
        ("--set tokens_total=5", "--set tokens_total=5"),
    ],
)
def test_passwords_of_urls_are_hidden(text, shown):
    assert without_password(text) == shown
