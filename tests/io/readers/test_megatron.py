from __future__ import annotations

import numpy as np
import pytest

from tests.io.readers.columns import column, settings
from workbench.io import read

SIZE = " > number of parameters on (tensor, pipeline) model parallel rank (0, 0): 354871296\n"


def arguments(**changed):
    given = {
        "adam_beta2": 0.95,
        "data_path": "['/data/owt2']",
        "global_batch_size": 512,
        "hidden_size": 1024,
        "load": None,
        "lr": 0.0003,
        "lr_decay_iters": 800,
        "lr_decay_style": "cosine",
        "lr_warmup_fraction": 0.01,
        "lr_warmup_iters": 0,
        "min_lr": 3e-05,
        "num_layers": 24,
        "seq_length": 2048,
        "swiglu": True,
        "train_iters": 1000,
        "weight_decay": 0.1,
        "world_size": 8,
    } | changed
    listed = "".join(
        f"  {name} {'.' * (48 - len(name))} {value}\n" for name, value in given.items()
    )
    return (
        f"------------------------ arguments ------------------------\n{listed}"
        "-------------------- end of arguments ---------------------\n"
    )


def line(step, loss, *, end=1000, batch=512, skipped=0, nan=0):
    shown = "" if loss is None else f" lm loss: {loss:.6E} |"
    return (
        f" iteration {step:8d}/{end:8d} | consumed samples: {step * 512:12d} |"
        f" elapsed time per iteration (ms): 2152.2 | learning rate: 1.500E-04 |"
        f" global batch size: {batch:5d} |{shown} loss scale: 1.0 | grad norm: 3.186 |"
        f" number of skipped iterations: {skipped:3d} | number of nan iterations: {nan:3d} |\n"
    )


def validation(step, loss, where=""):
    return (
        f"-----------\n validation loss at iteration {step}{where} | lm loss value: {loss:.6E} |"
        f" lm loss PPL: 1.0E+00 | \n-----------\n"
    )


def imported(tmp_path, text):
    path = tmp_path / "job.out"
    path.write_text(text)
    result = read(path)
    assert result.report.imported[0]["format"] == "megatron"
    return result


def test_public_megatron_lm_job(shared_logs):
    (path,) = (shared_logs / "megatron_lm_out").iterdir()
    result = read(path)
    assert [row["format"] for row in result.report.imported] == ["megatron"]
    assert result.runs["step"].to_numpy().tolist() == list(range(10, 201, 10))
    steps, losses = column(result, "train_loss")
    assert steps.tolist() == list(range(20, 201, 10))  # the first ten iterations were skipped
    assert (losses[0], losses[-1]) == (12.03115, 7.365868)
    assert losses.sum() == pytest.approx(174.093103, abs=1e-6)
    assert [each.tolist() for each in column(result, "eval_loss")] == [
        [100, 200],
        [8.017406, 7.487306],
    ]
    steps, norms = column(result, "grad_norm")
    assert (len(norms), norms.sum()) == (18, pytest.approx(139.844, abs=1e-3))
    assert column(result, "skipped_iterations")[1].sum() == 19
    assert column(result, "samples")[1][-1] == 800
    assert column(result, "tokens")[1][-1] == 800 * 1024
    names = ("total_steps", "batch_size", "peak_lr", "weight_decay", "width", "depth", "seed")
    assert settings(result, *names) == [1000, 4096, 1.5e-4, 0.01, 6144, 40, 1234]
    assert settings(result, "warmup_steps", "schedule", "beta2") == [8, "cosine", 0.999]
    assert settings(result, "params_of_all_ranks") == [18_775_080_960]
    assert np.isnan(settings(result, "model_size")[0])


def test_public_megatron_deepspeed_job(shared_logs):
    (path,) = (shared_logs / "megatron_deepspeed_out").iterdir()
    result = read(path)
    assert [row["format"] for row in result.report.imported] == ["megatron"]
    steps, losses = column(result, "train_loss")
    assert steps.tolist() == list(range(200, 7801, 200))
    assert (losses[0], losses[-1]) == (10.25302, 6.852427)
    assert losses.sum() == pytest.approx(285.421223, abs=1e-6)
    steps, losses = column(result, "eval_loss")
    assert steps.tolist() == list(range(100, 7901, 100))
    assert (losses[0], losses[-1]) == (10.44785, 7.831192)
    assert losses.sum() == pytest.approx(577.935517, abs=1e-6)
    assert column(result, "grad_norm")[1].sum() == pytest.approx(46.830, abs=1e-3)
    batches = column(result, "batch_sequences")[1]
    assert ((batches == 128).sum(), (batches == 256).sum()) == (26, 13)
    assert column(result, "tokens")[1][-1] == 2_723_938_304
    names = ("total_steps", "tokens_total", "batch_size", "model_size", "peak_lr")
    assert settings(result, *names) == [
        148_693,
        73_242_187 * 2048,
        512 * 2048,
        353_824_768,
        3e-4,
    ]
    assert settings(result, "warmup_fraction") == [183_105 / 73_242_187]
    assert "ramps up" in " ".join(result.report.notes)


