from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter

import numpy as np
import pytest

from tests.io.event_bytes import block, f64, number
from workbench.errors import DataError
from workbench.io import read
from workbench.io.formats import format_of
from workbench.io.leveldb_log import BLOCK, MAGIC, read_log
from workbench.io.result import Source
from workbench.schema import run_names

CLIENT = """
import math, os, sys, time
import wandb

def start(**options):
    return wandb.init(project="proj", mode="offline", dir=sys.argv[1],
                      settings=wandb.Settings(console="off", x_disable_stats=True), **options)
"""


def client(folder, script, *, wait=True):
    """Run the real client in a process of its own, without a network."""
    pytest.importorskip("wandb")
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    environment["WANDB_CONFIG_DIR"] = environment["WANDB_CACHE_DIR"] = str(folder / "config")
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT + script, str(folder)], env=environment, text=True
    )
    if wait:
        assert process.wait(120) == 0
    return process


def wandb_file(*records, cut=0):
    """Write records as the client frames them."""
    out = bytearray(MAGIC + b"\0")
    for record in records:
        pieces = []
        while record or not pieces:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out += bytes(room)
                continue
            piece, record = record[: room - 7], record[room - 7 :]
            kind = (1 if not record else 2) if not pieces else (4 if not record else 3)
            pieces.append(piece)
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
    return bytes(out[: len(out) - cut])


def item(key, value):
    return block(1, block(1, key.encode()) + block(16, value.encode()))


def history(step, **values):
    items = b"".join(item(key, value) for key, value in {"_step": str(step), **values}.items())
    return block(2, items + block(2, number(1, step)))


def run_record(run_id="abc", *, at=1000, **config):
    update = b"".join(item(key, json.dumps(value)) for key, value in config.items())
    return block(17, block(1, run_id.encode()) + block(4, update) + block(17, number(1, at)))


def put(folder, content, name="run-abc.wandb"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def curve(runs, column="train_loss"):
    known = np.isfinite(runs[column].to_numpy())
    return dict(
        zip(runs["step"].to_numpy()[known].tolist(), runs[column].to_numpy()[known], strict=True)
    )


def notes(result):
    return " ".join(result.report.notes)


def test_the_real_client(tmp_path):
    client(
        tmp_path,
        """
import numpy as np
run = start(id="abc", name="my run", config={"lr": 3e-4, "model": {"n_layer": 4}, "seed": 7})
for i in range(3000):
    row = {"train/loss": i / 3, "nested": {"deep": {"er": 2.0 * i}}, "note": "text", "ok": True}
    if i == 5: row["train/loss"] = float("nan")
    if i == 6: row["train/loss"] = float("inf")
    if i == 7: row["train/loss"] = -float("inf")
    if i == 8: row["weights"] = wandb.Histogram(np.arange(10.0))
    if i % 100 == 0: row["val/loss"] = i / 7
    run.log(row)
run.config.update({"weight_decay": 0.1})
run.summary["parameters"] = 12345
run.finish()
""",
    )
    result = read(tmp_path)
    runs = result.runs
    assert run_names(runs) == ["abc"]
    assert runs["step"].to_numpy().tolist() == list(range(3000))
    expected = np.arange(3000) / 3
    expected[[5, 6, 7]] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), expected)
    np.testing.assert_array_equal(runs["nested.deep.er"].to_numpy(), 2.0 * np.arange(3000))
    assert len(curve(runs, "eval_loss")) == 30
    assert (np.diff(runs["wall_time"].to_numpy()) >= 0).all()
    assert runs["ok"].to_numpy().tolist() == [1.0] * 3000
    assert runs["peak_lr"].item() == 3e-4
    assert runs["weight_decay"].item() == 0.1
    assert runs["depth"].item() == 4
    assert runs["seed"].item() == 7
    assert runs["model_size"].item() == 12345
    assert runs["status"].item() == "done"
    assert runs["wandb_name"].item() == "my run"
    assert runs["wandb_project"].item() == "proj"
    assert "step is W&B's _step" in notes(result)
    assert "left out 1 object such as a histogram" in notes(result)
    assert "left out 3000 values of text" in notes(result)


