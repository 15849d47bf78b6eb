from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ArgumentError, DataError
from workbench.schema import (
    RUN_FIELDS,
    concat_runs,
    conform,
    iter_runs,
    make_runs,
    matching,
    parse_filter,
    row_bounds,
    run_names,
    select_runs,
    take_runs,
)


def ragged(sizes: list[int], **coords) -> object:
    n = len(sizes)
    steps = np.concatenate([np.arange(size) for size in sizes]) if n else np.empty(0)
    values = np.arange(len(steps), dtype=float)
    names = [f"r{i}" for i in range(n)]
    return make_runs(
        {"run_id": names, "total_steps": [10.0] * n, **coords},
        {"step": steps, "train_loss": 1 + values},
        row_size=sizes,
    )


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_taking_runs_keeps_each_with_its_records(sizes, random):
    runs = ragged(sizes)
    order = list(range(len(sizes)))
    random.shuffle(order)
    order = order[: random.randint(1, len(order))]
    taken = take_runs(runs, order)
    before = {name: ds["train_loss"].to_numpy() for name, ds in iter_runs(runs)}
    assert run_names(taken) == [f"r{i}" for i in order]
    for name, ds in iter_runs(taken):
        np.testing.assert_array_equal(ds["train_loss"], before[name])


@given(st.lists(st.integers(0, 5), min_size=2, max_size=6), st.data())
def test_concatenating_parts_restores_the_whole(sizes, data):
    runs = ragged(sizes)
    cut = data.draw(st.integers(1, len(sizes) - 1))
    parts = [take_runs(runs, np.arange(cut)), take_runs(runs, np.arange(cut, len(sizes)))]
    assert concat_runs(parts).identical(runs)


def test_joining_fills_what_one_part_did_not_record():
    one = ragged([2], width=[16.0])
    two = ragged([3]).assign_coords(run_id=("run", ["other"]), note=("run", ["yes"]))
    joined = concat_runs([one, two])
    assert np.isnan(joined["width"].to_numpy()[1])
    assert joined["note"].to_numpy().tolist() == ["", "yes"]
    with pytest.raises(DataError, match="'r0' twice"):
        concat_runs([one, one])


def test_derived_coordinates_follow_from_recorded_ones():
    runs = conform(
        ragged(
            [3],
            model_size=[100.0],
            batch_size=[40.0],
            total_steps=[50.0],
            peak_lr=[0.5],
            weight_decay=[0.1],
        )
    )
    assert float(runs.tokens_total[0]) == 2000
    assert float(runs.tpp[0]) == 20
    assert float(runs.tau[0]) == pytest.approx(1 / (0.5 * 0.1 * 50))
    assert float(runs.compute_total[0]) == 6 * 100 * 2000
    assert runs.tpp.attrs["formula"] == "tokens_total / model_size"


def test_every_formula_gives_what_derive_fills_in():
    given = {"model_size": 100.0, "batch_size": 40.0, "total_steps": 50.0}
    given |= {"peak_lr": 0.5, "weight_decay": 0.1}
    full = conform(ragged([3], **{name: [value] for name, value in given.items()}))
    values = {
        name: float(full[name][0])
        for name in RUN_FIELDS
        if name in full and full[name].dtype.kind == "f"
    }
    derived = {name: field for name, field in RUN_FIELDS.items() if field.formula}
    assert set(derived) >= {"tau", "tau_steps", "tpp", "tokens_total", "compute_total"}
    for name, field in derived.items():
        for side in re.split(r" = |, else |, rounded", field.formula):
            if side:
                result = product(side, values)
                assert result == pytest.approx(values[name]), (name, side)


def product(formula, values):
    """Return what a formula of the schema's table gives: factors, over factors in brackets."""
    above, _, below = formula.replace("(", "").replace(")", "").partition(" / ")
    number = lambda word: values[word] if word in values else float(word)  # noqa: E731
    parts = [math.prod(map(number, side.split(" * "))) for side in (above, below) if side]
    return parts[0] / parts[1] if below else parts[0]


def test_a_recorded_value_is_never_replaced():
    runs = conform(ragged([3], model_size=[100.0], tokens_total=[2000.0], tpp=[7.0]))
    assert float(runs.tpp[0]) == 7


def test_aliases_of_other_tools_are_mapped():
    runs = ragged([2]).rename(train_loss="loss").assign_coords(n_params=("run", [5.0]))
    seen = conform(runs)
    assert "train_loss" in seen
    assert float(seen.model_size[0]) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.assign(row_size=("run", [1, 1])), "adds up to 2"),
        (lambda d: d.assign_coords(run_id=("run", ["a", "a"])), "'a' twice"),
        (lambda d: d.assign_coords(status=("run", ["done", "odd"])), "status 'odd'"),
        (lambda d: d.assign(step=("obs", [0, 1, 1, 0, 1])), "goes from 1 to 1"),
        (lambda d: d.drop_vars("train_loss"), "no loss"),
        (lambda d: d.assign(train_loss=("obs", [np.nan] * 3 + [1.0, 2.0])), "no finite loss"),
        (lambda d: d.drop_vars("row_size"), "not runs"),
        (lambda d: d.assign_attrs(schema="collapse-runs/9"), "newer than the 1"),
        (lambda d: d.assign_attrs(schema="other/1"), "declares schema 'other/1'"),
    ],
)
def test_broken_data_is_refused_in_one_paragraph(change, message):
    with pytest.raises(DataError, match=message) as caught:
        conform(change(ragged([3, 2])), source="file.nc")
    assert "\n" not in str(caught.value)


def test_filters_compare_numbers_and_text():
    runs = conform(ragged([1, 1, 1], tau=[0.1, 0.4, np.nan], schedule=["linear", "cosine", "wsd"]))
    assert matching(runs, ["tau>=0.1"]).tolist() == [True, True, False]
    assert matching(runs, ["tau<0.1"]).tolist() == [False, False, False]
    assert matching(runs, ["tau!=0.1"]).tolist() == [False, True, True]
    assert matching(runs, ["schedule=linear,wsd", "tau=0.1"]).tolist() == [True, False, False]
    assert matching(runs, ["run_id=r2"]).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("tpp", ArgumentError, "NAME OP VALUE"),
        ("tau>0.1,0.2", ArgumentError, "only = and !="),
        ("schedule<linear", ArgumentError, "is text"),
        ("tau=abc", ArgumentError, "is a number, found 'abc'"),
        ("taus=1", ArgumentError, "Did you mean 'tau'"),
        ("__import__('os')=1", ArgumentError, "NAME OP VALUE"),
        ("tau>5", DataError, "No run matches"),
    ],
)
def test_bad_filters_say_how_to_fix_them(text, error, message):
    runs = conform(ragged([1, 1], tau=[0.1, 0.4], schedule=["linear", "cosine"]))
    with pytest.raises(error, match=message):
        select_runs(runs, [text])


def test_filter_prints_as_it_was_written():
    assert str(parse_filter(" tpp >= 18.5 ")) == "tpp>=18.5"


def test_row_bounds_of_empty_runs():
    assert row_bounds(ragged([0, 2, 0])).tolist() == [0, 0, 2, 2]


def test_steps_have_the_one_int64_that_zarr_knows(tmp_path):
    steps = np.arange(3).astype("q")  # as ctypes and some readers give them
    runs = make_runs({"run_id": ["a"]}, {"step": steps, "train_loss": np.ones(3)}, row_size=[3])
    assert runs["step"].dtype.char == np.dtype(np.int64).char
    runs[["step"]].reset_coords(drop=True).to_zarr(tmp_path / "runs.zarr", consolidated=False)