def test_arguments_become_coordinates(tmp_path):
    result = imported(tmp_path, arguments() + line(100, 9.0) + validation(100, 8.5))
    names = ("batch_size", "total_steps", "warmup_steps", "final_lr_fraction", "width", "depth")
    assert settings(result, *names) == [512 * 2048, 1000, 8, pytest.approx(0.1), 1024, 24]
    assert settings(result, "data_path", "swiglu") == ["['/data/owt2']", 1.0]
    assert "load" not in result.runs.coords
    assert column(result, "tokens")[1].tolist() == [100 * 512 * 2048]


def test_a_line_without_a_loss_and_one_with_nan(tmp_path):
    text = line(10, None, skipped=10, nan=10) + line(20, np.nan) + line(30, 9.0)
    result = imported(tmp_path, text)
    np.testing.assert_array_equal(result.runs["train_loss"], [np.nan, np.nan, 9.0])
    assert column(result, "nan_iterations")[1].tolist() == [10, 0, 0]


def test_several_jobs_of_one_run_the_later_wins(tmp_path):
    first = arguments() + "".join(line(step, 9.0) for step in (100, 200, 300))
    second = arguments(lr=0.0001, train_iters=2000) + "".join(
        line(step, 8.0, end=2000) for step in (200, 300, 400)
    )
    result = imported(tmp_path, first + second)
    steps, losses = column(result, "train_loss")
    assert (steps.tolist(), losses.tolist()) == ([100, 200, 300, 400], [9, 8, 8, 8])
    assert settings(result, "total_steps", "peak_lr") == [2000, 1e-4]
    notes = " ".join(result.report.notes)
    assert "lr changes from 0.0003 to 0.0001" in notes
    assert "its planned end changes from 1000 to 2000" in notes
    assert "logged again" in notes


@pytest.mark.parametrize("prefix", ["[default7]:", "[rank7]: ", "12: ", "[2024-05-01 10:00:00] "])
def test_prefixes_of_ranks_and_times(tmp_path, prefix):
    text = "".join(
        prefix + each + "\n" for each in (arguments() + line(5, 3.5)).splitlines() if each
    )
    if not prefix.startswith("[2024"):
        result = imported(tmp_path, text)
        assert settings(result, "peak_lr") == [3e-4]
    else:
        result = imported(tmp_path, arguments() + prefix[:-1] + line(5, 3.5))
    assert column(result, "train_loss")[1].tolist() == [3.5]


def test_evaluations_after_training_stay_apart(tmp_path):
    text = (
        line(1000, 3.0)
        + validation(1000, 3.1)
        + validation(1000, 3.2, where=" on validation set")
        + validation(1000, 3.3, where=" on test set")
        + " validation loss at the end of training for test data | lm loss value: 3.400000E+00 |\n"
        + " valid_c4 loss at iteration 1000 | lm loss value: 3.5E+00 | lm loss PPL: 1.0E+00 | \n"
    )
    result = imported(tmp_path, text)
    assert column(result, "eval_loss")[1].tolist() == [3.1]
    assert column(result, "final_eval_loss")[1].tolist() == [3.2]
    assert column(result, "final_test_set_loss")[1].tolist() == [3.4]
    assert column(result, "valid_c4_loss")[1].tolist() == [3.5]


def test_what_another_rank_writes_on_the_same_line_is_left(tmp_path):
    text = line(20, 5.0).rstrip("\n") + "[Rank 7] (after 20 iterations) | allocated: 21633.0\n"
    assert "allocated" not in imported(tmp_path, text).runs


def test_parameters_of_a_single_rank(tmp_path):
    result = imported(tmp_path, arguments() + SIZE + line(1, 9.0))
    assert settings(result, "model_size") == [354_871_296]