def test_the_real_client_killed_failed_and_resumed(tmp_path):
    writing = client(
        tmp_path,
        """
run = start(id="abc")
for i in range(10**9):
    run.log({"train/loss": 1.0 * i, "trainer/global_step": 10 * i})
    time.sleep(0.0002)
""",
        wait=False,
    )
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        sizes = [path.stat().st_size for path in tmp_path.glob("wandb/offline*/*.wandb")]
        if sizes and sizes[0] > 3 * BLOCK:
            break
        assert writing.poll() is None
        time.sleep(0.05)
    writing.kill()
    writing.wait(30)
    killed = read(tmp_path)
    steps = killed.runs["step"].to_numpy()
    assert len(steps) > 100
    assert steps.tolist() == list(range(0, 10 * len(steps), 10))
    np.testing.assert_array_equal(killed.runs["train_loss"].to_numpy(), steps / 10)
    assert killed.runs["status"].item() == "running"
    assert "still running, or killed" in notes(killed)
    client(
        tmp_path,
        """
run = start(id="abc", resume="allow")
for i in range(50, 60):
    run.log({"train/loss": 1000.0 + i, "trainer/global_step": 10 * i})
run.finish(exit_code=3)
""",
    )
    result = read(tmp_path)
    again = curve(result.runs)
    assert [again[step] for step in range(500, 600, 10)] == [1000.0 + i for i in range(50, 60)]
    assert again[490] == 49.0
    assert len(again) == len(steps)
    assert result.runs["status"].item() == "failed"
    assert "2 files are attempts of 'abc'" in notes(result)
    assert "step is the column 'trainer/global_step'" in notes(result)
    assert "wandb_step" in result.runs


def test_records_over_several_blocks_and_a_tail_torn_anywhere(tmp_path):
    records = [block(99, bytes([i % 256]) * (i * 977 % 90_000)) for i in range(40)]
    whole = wandb_file(*records)
    left_out: Counter[str] = Counter()
    assert list(read_log(put(tmp_path, whole), left_out)) == records
    assert not left_out
    before = len(wandb_file(*records[:-1]))
    for cut in range(1, len(whole) - before, 37):
        left_out.clear()
        assert list(read_log(put(tmp_path, whole[:-cut]), left_out)) == records[:-1]
        assert left_out == {"record without an end, taken as still being written": 1}


def test_a_damaged_block_loses_what_it_held_and_no_more(tmp_path):
    records = [block(99, i.to_bytes(4, "little") * 100) for i in range(600)]
    content = bytearray(wandb_file(*records))
    content[3 * BLOCK + 500] ^= 1
    left_out: Counter[str] = Counter()
    got = list(read_log(put(tmp_path, bytes(content)), left_out))
    assert left_out["block with damage"] == 1
    positions = [records.index(record) for record in got]
    assert positions == sorted(positions)
    lost = sorted(set(range(600)) - set(positions))
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert len(lost) < 1.1 * BLOCK / len(records[0])


def test_typed_values_quoted_numbers_and_text(tmp_path):
    typed = (
        block(1, block(1, b"a") + number(4, 1))
        + block(1, block(1, b"b") + number(5, 7))
        + block(1, block(1, b"c") + f64(6, 0.25))
        + block(1, block(1, b"d") + block(7, b"3.5"))
        + block(1, block(1, b"e") + block(8, b'{"x": 1, "y": {"z": "NaN"}}'))
        + block(1, block(1, b"f") + number(3, 0))
        + block(1, block(2, b"g") + block(2, b"h") + block(16, b'"-2"'))
    )
    record = block(2, typed + item("loss", '"NaN"') + block(2, number(1, 4)))
    more = history(5, loss="1.5", t='"word"', n="null", l="[1, 2]", m='{"_type": "image-file"}')
    result = read(put(tmp_path / "a", wandb_file(run_record(), record, more)))
    runs = result.runs
    assert runs["step"].to_numpy().tolist() == [4, 5]
    first = {name: runs[name].to_numpy()[0] for name in ("a", "b", "c", "d", "e.x", "g.h")}
    assert first == {"a": 1, "b": -4, "c": 0.25, "d": 3.5, "e.x": 1, "g.h": -2}
    assert np.isnan(runs["train_loss"].to_numpy()[0])
    assert {"t", "n", "l", "m", "f"}.isdisjoint(map(str, runs.variables))
    assert "left out 2 values of text or list" in notes(result)
    assert "left out 1 object such as" in notes(result)


def test_config_updates_and_removals(tmp_path):
    change = block(
        5,
        item("lr", "0.5")
        + block(1, block(2, b"model") + block(2, b"n_layer") + block(16, b"8"))
        + block(2, block(1, b"gone")),
    )
    first = run_record(lr=0.1, gone=1, model={"n_layer": 4, "d_model": 16}, _wandb={"x": 1})
    runs = read(put(tmp_path / "a", wandb_file(first, change, history(0, loss="1")))).runs
    assert runs["peak_lr"].item() == 0.5
    assert runs["depth"].item() == 8
    assert runs["width"].item() == 16
    assert "gone" not in runs.variables
    assert not any("wandb.x" in str(name) for name in runs.variables)


