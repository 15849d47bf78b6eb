from __future__ import annotations

import pytest

from workbench.errors import DataError
from workbench.io.names import keep_final_apart, metric_name, name_columns, step_name
from workbench.io.runlog import RunLog


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("loss", "train_loss"),
        ("train.loss", "train_loss"),
        ("metrics/train/loss", "train_loss"),
        ("training/loss", "train_loss"),
        ("training/val/loss", "eval_loss"),
        ("validation/loss", "eval_loss"),
        ("val - loss", "eval_loss"),
        ("train_lr", "learning_rate"),
        ("train_grad_norm", "grad_norm"),
        ("val/accuracy", None),
        ("final-val/loss", None),
        ("ema/val/loss", None),
        ("", None),
    ],
)
def test_what_a_name_means(given, name):
    assert metric_name(given) == name


def test_the_optimisers_counter_comes_before_the_trackers():
    assert step_name(["_step", "loss", "Trainer/Global_Step"]) == "Trainer/Global_Step"
    assert step_name(["_step", "iter"]) == "iter"
    assert step_name(["_step", "loss"]) == "_step"
    assert step_name(["epoch", "loss"]) is None


def log_of(*columns):
    log = RunLog("r", source="s")
    for i, name in enumerate(columns):
        log.add(i, {name: float(i)})
    return log


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (("test-tokens/avg_loss",), ("eval_loss",)),
        (("mean_loss", "val/mean_loss"), ("train_loss", "eval_loss")),
        (("val/mean_loss", "test/mean_loss"), ("val/mean_loss", "test/mean_loss")),
        (("aux_loss", "train/z_loss", "ema/loss"), ("aux_loss", "train/z_loss", "ema/loss")),
        (("val_loss", "test-tokens/avg_loss"), ("val_loss", "test-tokens/avg_loss")),
        (("metrics/test/loss", "metrics/val/loss"), ("metrics/test/loss", "eval_loss")),
    ],
)
def test_losses_that_no_alias_names(columns, named):
    log = log_of(*columns)
    name_columns(log)
    assert sorted(log.columns) == sorted(named)


def test_of_two_names_for_the_held_out_loss_the_validation_has_the_first_claim():
    log = log_of("test_loss", "val_loss")
    records = log.records()
    assert records["eval_loss"].tolist()[1] == 1
    assert records["test_loss"].tolist()[0] == 0


def test_a_last_evaluation_becomes_a_setting():
    log = RunLog("r", source="s")
    log.add(5, {"final-val/loss": 2.0, "loss": 3.0})
    log.add(3, {"final-val/loss": 1.0})
    keep_final_apart(log)
    assert log.columns == ("loss",)
    assert log.settings == {"final_val_loss": 2.0}


def test_only_a_value_that_is_replaced_by_another_is_told():
    log = RunLog("r", source="s")
    for step, value in ((1, 2.0), (1, 2.0), (2, float("nan")), (2, float("nan"))):
        log.add(step, {"loss": value})
    assert log.remarks() == []
    log.add(1, {"loss": 3.0})
    assert "2 values of 'r' logged again" in log.remarks()[0]
    assert log.records()["train_loss"].tolist()[0] == 3


def test_columns_are_renamed_compared_and_bounded():
    log = log_of("a", "b")
    with pytest.raises(DataError, match="has a column 'b' already"):
        log.rename("a", "b")
    assert not log.same("a", "b")
    log.add(9, {"x" * 201: 1.0})
    log.add_series("y" * 201, [1, 2], [1, 2])
    assert log.columns == ("a", "b")
    assert "left out 3 values under a name of over 200 characters" in log.remarks()[0]
