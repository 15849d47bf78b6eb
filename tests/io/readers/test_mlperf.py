from __future__ import annotations

import json

import numpy as np
import pytest

from tests.io.readers.columns import column, settings
from workbench.errors import DataError
from workbench.io import read


def event(key, value, *, time=1_721_026_850_352, **metadata):
    kind = "POINT_IN_TIME" if value is not None else "INTERVAL_START"
    content = {
        "namespace": "",
        "time_ms": time,
        "event_type": kind,
        "key": key,
        "value": value,
        "metadata": {"file": "train.py", "lineno": 1, **metadata},
    }
    return f":::MLLOG {json.dumps(content)}\n"


HEADER = (
    event("submission_benchmark", "llama2_70b_lora")
    + event("global_batch_size", 8)
    + event("max_sequence_length", 8192)
    + event("opt_base_learning_rate", "0.0004")
    + event("max_steps", 1024)
)


def test_public_log_has_every_evaluation(shared_logs):
    (path,) = (shared_logs / "mlperf_mllog").iterdir()
    result = read(path)
    assert [row["format"] for row in result.report.imported] == ["mlperf"]
    # Every 12 steps of 2,048 sequences of 2,048 tokens; the log counts tokens.
    steps, losses = column(result, "eval_loss")
    assert steps.tolist() == list(range(12, 289, 12))
    assert (losses[0], losses[-1]) == (2.75110125541687, 2.6894688606262207)
    assert losses.sum() == pytest.approx(65.0373246670, abs=1e-10)
    steps, times = column(result, "stat_train_step_timing")
    assert steps.tolist() == list(range(1, 289))
    assert (times[-1], times.sum()) == (11.047425985336304, pytest.approx(3181.07508731))
    assert column(result, "tokens")[1][-1] == 1_207_959_552
    names = ("batch_size", "peak_lr", "seed", "warmup_steps", "weight_decay", "schedule")
    assert settings(result, *names) == [2048 * 2048, 2e-5, 5148, 198, 0.1, "cosine"]
    assert settings(result, "final_lr_fraction") == [pytest.approx(0.1)]
    assert np.isnan(settings(result, "total_steps")[0])
    notes = " ".join(result.report.notes)
    assert "its steps are derived: the count of tokens" in notes
    assert "count from the checkpoint of step 3000" in notes
    assert "logged again" not in notes


def test_samples_are_counted_as_steps(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text(
        "srun: starting\n"
        + "".join(f"0: {line}\n" for line in HEADER.splitlines())
        + event("train_loss", 1.3589, samples_count=8, lr=0.0004)
        + " 0: "
        + event("eval_accuracy", 0.9234, time=1_721_026_851_000, samples_count=384)
        + "ray  | [0] "
        + event("eval_accuracy", "NaN", samples_count=768)
    )
    result = read(path)
    assert result.runs["step"].to_numpy().tolist() == [1, 48, 96]
    np.testing.assert_array_equal(result.runs["eval_loss"], [np.nan, 0.9234, np.nan])
    np.testing.assert_array_equal(result.runs["train_loss"], [1.3589, np.nan, np.nan])
    assert column(result, "wall_time")[1][1] == 1_721_026_851
    assert settings(result, "batch_size", "peak_lr", "total_steps") == [65_536, 4e-4, 1024]
    assert "derived: the count of samples" in " ".join(result.report.notes)


def test_an_accuracy_is_no_loss(tmp_path):
    path = tmp_path / "bert.txt"
    path.write_text(
        HEADER.replace("llama2_70b_lora", "bert")
        + event("train_loss", 1.5, samples_count=8)
        + event("eval_accuracy", 0.72, samples_count=80)
    )
    result = read(path)
    assert "eval_loss" not in result.runs
    assert column(result, "eval_accuracy")[1].tolist() == [0.72]


def test_events_that_cannot_be_placed_are_counted(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text(
        event("eval_accuracy", 1.0, samples_count=8)
        + HEADER
        + event("eval_accuracy", 0.9, samples_count=8)
        + event("eval_accuracy", 0.8)
        + event("eval_accuracy", 0.7, samples_count=12)
        + ":::MLLOG {not json}\n:::MLLOG [1]\n"
    )
    result = read(path)
    assert column(result, "eval_loss")[1].tolist() == [0.9]
    notes = " ".join(result.report.notes)
    assert "left out 2 events without a count of samples" in notes
    assert "left out 1 record whose step is no whole number" in notes
    assert "left out 2 events without a JSON object" in notes


def test_settings_alone_are_no_run(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text(HEADER)
    with pytest.raises(DataError, match="holds no record"):
        read(path)