def test_attempts_are_joined_by_id_whatever_their_files_are_called(tmp_path):
    folder = tmp_path / "wandb"
    late = wandb_file(run_record(at=2000), history(0, loss="9"), block(18, b""))
    early = wandb_file(run_record(at=1000), history(0, loss="1"), history(1, loss="2"))
    put(folder / "offline-run-20260101_000000-abc", late)
    put(folder / "run-20260101_000001-abc", early)
    put(folder / "offline-run-20260101_000002-abc", MAGIC + b"\0")
    put(folder / "offline-run-20260101_000003-xyz", MAGIC + b"\0", "run-xyz.wandb")
    (folder / "latest-run").symlink_to("offline-run-20260101_000000-abc")
    result = read(tmp_path)
    assert run_names(result.runs) == ["abc"]
    assert curve(result.runs) == {0: 9, 1: 2}
    assert result.runs["status"].item() == "done"
    assert "counts log calls from 0 again" in notes(result)
    (skipped,) = result.report.skipped
    assert skipped["source"].endswith("xyz")


def test_declared_and_unlike_step_columns(tmp_path):
    declare = block(12, block(1, b"loss") + block(4, b"updates"))
    rows = [history(i, loss="1", updates=str(3 * i), iter=str(7 * i)) for i in range(4)]
    result = read(put(tmp_path / "a", wandb_file(run_record(), declare, *rows)))
    assert result.runs["step"].to_numpy().tolist() == [0, 3, 6, 9]
    assert result.runs["logged_iter"].to_numpy().tolist() == [0, 7, 14, 21]
    assert result.runs["wandb_step"].to_numpy().tolist() == [0, 1, 2, 3]


def test_a_branch_says_where_it_came_from(tmp_path):
    branch = block(17, block(1, b"abc") + block(23, block(1, b"trunk") + f64(2, 500.0)))
    runs = read(put(tmp_path / "a", wandb_file(branch, history(0, loss="1")))).runs
    assert runs["branched_from"].item() == "trunk"
    assert runs["branched_at_step"].item() == 500


def test_told_by_content(tmp_path):
    path = put(tmp_path, wandb_file(run_record(), history(0, loss="1")), "anything.log")
    assert format_of(Source(path)).name == "wandb"
    assert format_of(Source(put(tmp_path, b":W&Bother", "other.wandb"))) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (MAGIC + b"\0", "holds no record"),
        (MAGIC, "holds no record"),
        (wandb_file(run_record()), "holds no record"),
        (wandb_file(run_record(), history(0, loss="1"), cut=3), "holds no record"),
        (wandb_file(run_record(), history(0, gpu="1")), "has no loss"),
        (wandb_file(run_record(), history(0, loss="Infinity")), "has no finite loss"),
        (wandb_file(b"\xff" * 20), "holds no record"),
    ],
)
def test_files_without_a_curve_are_refused_in_one_paragraph(tmp_path, content, said):
    with pytest.raises(DataError, match=said) as caught:
        read(put(tmp_path / "a", content))
    assert "\n" not in str(caught.value)


def sample():
    config = {"lr": 0.1, "model": {"n_layer": 4}, "text": "x", "list": [1, 2]}
    rows = [history(i, loss=str(5 - i), iter=str(10 * i), _timestamp="1.5e9") for i in range(5)]
    deep = '{"a":' * 40 + "1" + "}" * 40
    more = history(5, loss='"NaN"', media='{"_type": "x"}', deep=deep)
    summary = block(3, item("best", "1.5") + item("loss", "2"))
    end = block(18, number(1, 0))
    return [run_record(**config), *rows, more, block(12, block(4, b"iter")), summary, end]


def mutated(content, rng):
    out = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, max(len(out), 1)))
        match rng.integers(0, 5):
            case 0:
                out[at : at + 1] = bytes([rng.integers(0, 256)])
            case 1:
                del out[at : at + int(rng.integers(1, 20))]
            case 2:
                out[at:at] = bytes(rng.choice(list(b'0123456789{}[]",:eE-.NaIf\xff\0'), 5))
            case 3:
                out = out[:at]
            case 4:
                out[at:at] = out[at : at + 40]
    return bytes(out)


def test_mutated_files_give_runs_or_a_clean_error(tmp_path):
    rng = np.random.default_rng(0)
    records, outcomes = sample(), Counter()
    for i in range(3000):
        if i % 2:  # behind a right checksum
            at = int(rng.integers(len(records)))
            changed = [mutated(r, rng) if j == at else r for j, r in enumerate(records)]
            content = wandb_file(*changed)
        else:
            content = mutated(wandb_file(*records), rng)
        try:
            outcomes[read(put(tmp_path, content), format="wandb").runs.sizes["run"]] += 1
        except DataError as error:
            outcomes["refused" if "\n" not in str(error) else "more than a paragraph"] += 1
    assert outcomes[1] > 1000
    assert outcomes["refused"] > 100
    assert not outcomes["more than a paragraph"]
