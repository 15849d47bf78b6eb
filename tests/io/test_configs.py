from __future__ import annotations

import pytest

from workbench.io.configs import take_config
from workbench.io.runlog import RunLog

LLM_BASELINES = {
    "lr": 1e-3, "batch_size": 50, "acc_steps": 2, "world_size": 2, "sequence_length": 512,
    "iterations": 25000, "scheduler": "wsd", "weight_decay": 0.1, "n_embd": 768, "n_layer": 12,
    "seed": 0, "wandb": True, "experiment_name": None,
}  # fmt: skip
NANOGPT = {
    "batch_size": 12, "block_size": 1024, "gradient_accumulation_steps": 40, "max_iters": 600000,
    "learning_rate": 6e-4, "min_lr": 6e-5, "decay_lr": True, "lr_decay_iters": 600000,
    "warmup_iters": 2000, "beta1": 0.9, "beta2": 0.95,
}  # fmt: skip
MEGATRON = {
    "global_batch_size": 512, "micro_batch_size": 16, "seq_length": 2048, "train_iters": 1000,
    "lr": 3e-4, "lr_decay_style": "cosine", "world_size": 32, "adam_beta2": 0.95,
}  # fmt: skip
HF = {
    "per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "max_steps": -1,
    "learning_rate": 2e-5, "lr_scheduler_type": "SchedulerType.COSINE", "warmup_ratio": 0.03,
}  # fmt: skip
NANOCHAT = {"device_batch_size": 32, "max_seq_len": 2048, "total_batch_size": 524288, "depth": 20}


def taken(config):
    log = RunLog("r", source="s")
    take_config(log, config)
    return log


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        (LLM_BASELINES, 50 * 2 * 2 * 512),
        (NANOGPT, 12 * 1024 * 40),
        (MEGATRON, 512 * 2048),
        (NANOCHAT, 524288),
    ],
    ids=["llm-baselines", "nanogpt", "megatron", "nanochat"],
)
def test_batch_size_is_in_tokens_a_step(config, batch):
    assert taken(config).settings["batch_size"] == batch


def test_a_batch_of_sequences_of_unknown_length_is_not_called_tokens():
    log = taken(HF)
    assert "batch_size" not in log.settings
    assert log.settings["per_device_train_batch_size"] == 4
    assert "--set batch_size=B" in log.notes[0]


def test_the_assumed_number_of_processes_is_said():
    assert "on 1 process" in taken(NANOGPT).notes[0]
    assert "× 2 processes" in taken(LLM_BASELINES).notes[0]


def test_names_of_trainers_become_those_of_the_schema():
    assert taken(LLM_BASELINES).settings.items() >= {
        "peak_lr": 1e-3, "total_steps": 25000.0, "schedule": "wsd", "width": 768.0, "depth": 12.0,
    }.items()  # fmt: skip
    assert taken(NANOGPT).settings.items() >= {
        "total_steps": 600000.0, "schedule": "cosine", "warmup_steps": 2000, "beta2": 0.95,
    }.items()  # fmt: skip
    assert taken(NANOGPT).settings["final_lr_fraction"] == pytest.approx(0.1)
    assert taken(MEGATRON).settings["schedule"] == "cosine"
    assert taken(MEGATRON).settings["total_steps"] == 1000


def test_an_unset_horizon_stays_unknown():
    settings = taken(HF).settings
    assert "total_steps" not in settings
    assert settings["schedule"] == "cosine"
    assert settings["warmup_fraction"] == 0.03


def test_own_names_are_kept_and_secrets_are_not():
    settings = taken(
        {"data": {"path": "x"}, "api_key": "k", "hub_token": "t", "a": [1, 2], "b": 2}
    ).settings
    assert settings["data.path"] == "x"
    assert settings["a"] == "[1, 2]"
    assert not {"api_key", "hub_token"} & set(settings)
    assert taken({"opt": {"password": "p", "my_secret": "s"}}).settings == {}


def test_what_the_log_knows_already_stays():
    log = RunLog("r", source="s")
    log.settings["peak_lr"] = 1.0
    take_config(log, {"lr": 2.0})
    assert log.settings["peak_lr"] == 1.0
