from __future__ import annotations

import numpy as np
import pytest

from tests.io.readers.columns import column, settings
from workbench.io import read
from workbench.io.lines import OPENING_BYTES

RULE = "=" * 100 + "\n"
LISTING = '''\
import os
import sys
from dataclasses import dataclass

"""
A log looks like this:
step:0/5100 val_loss:1.0000 train_time:1ms step_avg:nanms
"""

@dataclass
class Hyperparameters:
    # data hyperparams
    input_bin : str = 'data/fineweb10B/fineweb_train_*.bin' # input .bin to train on
    # optimization hyperparams
    batch_size : int = 8*64 # batch size, in sequences, across all devices
    device_batch_size : int = 64 # batch size, in sequences, per device
    sequence_length : int = 1024 # sequence length, in tokens
    num_iterations : int = 3 # number of iterations to run
    learning_rate : float = 0.0036
    warmup_iters : int = 0
    warmdown_iters : int = 1 # number of iterations of linear warmup/warmdown
    weight_decay : float = 0
args = Hyperparameters()

print0(f"step:{step}/{args.num_iterations} val_loss:{val_loss:.4f}")
'''
LOG = """\
step:0/3 val_loss:16.0012 train_time:387ms step_avg:nanms
step:1/3 train_loss:15.9932 train_time:23767ms step_avg:nanms
step:2/3 train_loss:9.9150 train_time:23895ms step_avg:nanms
step:3/3 train_loss:nan train_time:140ms step_avg:119.97ms
step:3/3 val_loss:3.2858 train_time:141ms step_avg:120.00ms
"""


def test_public_log_has_every_value(shared_logs):
    (path,) = (shared_logs / "modded_nanogpt_txt").iterdir()
    result = read(path)
    assert [row["format"] for row in result.report.imported] == ["modded-nanogpt"]
    steps, losses = column(result, "train_loss")
    assert steps.tolist() == list(range(1, 5101))
    assert (losses[0], losses[-1]) == (15.9932, 3.2774)
    assert losses.sum() == pytest.approx(18732.1590, abs=1e-4)
    steps, losses = column(result, "eval_loss")
    assert (len(losses), losses[0], losses[-1]) == (42, 16.0012, 3.2858)
    assert steps.tolist() == [*range(0, 5001, 125), 5100]
    assert losses.sum() == pytest.approx(163.4730, abs=1e-4)
    assert settings(result, "total_steps") == [5100]
    assert not [note for note in result.report.notes if "logged again" in note]


@pytest.mark.parametrize("before", ["", RULE])
def test_the_listing_gives_settings_and_no_records(tmp_path, before):
    path = tmp_path / "log.txt"
    path.write_text(before + LISTING + RULE + "Running pytorch 2.5.0\n" + RULE + LOG)
    result = read(path)
    steps, losses = column(result, "eval_loss")
    assert (steps.tolist(), losses.tolist()) == ([0, 3], [16.0012, 3.2858])
    assert "1 line in the listing" in " ".join(result.report.notes)
    names = ("total_steps", "batch_size", "peak_lr", "weight_decay", "decay_fraction")
    assert settings(result, *names) == [3, 524_288, 0.0036, 0, 1 / 3]
    assert settings(result, "schedule") == ["wsd"]
    np.testing.assert_array_equal(result.runs["train_time_ms"], [np.nan, 23767, 23895, 140])
    np.testing.assert_array_equal(result.runs["train_time_ms_at_eval"], [387, np.nan, np.nan, 141])


def test_a_listing_longer_than_the_usual_head(tmp_path):
    path = tmp_path / "log.txt"
    filler = "x = 0  # the script grew over the years\n" * 5_000
    assert 65_536 < len(filler) < OPENING_BYTES
    path.write_text(LISTING + filler + RULE + LOG)
    assert column(read(path), "eval_loss")[1].tolist() == [16.0012, 3.2858]


def test_without_a_rule_nothing_is_taken_for_a_listing(tmp_path):
    path = tmp_path / "console.out"
    path.write_text("import failed, going on\n" + LOG)
    assert column(read(path), "train_loss")[0].tolist() == [1, 2]


def test_newer_logs_without_train_losses(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text(
        "import os\n\nclass Hyperparameters:\n"
        "    train_batch_size: int = 2048 * 16 * 8\n"
        "    train_max_seq_len: int = 128 * 16\n"
        "    num_scheduled_iterations: int = 2245\n"
        "    cooldown_frac: float = 0.45 # fraction of training spent cooling down\n"
        + RULE
        + "Running Python 3.12.7\n"
        + RULE
        + "step:0/2285 val_loss:10.8258 train_time:0ms step_avg:0.02ms\n"
        "step:1/2285 train_time:107ms step_avg:106.90ms\n"
        "step:250/2285 val_loss:4.6 train_time:26500ms step_avg:106.00ms\n"
        "peak memory allocated: 31 MiB reserved: 32 MiB\n"
    )
    result = read(path)
    assert column(result, "eval_loss")[0].tolist() == [0, 250]
    names = ("total_steps", "batch_size", "decay_fraction", "schedule")
    assert settings(result, *names) == [2285, 262_144, 0.45, "wsd"]
    assert result.runs["step"].to_numpy().tolist() == [0, 1, 250]
