from __future__ import annotations

import numpy as np
import pytest

from workbench.io.wandb_steps import STEP_COLUMNS, choose_step

ALL = np.ones(6, bool)
TENS = np.arange(0.0, 60, 10)


def columns(**given):
    return {
        "_step": np.arange(6.0),
        **{k.replace("__", "/"): np.array(v) for k, v in given.items()},
    }


@pytest.mark.parametrize("name", STEP_COLUMNS)
def test_the_one_clear_column_is_the_step(name):
    chosen, why = choose_step({"_step": np.arange(6.0), name: TENS}, ALL)
    assert chosen == name
    assert repr(name) in why


def test_without_one_the_count_of_log_calls_is():
    assert choose_step(columns(), ALL)[0] == "_step"
    assert "no column holds another" in choose_step(columns(epoch=TENS), ALL)[1]


@pytest.mark.parametrize(
    "values",
    [
        [0, 10, 20, 30, 40, np.nan],  # not in every row that has a loss
        [0, 10, 20, 30, 40, 45.5],
        [-1, 10, 20, 30, 40, 50],
        [0, 1, 0, 1, 0, np.inf],
        [0, 0, 0, 0, 0, 0],  # counts nothing
    ],
)
def test_a_column_that_does_not_count_every_row_is_no_step(values):
    assert choose_step(columns(iter=values), ALL)[0] == "_step"


def test_a_step_within_an_epoch_starts_again_and_is_none():
    values = np.tile(np.arange(3.0), 20)
    assert choose_step({"step": values}, np.ones(60, bool))[0] == "_step"


def test_training_and_validation_may_share_a_step_and_other_rows_lack_it():
    logged = np.array([True, True, True, True, False, False])
    assert choose_step(columns(iter=[0, 0, 10, 10, np.nan, np.nan]), logged)[0] == "iter"


def test_columns_that_agree_are_one_and_others_are_not_guessed_between():
    assert choose_step(columns(iter=TENS, step=TENS), ALL)[0] == "iter"
    chosen, why = choose_step(columns(iter=TENS, step=TENS / 10), ALL)
    assert chosen == "_step"
    assert "'iter' and 'step' could both be" in why


def test_what_the_run_declared_comes_first():
    given = columns(train__update=TENS, step=TENS / 10)
    assert choose_step(given, ALL, declared=["train/update"])[0] == "train/update"
    assert choose_step(given, ALL, declared=["missing"])[0] == "step"


def test_an_empty_history_is_no_error():
    assert choose_step({}, np.zeros(0, bool))[0] == "_step"
