from __future__ import annotations

import pytest

from workbench.io.lines import LONGEST_LINE, plain_line, read_lines
from workbench.io.runlog import RunLog


@pytest.fixture
def read(tmp_path):
    def lines(content):
        path = tmp_path / "a.log"
        path.write_bytes(content)
        log = RunLog("a", source="a.log")
        return list(read_lines(path, log)), log.remarks()

    return lines


def test_a_last_line_still_being_written_is_left_out(read):
    lines, notes = read(b"one\ntwo\r\nthr")
    assert lines == ["one", "two"]
    assert notes == [
        "a.log: left out 1 line without a line end, taken as still being written",
    ]


def test_an_endless_line_is_left_out_and_reading_goes_on(read):
    lines, notes = read(b"x" * (2 * LONGEST_LINE + 5) + b"\nnext\n")
    assert lines == ["next"]
    assert notes == ["a.log: left out 1 line longer than a mebibyte"]


def test_an_endless_last_line_ends(read):
    assert read(b"x" * (LONGEST_LINE + 5)) == (
        [],
        ["a.log: left out 1 line longer than a mebibyte"],
    )


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("[rank0]: loss", "loss"),
        ("[default7]:loss", "[default7]:loss"),
        ("[default7]: loss", "loss"),
        ("3: loss", "loss"),
        ("\x1b[31mloss\x1b[0m", "loss"),
        ("10 %\r20 %\n", "20 %"),
        ("12:30:01 loss", "12:30:01 loss"),
    ],
)
def test_ranks_and_colours_are_removed(line, plain):
    assert plain_line(line) == plain
