from __future__ import annotations

import numpy as np
import pytest

from tests.io.readers.columns import column, settings
from workbench.io import read
from workbench.schema import run_names

# The layout of scripts/base_train.py, early 2026.
BASE = """\
Vocab size: 32,768
Model config:
{
  "sequence_len": 2048,
  "vocab_size": 32768,
  "n_layer": 12,
  "n_head": 6,
  "n_kv_head": 6,
  "n_embd": 768,
  "window_pattern": "SSSL"
}
Parameter counts:
wte                     : 25,165,824
lm_head                 : 25,165,824
transformer_matrices    : 84,935,328
scalars                 : 24
total                   : 286,262,424
Estimated FLOPs per token: 7.851762e+08
Scaling weight decay from 0.280000 to 0.200000 for depth 12
Calculated number of iterations from target data:param ratio: 2,520
Total number of training tokens: 1,321,205,760
Total training FLOPs estimate: 1.037379e+18
Tokens / micro-batch / rank: 32 x 2048 = 65,536
Tokens / micro-batch: 524,288
Total batch size 524,288 => gradient accumulation steps: 1
Step 00000 | Validation bpb: 3.301300
step 00000/02520 (0.00%) | loss: 10.397409 | lrm: 0.03 | dt: 25543.57ms | tok/sec: 20,525 \
| bf16_mfu: 1.21 | epoch: 1 pq: 0 rg: 1 | total time: 0.00m
step 00001/02520 (0.04%) | loss: nan | lrm: 0.05 | dt: 649.22ms | tok/sec: 807,569 \
| bf16_mfu: 35.64 | epoch: 1 pq: 0 rg: 1 | total time: 0.00m
step 02519/02520 (99.96%) | loss: 3.100000 | lrm: 0.05 | dt: 649.22ms | tok/sec: 807,569 \
| bf16_mfu: 35.64 | epoch: 1 pq: 0 rg: 9 | total time: 27.25m | eta: 0.0m
Step 02520 | Validation bpb: 0.850000
Step 02520 | CORE metric: 0.1612
Minimum validation bpb: 0.850000
"""
# What earlier versions print: before base_train, and the stages that follow it in one log.
OLDER = """\
num_layers: 20
model_dim: 1280
Number of parameters: 560,988,160
Total batch size 524,288 => gradient accumulation steps: 1
Calculated number of iterations from target data:param ratio: 21,400
Total number of training tokens: 11,219,763,200
Step 00000 | Validation bpb: 3.3013
step 00000/21400 (0.00%) | loss: 11.090355 | lrm: 1.00 | dt: 23156.74ms | tok/sec: 22,640 \
| mfu: 1.00 | total time: 0.00m
step 00001/21400 (0.00%) | loss: 10.808654 | grad norm: 0.5000 | lrm: 1.00 | dt: 649.22ms \
| tok/sec: 807,569 | mfu: 35.64 | total time: 0.00m
Step 21400 | Validation bpb: 0.8119
Total batch size 262,144 => gradient accumulation steps: 1
Step 00000 | Validation bpb: 0.7000
step 00000 (0.00%) | loss: 2.010000 | lrm: 1.00 | dt: 900.00ms | tok/sec: 500,000 | mfu: 40.00 \
| total time: 0.00m
step 00001 (0.13%) | loss: 1.900000 | lrm: 1.00 | dt: 600.00ms | tok/sec: 800,000 | mfu: 45.00 \
| total time: 0.00m
Step 00150 | Validation bpb: 0.4000
Step 00000 | Validation loss: 1.012345
Step 00000/00701 | Training loss: 1.198765| lrm: 1.000000| num_tokens: 10,480
Step 00001/00701 | Training loss: 1.100000| lrm: 0.998573| num_tokens: 9,000
"""


def test_pretraining_with_its_header(tmp_path):
    path = tmp_path / "d12.log"
    path.write_text(BASE)
    result = read(path)
    assert result.report.imported[0]["format"] == "nanochat"
    steps, losses = column(result, "train_loss")
    assert (steps.tolist(), losses.tolist()) == ([0, 2519], [10.397409, 3.1])
    assert np.isnan(result.runs["train_loss"].to_numpy()[1])
    steps, bits = column(result, "val_bpb")
    assert (steps.tolist(), bits.tolist()) == ([0, 2520], [3.3013, 0.85])
    assert column(result, "core_metric")[1].tolist() == [0.1612]
    assert column(result, "tokens_per_second")[1].tolist() == [20525, 807569, 807569]
    assert column(result, "training_minutes")[1].tolist() == [0, 0, 27.25]
    names = ("total_steps", "batch_size", "tokens_total", "model_size", "depth", "width")
    assert settings(result, *names) == [2520, 524_288, 1_321_205_760, 286_262_424, 12, 768]
    assert settings(result, "compute_total", "params_lm_head") == [1.037379e18, 25_165_824]
    assert "moving average" in " ".join(result.report.notes)


def test_bits_per_byte_are_no_loss_in_nats(tmp_path):
    path = tmp_path / "d12.log"
    path.write_text(BASE)
    assert "eval_loss" not in read(path).runs


def test_stages_of_one_log_become_runs(tmp_path):
    path = tmp_path / "speedrun.log"
    path.write_text(OLDER)
    result = read(path)
    assert run_names(result.runs) == ["speedrun", "speedrun-mid", "speedrun-sft"]
    assert column(result, "train_loss", 0)[1].tolist() == [11.090355, 10.808654]
    assert column(result, "train_loss", 1)[1].tolist() == [2.01, 1.9]
    assert column(result, "train_loss", 2)[1].tolist() == [1.198765, 1.1]
    assert [each.tolist() for each in column(result, "val_bpb", 0)] == [
        [0, 21400],
        [3.3013, 0.8119],
    ]
    assert [each.tolist() for each in column(result, "val_bpb", 1)] == [[0, 150], [0.7, 0.4]]
    assert [each.tolist() for each in column(result, "eval_loss", 2)] == [[0], [1.012345]]
    assert settings(result, "total_steps", "batch_size", "depth") == [21400, 524_288, 20]
    assert settings(result, "batch_size", run=1) == [262_144]
    assert np.isnan(settings(result, "total_steps", run=1)[0])
    assert settings(result, "total_steps", run=2) == [701]


def test_a_resumed_pretraining_is_one_run(tmp_path):
    path = tmp_path / "d12.log"
    lines = BASE.splitlines(keepends=True)
    again = "step 00001/02520 (0.04%) | loss: 9.5 | lrm: 0.05 | dt: 1.00ms | tok/sec: 1 | mfu: 1\n"
    path.write_text("".join(lines) + "Step 00001 | Validation bpb: 3.1\n" + again)
    result = read(path)
    assert run_names(result.runs) == ["d12"]
    assert [each.tolist() for each in column(result, "val_bpb")] == [
        [0, 1, 2520],
        [3.3013, 3.1, 0.85],
    ]
    assert column(result, "train_loss")[1].tolist() == [10.397409, 9.5, 3.1]


def test_a_validation_no_training_step_follows_is_counted(tmp_path):
    path = tmp_path / "d12.log"
    path.write_text(BASE + "Step 00000 | Validation bpb: 0.7000\n")
    result = read(path)
    assert column(result, "val_bpb")[1].tolist() == [3.3013, 0.85]
    assert "1 validation that no training step follows" in " ".join(result.report.notes)
    assert column(result, "val_bpb")[1][0] == pytest.approx(3.3013)
