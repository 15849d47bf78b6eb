from __future__ import annotations

import numpy as np
import pytest

from tests.io.readers.columns import settings
from workbench.io import read

# As train.py of nanoGPT and its configurator print it; the config's comments and quotes included.
LOG = """\
Overriding config with config/train_gpt2.py:
# config for training GPT-2 (124M) down to very nice loss of ~2.85 on 1 node of 8X A100 40GB
# launch as the following (e.g. in a screen session) and wait ~5 days:
# $ torchrun --standalone --nproc_per_node=8 train.py config/train_gpt2.py

wandb_log = True
wandb_project = 'owt'
wandb_run_name='gpt2-124M'

# these make the total batch size be ~0.5M
# 12 batch size * 1024 block size * 5 gradaccum * 8 GPUs = 491,520
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8

# this makes total number of tokens be 300B
max_iters = 600000
lr_decay_iters = 600000

# eval stuff
eval_interval = 1000
eval_iters = 200
log_interval = 10

# weight decay
weight_decay = 1e-1

Overriding: learning_rate = 0.0006
Overriding: min_lr = 6e-05
tokens per iteration will be: 491,520
found vocab_size = 65 (inside data/shakespeare_char/meta.pkl)
Initializing a new model from scratch
defaulting to vocab_size of GPT-2 to 50304 (50257 rounded up for efficiency)
number of parameters: 123.59M
num decayed parameter tensors: 50, with 124,354,560 parameters
num non-decayed parameter tensors: 25, with 19,200 parameters
using fused AdamW: True
compiling the model... (takes a ~minute)
step 0: train loss 10.9890, val loss 10.9895
iter 0: loss 10.9891, time 53911.06ms, mfu -100.00%
iter 10: loss 10.1235, time 712.57ms, mfu 37.42%
step 20: train loss 9.5000, val loss nan
saving checkpoint to out
iter 20: loss nan, time 712.20ms, mfu 37.40%
"""


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "gpt2.out"
    path.write_text(LOG)
    return read(path)


def test_train_and_evaluation_stand_at_their_own_steps(result):
    assert result.report.imported[0]["format"] == "nanogpt"
    assert result.runs["step"].to_numpy().tolist() == [0, 10, 20]
    np.testing.assert_array_equal(result.runs["train_loss"], [10.9891, 10.1235, np.nan])
    np.testing.assert_array_equal(result.runs["eval_loss"], [10.9895, np.nan, np.nan])
    np.testing.assert_array_equal(result.runs["train_loss_estimate"], [10.989, np.nan, 9.5])
    np.testing.assert_array_equal(result.runs["step_time_ms"], [53911.06, 712.57, 712.2])


def test_settings_come_from_the_printed_config(result):
    names = ("batch_size", "total_steps", "peak_lr", "weight_decay", "model_size")
    assert settings(result, *names) == [491_520, 600_000, 6e-4, 0.1, 124_373_760]
    assert settings(result, "final_lr_fraction") == [pytest.approx(0.1)]
    assert settings(result, "gradient_accumulation_steps", "wandb_run_name") == [40, "gpt2-124M"]


def test_without_config_only_what_is_printed_is_known(tmp_path):
    path = tmp_path / "plain.out"
    lines = ["number of parameters: 10.65M", *LOG.splitlines()[-5:]]
    path.write_text("\r\n".join(lines) + "\r\n")
    result = read(path)
    assert settings(result, "model_size") == [10_650_000]
    assert np.isnan(settings(result, "total_steps", "batch_size")).all()
    assert "without position embeddings" in " ".join(result.report.notes)
