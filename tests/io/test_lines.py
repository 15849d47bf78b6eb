from __future__ import annotations

import math
import re

import pytest

from workbench.errors import DataError
from workbench.io.configs import take_config
from workbench.io.lines import (
    LONGEST_LINE,
    OPENING_BYTES,
    Columns,
    JsonBlock,
    has_line,
    literal,
    number,
    plain_line,
    ranked_line,
    read_lines,
)
from workbench.io.result import Source
from workbench.io.runlog import RunLog


@pytest.fixture
def log():
    return RunLog("run", source="run.log")


@pytest.mark.parametrize(
    ("line", "rank", "plain"),
    [
        ("step 1", None, "step 1"),
        ("0: step 1", 0, "step 1"),
        (" 12: step 1", 12, "step 1"),
        ("[rank3]:[titan] step 1", 3, "[titan] step 1"),
        ("[rank3]: step 1", 3, "step 1"),
        ("[default7]:step 1", 7, "step 1"),
        ("10:30 step 1", None, "10:30 step 1"),
        ("[step 1]", None, "[step 1]"),
        ("s:0 tel:1.0", None, "s:0 tel:1.0"),
    ],
)
def test_ranks_before_a_line(line, rank, plain):
    assert ranked_line(line + "\n") == (rank, plain)


def test_colours_and_overwritten_progress_are_not_seen():
    assert plain_line("\x1b[31mstep\x1b[38;2;1;2;3m 1\x1b[0m\r\n") == "step 1"
    assert plain_line(" 10%|#   |\r 20%|##  |\rstep 1\n") == "step 1"


def test_a_torn_and_an_endless_line_are_counted(tmp_path, log):
    path = tmp_path / "run.log"
    path.write_bytes(b"one\n" + b"x" * (2 * LONGEST_LINE) + b"\n\xff two\nthree")
    assert list(read_lines(path, log)) == ["one", "\ufffd two"]
    remarks = " ".join(log.remarks())
    assert "1 line longer than a mebibyte" in remarks
    assert "1 line without a line end" in remarks


def test_a_file_that_cannot_be_read_is_named(tmp_path, log):
    with pytest.raises(DataError, match=r"none\.log cannot be read: No such file"):
        list(read_lines(tmp_path / "none.log", log))


def test_a_line_after_a_long_preamble_is_found_up_to_a_bound(tmp_path):
    pattern = re.compile(r"^step 1$", re.MULTILINE)
    near, far = tmp_path / "near.log", tmp_path / "far.log"
    near.write_text("banner\n" * 20_000 + "[rank0]: step 1\n")
    far.write_text("banner\n" * (OPENING_BYTES // 7 + 1) + "step 1\n")
    assert has_line(Source(near), pattern)
    assert not has_line(Source(far), pattern)


def test_a_growing_file_is_looked_at_again(tmp_path):
    pattern, path = re.compile(r"^step 1$", re.MULTILINE), tmp_path / "run.log"
    path.write_text("banner\n" * 20_000)
    assert not has_line(Source(path), pattern)
    with path.open("a") as file:
        file.write("step 1\n")
    assert has_line(Source(path), pattern)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,327.5", 1327.5),
        ("3.2E+00", 3.2),
        ("-nan", math.nan),
        ("INF", math.inf),
        ("9" * 400, math.inf),
    ],
)
def test_numbers_as_logs_write_them(text, value):
    assert number(text) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("text", ["", "3.2ms", "None", "0x10", "1.2.3", "--"])
def test_what_is_no_number(text):
    assert number(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8*64 # batch size", 512),
        ("2048 * 16 * 8", 262_144),
        ("0.0036", 0.0036),
        ("1e-1  # decay", 0.1),
        ("'owt' # not a comment", "owt"),
        ('"a # b"', "a # b"),
        ("True", True),
        ("__import__('os').getcwd()", None),
        ("2**1000000000", None),
        ("'open", None),
        ("None", None),
    ],
)
def test_settings_as_source_writes_them(text, value):
    assert literal(text) == value


def test_columns_know_names_and_units(log):
    columns = Columns(log, {"dt": "step_time_ms"}, {"dt": "ms"})
    texts = [("dt", "99.5ms"), ("tok/sec", "1,000"), ("lr", None), ("norm", "oops")]
    assert columns.take(texts) == {"step_time_ms": 99.5, "tok_sec": 1000.0}
    assert "1 value that no number can be read from" in " ".join(log.remarks())


def test_a_json_object_over_lines():
    block = JsonBlock()
    lines = ["config: {", '  "a": {', '    "b": 1', "  },", '  "c": [2]', "}", "step 1"]
    assert [block.take(line) for line in lines][5] == {"a": {"b": 1}, "c": [2]}


@pytest.mark.parametrize("lines", [["{", "step 1", "}"], ["{", "  oops", "}"], ["{", " [", "}"]])
def test_what_only_starts_like_one(lines):
    block = JsonBlock()
    assert [block.take(line) for line in lines] == [None] * 3
    assert [block.take(line) for line in ["{", ' "a": 1', "}"]][2] == {"a": 1}


def test_a_batch_of_minus_one_is_not_given(log):
    take_config(log, {"global_batch_size": -1, "seq_len": 2048})
    assert "batch_size" not in log.settings


def test_thousands_of_settings_are_cut_and_said(log):
    take_config(log, {f"key{i}": i for i in range(5_000)})
    assert len(log.settings) == 2_000
    assert "only the first 2000 settings" in " ".join(log.notes)
