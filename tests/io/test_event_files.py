from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.event_bytes import (
    DTYPES,
    block,
    event,
    f32,
    f64,
    frame,
    losses,
    mutations,
    number,
    rich,
    scalar,
    session_start,
    tensor,
    version,
)
from workbench.errors import DataError
from workbench.io import event_files, event_scanner
from workbench.io.crc32c import HEADER, checksum, extend, header_positions, masked, tables
from workbench.io.event_files import read_events, starts_as_events
from workbench.io.event_log import EventLog


@pytest.fixture(params=[False, True], ids=["interpreted", "compiled"])
def compiled(request):
    if request.param:
        pytest.importorskip("numba")
    return request.param


def read(tmp_path, content, *, compiled=False):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(content)
    return read_events(path, compiled=compiled)


def values(log: EventLog, tag: str = "loss"):
    points = log.points
    own = points.tag == log.tags.index(tag.encode())
    return dict(zip(points.step[own].tolist(), points.value[own].tolist(), strict=True))


def same(one: EventLog, other: EventLog) -> bool:
    columns = zip(one.points, other.points, strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in columns) and (
        one.tags,
        one.restarts,
        one.texts,
        one.hparams,
        one.left_out,
        one.notes,
        one.first_time,
    ) == (
        other.tags,
        other.restarts,
        other.texts,
        other.hparams,
        other.left_out,
        other.notes,
        other.first_time,
    )


def test_checksums_are_those_of_the_standard():
    assert extend(0, b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert checksum(b"123456789") == masked(0xE3069283)
    crc = np.uint32(0xFFFFFFFF)
    for byte in b"123456789":
        crc = (crc >> np.uint32(8)) ^ tables()[0][(crc ^ np.uint32(byte)) & np.uint32(0xFF)]
    assert crc ^ np.uint32(0xFFFFFFFF) == 0xE3069283


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1), st.integers(0, 200))
def test_the_next_header_is_found_wherever_it_stands(noise, length, at):
    raw = length.to_bytes(8, "little")
    content = noise[:at] + raw + checksum(raw).to_bytes(4, "little") + noise[at:]
    assert min(at, len(noise)) in header_positions(np.frombuffer(content, np.uint8))
    assert not len(header_positions(np.frombuffer(content[: HEADER - 1], np.uint8)))


@pytest.mark.parametrize("name", DTYPES)
def test_scalars_of_every_type_in_either_place(tmp_path, name, compiled):
    dtype, listed, inline, expected = DTYPES[name]
    one = block(2, block(2, number(1, 1)))
    content = version() + b"".join(
        event(i, tensor("loss", dtype, *parts))
        for i, parts in enumerate(
            [(listed,), (block(4, inline),), (block(2, b""), listed), (one, block(4, inline))] * 2
        )
    )
    log = read(tmp_path, content, compiled=compiled)
    assert values(log) == dict.fromkeys(range(8), expected)
    assert not log.left_out


def test_what_is_no_scalar_is_counted_and_not_taken(tmp_path, compiled):
    two, none = block(2, block(2, number(1, 2))), block(2, block(2, number(1, 0)))
    content = version() + event(
        3,
        scalar("loss", 1.5),
        tensor("a", 1, block(5, bytes(8))),
        tensor("b", 1, two, block(4, bytes(4))),
        tensor("c", 1, none),
        tensor("d", 8, block(4, bytes(8))),
        tensor("e", 2, f32(5, 1.0)),
        tensor("f", 1),
        tensor("g", 7, block(8, b"x"), block(8, b"y")),
        tensor("h", 1, f32(5, 1.0), f32(5, 2.0)),
        block(1, b"pixels") + block(4, b"png"),
        block(1, b"weights") + block(5, b"buckets"),
        block(1, b"nothing"),
    )
    log = read(tmp_path, content, compiled=compiled)
    assert log.tags == [b"loss"]
    assert values(log) == {3: 1.5}
    assert log.left_out == Counter({"tensor not of one number": 8, "image": 1, "histogram": 1})


def test_texts_hyper_parameters_and_restarts(tmp_path, compiled):
    hparams = b"".join(
        block(1, block(1, name) + block(2, value))
        for name, value in [
            (b"lr", f64(2, 3e-4)),
            (b"opt", block(3, b"adamw")),
            (b"on", number(4, 1)),
        ]
    )
    metadata = block(9, block(1, block(1, b"hparams") + block(2, block(3, hparams))))
    content = (
        version()
        + event(0, block(1, b"_hparams_/session_start_info") + metadata)
        + event(0, tensor("args", 7, block(8, b'{"a": 1}')), tensor("args", 7, block(8, b"2")))
        + losses(range(3))
        + session_start(1)
        + losses(range(1, 3), offset=10)
    )
    log = read(tmp_path, content, compiled=compiled)
    assert log.hparams == {"lr": 3e-4, "opt": "adamw", "on": True}
    assert log.texts == {"args": ['{"a": 1}', "2"]}
    assert log.restarts == [(3, 1)]
    assert log.points.value.tolist() == [0, 1, 2, 11, 12]
    assert log.first_time == 1.0


