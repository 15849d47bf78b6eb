"""What all console formats have in common: told apart by content, and whole whatever the damage."""

from __future__ import annotations

import contextlib
import re
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.io.readers.samples import CONSOLE_LOGS
from workbench.errors import ArgumentError, DataError
from workbench.io import FORMATS, read
from workbench.io.lines import LONGEST_LINE
from workbench.io.result import Source

HUGE = (
    b"9" * 400,
    b"1e999",
    b"-1",
    b"nan",
    b"0.5",
    b"9007199254740993",
    "\u0663".encode(),
    b"-inf",
)
PIECES = (
    b"\0\0\0\0",
    b"\r",
    b"\x1b[31m",
    b"\xff\xfe",
    b"{",
    b"}",
    b"|",
    b"=" * 60,
    b"\n" * 3,
    b" ",
)


@st.composite
def damaged(draw):
    """Return a format and its log after up to six damages."""
    name = draw(st.sampled_from(sorted(CONSOLE_LOGS)))
    content = CONSOLE_LOGS[name].encode()
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        end = min(len(content), start + draw(st.integers(0, 200)))
        kind = draw(st.sampled_from(["cut", "flip", "repeat", "insert", "number", "drop", "lines"]))
        if kind == "cut":
            content = content[:start]
        elif kind == "flip":
            content = content[:start] + bytes([draw(st.integers(0, 255))]) + content[start + 1 :]
        elif kind == "repeat":
            content = content[:end] + content[start:end] * draw(st.integers(1, 20)) + content[end:]
        elif kind == "insert":
            content = content[:start] + draw(st.sampled_from(PIECES)) + content[start:]
        elif kind == "number":
            digits = [i for i in range(start, end) if content[i : i + 1].isdigit()]
            if digits:
                piece = draw(st.sampled_from(HUGE))
                content = content[: digits[0]] + piece + content[digits[0] + 1 :]
        elif kind == "drop":
            content = content[:start] + content[end:]
        else:
            lines = content.splitlines(keepends=True)
            content = b"".join(draw(st.permutations(lines)))
    return name, content


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damage_gives_a_result_or_a_clean_error(tmp_path_factory, case):
    name, content = case
    path = tmp_path_factory.mktemp("damaged", numbered=True) / "run.log"
    path.write_bytes(content)
    for format in FORMATS.values():
        assert format.sniff(Source(path, "run")) in (True, False)
    with contextlib.suppress(DataError, ArgumentError):
        result = read(path, format=name)
        steps = result.runs["step"].to_numpy()
        sizes = result.runs["row_size"].to_numpy()
        assert sizes.sum() == len(steps) > 0
        for own in np.split(steps, np.cumsum(sizes)[:-1]):
            assert (np.diff(own) > 0).all()


@pytest.mark.parametrize("name", CONSOLE_LOGS)
def test_long_lines_of_repeated_pieces_take_no_time(tmp_path, name):
    path = tmp_path / "run.log"
    # Lines that almost are records, each as long as a line may be: where a pattern goes back over
    # what it has seen, time grows with the square of the length.
    lines = {re.sub("[0-9]+", "1", line): line for line in CONSOLE_LOGS[name].splitlines()}.values()
    cuts = [line[: len(line) * 3 // 4] for line in lines]
    parts = [cut * ((LONGEST_LINE - 1) // len(cut)) for cut in cuts if cut]
    parts += [line + " " * 500_000 + "x" for line in list(lines)[-6:]]
    path.write_text(CONSOLE_LOGS[name] + "\n".join(parts) + "\n")
    began = time.process_time()
    for format in FORMATS.values():
        format.sniff(Source(path, "run"))
    read(path, format=name)
    # Measured 0.1 to 0.4 s, and 6.5 s when one pattern of one reader goes back.
    assert time.process_time() - began < 3


@pytest.mark.parametrize("name", CONSOLE_LOGS)
def test_memory_does_not_grow_with_lines_that_are_no_records(tmp_path, name):
    path = tmp_path / "run.log"
    noise = "[INFO] [config.py:991:print]   checkpoint_tag_validation_enabled  True\n" * 1_000
    with path.open("w") as file:
        file.write(CONSOLE_LOGS[name])
        for _ in range(200):
            file.write(noise)
    source = Source(path, "run")
    FORMATS[name].read(source)
    tracemalloc.start()
    FORMATS[name].read(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 14e6
    assert peak < 7e6  # the opening is 2 MiB of it, decoded


@pytest.mark.parametrize("name", CONSOLE_LOGS)
def test_the_content_tells_the_format(tmp_path, name):
    path = tmp_path / "log.csv"
    path.write_text(CONSOLE_LOGS[name])
    fitting = [each.name for each in FORMATS.values() if each.sniff(Source(path, "log"))]
    assert fitting == [name]
    assert read(path).report.imported[0]["format"] == name


@pytest.mark.parametrize("name", CONSOLE_LOGS)
def test_line_ends_of_windows_and_colours_change_nothing(tmp_path, name):
    plain, dressed = tmp_path / "a" / "run.log", tmp_path / "b" / "run.log"
    for path, end in ((plain, "\n"), (dressed, "\x1b[0m\r\n")):
        path.parent.mkdir()
        path.write_text(CONSOLE_LOGS[name].replace("\n", end), newline="")
    assert read(dressed).report.imported == read(plain).report.imported
    for column in ("step", *read(plain).runs.data_vars):
        np.testing.assert_array_equal(read(dressed).runs[column], read(plain).runs[column])


@pytest.mark.parametrize("name", CONSOLE_LOGS)
def test_binary_files_and_folders_are_not_claimed(tmp_path, name):
    path = tmp_path / "events.bin"
    path.write_bytes(b"\0" + CONSOLE_LOGS[name].encode())
    assert not FORMATS[name].sniff(Source(path, "events"))
    assert not FORMATS[name].sniff(Source(tmp_path, "folder"))
    assert not FORMATS[name].sniff(Source(tmp_path / "none", "none"))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("modded-nanogpt", "step:{i}/9 val_loss:1.0 k{i}:1.0\n"),
        ("nanochat", "step {i:05d}/00009 (1.00%) | loss: 1.0 | k{i}: 1.0\n"),
        ("torchtitan", "step: {i}  loss: 1.0  memory: 1.0GiB(1%)  k{i}: 1.0\n"),
        ("megatron", " iteration {i}/ 9 | consumed samples: 1 | lm loss: 1.0 | k{i}: 1.0 |\n"),
    ],
)
def test_names_a_damaged_log_makes_up_stay_few(tmp_path, name, line):
    path = tmp_path / "run.log"
    path.write_text("".join(line.format(i=i) for i in range(500)))
    result = read(path, format=name)
    assert result.runs.sizes["obs"] == 500
    assert len(result.runs.data_vars) < 70
    assert "beyond the first 64 columns" in " ".join(result.report.notes)
