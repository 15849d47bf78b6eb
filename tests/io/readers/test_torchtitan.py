from __future__ import annotations

import json

import numpy as np
import pytest

from tests.io.readers.columns import column, settings
from workbench.io import read

RED, GREEN, RESET = "\x1b[31m", "\x1b[32m", "\x1b[39m"
CONFIG = {
    "training": {"local_batch_size": 8, "global_batch_size": -1, "seq_len": 2048, "steps": 10},
    "optimizer": {"name": "AdamW", "lr": 0.0008, "weight_decay": 0.1, "beta1": 0.9},
}


def prefix(second, rank=0):
    return f"[rank{rank}]:[titan] 2025-11-25 19:45:{second:02d},441 - root - INFO - "


CURRENT = (
    prefix(0)
    + "Running with configs: "
    + json.dumps(CONFIG, indent=2).replace("\n", "\n[rank0]:")
    + "\n"
    + prefix(0)
    + f"{RED}Model llama3 8B {GREEN}size: 8,030,261,248 total parameters{RESET}\n"
    + prefix(1)
    + "Trainer is initialized with local batch size 8, global batch size 64, gradient accumulation "
    "steps 1, sequence length 2048, total steps 10 (warmup 2)\n"
    + prefix(1)
    + "Training starts at step 1\n"
    + prefix(2)
    + f"{RED}step:  1  {GREEN}loss:  8.0277  grad_norm:  1.4604  memory:  1.21GiB(0.86%)  "
    f"tps: 5,756  tflops: 0.41  mfu: 0.04%{RESET}\n"
    + prefix(2)
    + "Synchronizing and adjusting timeout for all ProcessGroups to 0:01:40\n"
    + prefix(3)
    + "step:  2  loss:     nan  grad_norm: 70.7082  memory:  1.34GiB(0.96%)  tps: 301,092  "
    "tflops: 21.55  mfu: 2.18%\n"
    + prefix(4)
    + f"{RED}validate step:  2  {GREEN}loss:  7.5000  memory:  1.34GiB(0.96%)  tps: 1,000{RESET}\n"
)
OLDER = """\
[rank0]:2025-02-13 11:33:29,482 - root - INFO - Training starts at step 1, with local batch size \
1, global batch size 8, sequence length 8192, total steps 100 (warmup 200)
[rank0]:2025-02-13 11:33:35,026 - root - INFO - step:  1  loss: 12.2417  memory: 42.08GiB(30.10%)  \
tps: 1,478  mfu: 8.65%
[rank0]:2025-02-13 11:33:45,521 - root - INFO - step: 10  loss:  9.8821  mmemory: \
49.59GiB(35.46%)  tps: 7,026  mfu: 41.15%
"""
OLDEST = """\
2024-10-03 15:01:18,520 - root - INFO - step: 117  loss:  3.9053  memory: 36.20GiB(81.50%)  \
wps: 1,710  mfu: 23.50%
2024-10-03 15:01:23,311 - root - INFO - step: 118  loss:  3.9014  memory: 36.20GiB(81.50%)  \
wps: 1,710  mfu: 23.50%
"""


def imported(tmp_path, text):
    path = tmp_path / "titan.log"
    path.write_text(text)
    result = read(path)
    assert result.report.imported[0]["format"] == "torchtitan"
    return result


def test_current_layout_with_colours_and_ranks(tmp_path):
    result = imported(tmp_path, CURRENT)
    np.testing.assert_array_equal(result.runs["train_loss"], [8.0277, np.nan])
    np.testing.assert_array_equal(result.runs["grad_norm"], [1.4604, 70.7082])
    assert [each.tolist() for each in column(result, "eval_loss")] == [[2], [7.5]]
    assert column(result, "tokens_per_second_per_device")[1].tolist() == [5756, 301_092]
    assert column(result, "memory_gib")[1].tolist() == [1.21, 1.34]
    assert column(result, "mfu")[1].tolist() == [0.04, 2.18]
    names = ("total_steps", "warmup_steps", "batch_size", "model_size", "peak_lr", "weight_decay")
    assert settings(result, *names) == [10, 2, 131_072, 8_030_261_248, 8e-4, 0.1]


@pytest.mark.parametrize(
    ("text", "steps", "losses"),
    [(OLDER, [1, 10], [12.2417, 9.8821]), (OLDEST, [117, 118], [3.9053, 3.9014])],
)
def test_older_layouts(tmp_path, text, steps, losses):
    result = imported(tmp_path, text)
    assert [each.tolist() for each in column(result, "train_loss")] == [steps, losses]
    assert len(column(result, "memory_gib")[1]) == 2
    assert len(column(result, "tokens_per_second_per_device")[1]) == 2


def test_older_header_states_plan_and_batch(tmp_path):
    result = imported(tmp_path, OLDER)
    names = ("total_steps", "warmup_steps", "batch_size")
    assert settings(result, *names) == [100, 200, 65_536]


def test_of_several_ranks_one_that_knows_the_loss_counts(tmp_path):
    lines = []
    for step in (1, 2, 3):
        for rank, loss in enumerate((-1.0, 5.0 - step, 5.0 - step)):
            tail = f"step: {step:2}  loss: {loss:7.4f}  memory:  1.00GiB(1.00%)  tps: 10\n"
            lines.append(prefix(step, rank) + tail)
    result = imported(tmp_path, "".join(lines))
    assert column(result, "train_loss")[1].tolist() == [4, 3, 2]
    notes = " ".join(result.report.notes)
    assert "logged again" not in notes
    assert "left out 1 line of a pipeline stage" in notes
    assert "left out 5 lines of another rank" in notes