def test_negative_steps_and_special_values_come_through(tmp_path, compiled):
    content = version() + b"".join(
        event(step, scalar("loss", value))
        for step, value in [(-1, np.nan), (2**62, np.inf), (0, -0.0), (7, -np.inf)] * 2
    )
    points = read(tmp_path, content, compiled=compiled).points
    assert points.step.tolist() == [-1, 2**62, 0, 7] * 2
    np.testing.assert_array_equal(points.value, [np.nan, np.inf, 0.0, -np.inf] * 2)


def test_a_torn_tail_of_any_length_is_left_out_and_counted(tmp_path, compiled):
    whole, last = version() + losses(range(5)), losses([5])
    assert not read(tmp_path, whole, compiled=compiled).left_out
    for cut in range(1, len(last)):
        log = read(tmp_path, whole + last[:cut], compiled=compiled)
        assert list(values(log)) == [0, 1, 2, 3, 4]
        assert log.left_out == {"record without an end, taken as still being written": 1}


def test_a_record_with_a_damaged_body_is_counted_and_the_next_is_read(tmp_path, compiled):
    whole, bad, rest = version() + losses(range(5)), bytearray(losses([5])), losses([6, 7])
    bad[20] ^= 4
    log = read(tmp_path, whole + bad + rest, compiled=compiled)
    assert list(values(log)) == [0, 1, 2, 3, 4, 6, 7]
    assert log.left_out == {"record with a wrong checksum": 1}
    assert list(values(read(tmp_path, whole + bad, compiled=compiled))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("noise", [b"", b"\0" * 5000, bytes(range(256)) * 9000], ids=len)
def test_reading_goes_on_behind_a_damaged_length(tmp_path, compiled, noise):
    whole, bad, rest = version() + losses(range(5)), bytearray(losses([5])), losses([6, 7])
    bad[3] ^= 4
    log = read(tmp_path, whole + bad + noise + rest, compiled=compiled)
    assert list(values(log)) == [0, 1, 2, 3, 4, 6, 7]
    assert log.left_out == {"part of the file with damage": 1}
    last = len(whole) + len(bad) + len(noise) - 1
    assert f"bytes {len(whole)} to {last} are damaged" in log.notes[0]


def test_bytes_missing_from_the_middle_lose_only_what_they_held(tmp_path, compiled):
    content = version() + losses(range(9))
    size = len(losses([1]))
    cut = len(version()) + 3 * size + size // 2
    log = read(tmp_path, content[:cut] + content[cut + size :], compiled=compiled)
    assert list(values(log)) == [0, 1, 2, 5, 6, 7, 8]
    assert sum(log.left_out.values()) == 1
    zeros = read(
        tmp_path, content[:cut] + bytes(9999), compiled=compiled
    )  # space given, not written
    assert list(values(zeros)) == [0, 1, 2]


def test_a_length_beyond_the_file_allocates_nothing(tmp_path, compiled):
    for length in (1 << 62, 2**64 - 1, 1 << 33):
        raw = length.to_bytes(8, "little")
        content = version() + losses([1]) + raw + checksum(raw).to_bytes(4, "little") + losses([2])
        log = read(tmp_path, content, compiled=compiled)
        assert values(log) == {1: 1.0, 2: 2.0}


def test_a_file_made_to_be_checked_over_and_over_is_given_up(tmp_path, compiled):
    claims = b""
    for length in range(4_000_000, 4_000_000 + 30_000):
        raw = length.to_bytes(8, "little")
        claims += raw + checksum(raw).to_bytes(4, "little")
    log = read(tmp_path, version() + losses([1]) + claims + bytes(4_500_000), compiled=compiled)
    assert values(log) == {1: 1.0}
    assert log.notes


def test_records_across_the_windows_edge(tmp_path, compiled, monkeypatch):
    monkeypatch.setattr(event_files, "WINDOW", 256)
    monkeypatch.setattr(event_files, "LARGEST", 4096)
    big = event(7, scalar("loss", 7.0), block(1, b"pixels") + block(4, bytes(2000)))
    huge = event(8, scalar("loss", 8.0), block(1, b"pixels") + block(4, bytes(9000)))
    content = version() + losses(range(7)) + big + huge + losses(range(9, 400))
    log = read(tmp_path, content, compiled=compiled)
    assert list(values(log)) == [i for i in range(400) if i != 8]
    assert log.left_out == {"image": 1, "record over 32 MiB": 1}
    hurt = bytearray(content)
    hurt[content.index(huge) + 500] ^= 1
    log = read(tmp_path, bytes(hurt), compiled=compiled)
    assert list(values(log)) == [i for i in range(400) if i != 8]
    torn = read(tmp_path, content[: content.index(huge) + 5000], compiled=compiled)
    assert torn.left_out["record without an end, taken as still being written"] == 1


def test_many_tags_keep_apart(tmp_path, compiled):
    tags = [f"layer{i}/norm" for i in range(700)] + ["x" * 3000, "x" * 3001]
    content = version() + b"".join(
        event(step, *(scalar(tag, i + step) for i, tag in enumerate(tags))) for step in range(3)
    )
    log = read(tmp_path, content, compiled=compiled)
    assert [tag.decode() for tag in log.tags] == tags
    assert len(log) == 3 * len(tags)
    assert all(values(log, tag) == {0: i, 1: i + 1, 2: i + 2} for i, tag in enumerate(tags))


def test_a_record_that_is_no_event_is_counted(tmp_path, compiled):
    content = version() + frame(b"\xff" * 30) + frame(b"\x2a\x7f") + losses([1])
    log = read(tmp_path, content, compiled=compiled)
    assert values(log) == {1: 1.0}
    assert log.left_out == {"record beyond decoding": 2}


def test_only_event_files_start_as_such():
    assert starts_as_events(version() + losses([1]))
    assert not starts_as_events(version()[:40].replace(b"brain", b"other"))
    assert not starts_as_events(b"\1" + version()[1:])
    assert not starts_as_events(b"")
    assert not starts_as_events(frame(b"another use of the same frame"))


def test_both_scanners_agree_on_mutated_files(tmp_path):
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    content = rich()
    found = 0
    for each in mutations(content, rng, 2000):
        one, other = (read(tmp_path, each, compiled=way) for way in (False, True))
        assert same(one, other)
        found += len(one) > 0
    assert found > 1000


def test_both_scanners_agree_on_records_that_are_mutated_under_a_right_checksum(tmp_path):
    pytest.importorskip("numba")
    rng = np.random.default_rng(1)
    records = []
    at, content = 0, rich()
    while at < len(content):
        size = int.from_bytes(content[at : at + 8], "little")
        records.append(content[at + HEADER : at + HEADER + size])
        at += HEADER + size + 4
    found = 0
    for _ in range(40):
        mutated = [next(mutations(record, rng, 1, most=1)) for record in records * 8]
        content = version() + losses(range(3)) + b"".join(map(frame, mutated))
        one, other = (read(tmp_path, content, compiled=way) for way in (False, True))
        assert same(one, other)
        assert "part of the file with damage" not in one.left_out
        found += len(one)
    assert found > 1000


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(width=32)), min_size=1))
def test_every_scalar_comes_back(tmp_path_factory, curve):
    content = version() + b"".join(event(step, scalar("loss", value)) for step, value in curve)
    points = read(tmp_path_factory.mktemp("events"), content).points
    assert points.step.tolist() == [step for step, _ in curve]
    np.testing.assert_array_equal(points.value, np.array([v for _, v in curve]))


def test_small_files_do_not_load_numba(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(version() + losses(range(10)))
    code = (
        "import sys; from pathlib import Path; from workbench.io.event_files import read_events; "
        f"print(len(read_events(Path({str(path)!r}))), 'numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["10", "False"]


def test_without_numba_files_are_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(event_scanner, "_kernel", lambda: None)
    monkeypatch.setattr(event_files, "repays_kernel", lambda size: event_scanner.has_kernel())
    content = version() + losses(range(10))
    assert len(read(tmp_path, content, compiled=None)) == 10
    with pytest.raises(DataError, match=r"needs numba: pip install .*\[fast\]"):
        read(tmp_path, content, compiled=True)


def test_compiled_code_is_used_where_it_cannot_be_kept(monkeypatch):
    pytest.importorskip("numba")
    from workbench.io import event_kernel

    def njit(**options):
        def wrap(function):
            if options.get("cache"):
                msg = "cannot cache function: no locator available"
                raise RuntimeError(msg)
            return function

        return wrap

    monkeypatch.setattr(event_kernel, "njit", njit)
    assert event_kernel._compiled(len) is len
