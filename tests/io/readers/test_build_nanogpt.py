from __future__ import annotations

import numpy as np
import pytest

from tests.io.readers.columns import column, settings
from workbench.io import read

HEADER = """\
total desired batch size: 524288
=> calculated gradient accumulation steps: 2
num decayed parameter tensors: 50, with 124,354,560 parameters
num non-decayed parameter tensors: 98, with 121,344 parameters
"""


def step_line(step, loss):
    return (
        f"step {step:5d} | loss: {loss:.6f} | lr 6.0000e-04 | norm: 1.5000 | dt: 394.95ms "
        "| tok/sec: 1327465.30\n"
    )


def test_public_console_log_has_every_complete_line(shared_logs):
    (path,) = (shared_logs / "build_nanogpt_log").iterdir()
    result = read(path)
    assert [row["format"] for row in result.report.imported] == ["build-nanogpt"]
    # The sample was cut after 3,000 lines: of its 2,733 lines of steps the last has no line end.
    steps, losses = column(result, "train_loss")
    assert steps.tolist() == list(range(2732))
    assert (losses[0], losses[-1]) == (10.955010, 3.657451)
    assert losses.sum() == pytest.approx(12864.757978 - 3.670368, abs=1e-6)
    assert column(result, "grad_norm")[1].sum() == pytest.approx(1393.1644 - 0.4330, abs=1e-4)
    assert "left out 1 line without a line end" in " ".join(result.report.notes)
    steps, losses = column(result, "eval_loss")
    assert steps.tolist() == list(range(0, 2501, 250))
    assert (losses[0], losses[1], losses[-1]) == (10.9522, 6.2648, 3.8327)
    assert losses.sum() == pytest.approx(57.6819, abs=1e-4)
    steps, accuracy = column(result, "hellaswag_accuracy")
    assert steps.tolist() == list(range(0, 2501, 250))
    assert (accuracy[0], accuracy[-1]) == (0.2487, 0.2524)
    assert settings(result, "batch_size", "model_size") == [524_288, 124_475_904]


def test_log_file_names_the_step_of_every_value(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("0 val 10.9511\n0 hella 0.2463\n0 train 10.955029\n1 train nan\n250 val 6.5\n")
    result = read(path)
    assert result.report.imported[0]["format"] == "build-nanogpt"
    assert result.runs["step"].to_numpy().tolist() == [0, 1, 250]
    np.testing.assert_array_equal(result.runs["train_loss"], [10.955029, np.nan, np.nan])
    np.testing.assert_array_equal(result.runs["eval_loss"], [10.9511, np.nan, 6.5])
    np.testing.assert_array_equal(result.runs["hellaswag_accuracy"], [0.2463, np.nan, np.nan])


def test_an_evaluation_belongs_to_the_step_after_it(tmp_path):
    path = tmp_path / "console.out"
    path.write_text(
        HEADER
        + "validation loss: 10.9000\n"
        + step_line(0, 10.95)
        + step_line(1, 10.5)
        + "validation loss: 9.5000\nHellaSwag accuracy: 2497/10042=0.2487\n"
    )
    result = read(path)
    steps, losses = column(result, "eval_loss")
    assert (steps.tolist(), losses.tolist()) == ([0, 2], [10.9, 9.5])
    assert "taken as 2" in " ".join(result.report.notes)


def test_a_restart_does_not_take_the_evaluation_before_it(tmp_path):
    path = tmp_path / "console.out"
    path.write_text(
        HEADER
        + "".join(step_line(step, 5.0) for step in range(4))
        + "validation loss: 4.4444\n"
        + HEADER
        + "".join(step_line(step, 3.0) for step in range(2, 4))
    )
    result = read(path)
    steps, losses = column(result, "eval_loss")
    assert (steps.tolist(), losses.tolist()) == ([4], [4.4444])
    assert column(result, "train_loss")[1].tolist() == [5, 5, 3, 3]
