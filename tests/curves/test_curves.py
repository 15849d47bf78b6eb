from __future__ import annotations

import numpy as np
import pytest

from workbench.curves import (
    cube_curves,
    default_loss,
    half_width,
    is_complete,
    normalize_by,
    on_progress,
    smooth,
    snap,
    to_cube,
    x_scale,
)
from workbench.errors import ArgumentError, DataError
from workbench.schema import conform, make_runs, take_runs


def test_progress_is_the_planned_one_not_the_last_logged_step(make_family):
    runs = make_family(sizes=(1e6,), seeds=(0,), records=100, total_steps=200.0)
    curves = on_progress(runs, points=100)
    assert np.isnan(curves.to_numpy()[0, 51:]).all()
    assert np.isfinite(curves.to_numpy()[0, 1:49]).all()
    assert not bool(is_complete(curves)[0])


def test_tokens_count_where_they_are_known(make_family):
    runs = make_family(sizes=(1e6,), seeds=(0,), records=100)
    total = float(runs.tokens_total[0])
    late = runs.assign(tokens=("obs", np.linspace(0.5, 1, 100) * total))
    curves = on_progress(late, points=100)
    assert np.isnan(curves.to_numpy()[0, :48]).all()
    some_missing = late.assign(tokens=("obs", np.r_[np.nan, np.linspace(0.5, 1, 99) * total]))
    assert np.isfinite(on_progress(some_missing, points=100).to_numpy()[0]).all()


def test_unknown_plan_is_refused_with_the_fix(make_family):
    runs = make_family(sizes=(1e6,), seeds=(0,))
    blank = runs.assign_coords(total_steps=("run", [np.nan]), tokens_total=("run", [np.nan]))
    with pytest.raises(DataError, match=r"--set total_steps=N"):
        on_progress(blank)


def test_default_loss_prefers_the_held_out_one_everywhere():
    def runs(eval_loss):
        return conform(
            make_runs(
                {"run_id": ["a", "b"], "total_steps": [2.0, 2.0]},
                {"step": [1, 2, 1, 2], "train_loss": [4.0, 3, 4, 3], "eval_loss": eval_loss},
                row_size=[2, 2],
            )
        )

    nan = np.nan
    assert default_loss(runs([nan, 3, nan, 3])) == "eval_loss"
    assert default_loss(runs([nan, 3, nan, nan])) == "train_loss"
    with pytest.raises(DataError, match="1 of 2 runs have no finite eval_loss"):
        on_progress(runs([nan, 3, nan, nan]), loss="eval_loss")
    with pytest.raises(ArgumentError, match="loss must be one of"):
        on_progress(runs([nan, 3, nan, 3]), loss="accuracy")


def test_curves_carry_coordinates_units_and_history(make_family):
    curves = on_progress(make_family())
    assert curves.attrs["units"] == "nats/token"
    assert "resampled eval_loss" in curves.attrs["history"]
    assert curves["model_size"].attrs["units"] == "parameters"
    assert float(curves.progress[-1]) == 1


def test_smoothing_states_its_width_and_checks_it(make_family):
    curves = on_progress(make_family())
    assert smooth(curves, width=0.05).attrs["smoothing"] == "local line, 5 % of the run"
    assert smooth(curves, width=0).equals(curves)
    assert half_width(0.05, 256) == 6
    with pytest.raises(ArgumentError, match=r"\[0, 0.5\]"):
        smooth(curves, width=0.9)


def test_offset_above_a_final_loss_is_refused(make_family):
    curves = on_progress(make_family())
    with pytest.raises(DataError, match="not below the final loss"):
        normalize_by(curves, offset=99.0)


def test_x_axes_scale_with_the_plan(make_family):
    runs = make_family(sizes=(1e6, 2e6), seeds=(0,))
    np.testing.assert_allclose(x_scale(runs, "tokens"), [2e7, 4e7])
    np.testing.assert_allclose(x_scale(runs, "compute"), [6 * 1e6 * 2e7, 6 * 2e6 * 4e7])
    assert x_scale(runs, "compute").attrs["units"] == "FLOP"
    with pytest.raises(ArgumentError, match="x must be one of"):
        x_scale(runs, "epochs")


def test_snapping_chains_neighbours_and_keeps_nan():
    values = np.array([0.2, 0.2005, 0.4, np.nan])
    snapped = snap(values, tolerance=0.02)
    assert snapped[0] == snapped[1]
    assert snapped[2] == 0.4
    assert np.isnan(snapped[3])


def test_cube_holds_every_run_at_its_coordinates(make_family):
    runs = make_family()
    cube = to_cube(runs)
    assert dict(cube.sizes) == {
        "model_size": 4,
        "tau": 1,
        "tpp": 1,
        "schedule": 1,
        "seed": 3,
        "progress": 256,
    }
    cell = cube.sel(model_size=2e6, seed=1).squeeze()
    assert str(cell.run_id.item()) == "N2e+06-s1"
    np.testing.assert_array_equal(cell.loss, on_progress(take_runs(runs, [4])).squeeze().to_numpy())
    back = cube_curves(cube)
    assert back.sizes["run"] == 12
    assert back.sortby("run_id").run_id.to_numpy().tolist() == sorted(runs.run_id.to_numpy())


def test_two_runs_in_one_cell_are_named_with_what_separates_them(make_family):
    runs = make_family(sizes=(1e6,), seeds=(0, 0), peak_lr=np.array([0.1, 0.2]))
    runs = runs.assign_coords(run_id=("run", ["first", "second"]))
    with pytest.raises(DataError, match=r"'first' and 'second'.*peak_lr: pass dims=\['peak_lr'\]"):
        to_cube(runs)
    assert to_cube(runs, dims=["peak_lr"]).sizes["peak_lr"] == 2
    assert to_cube(runs, replicates="seed").sizes["seed"] == 2


def test_a_partly_filled_cube_is_empty_where_nothing_ran(make_family):
    runs = take_runs(make_family(), np.arange(11))
    cube = to_cube(runs)
    assert int((cube.n_obs == 0).sum()) == 1
    assert cube_curves(cube).sizes["run"] == 11


def test_a_cube_too_sparse_to_hold_is_refused(make_family):
    n = 400
    runs = make_family(
        sizes=tuple(1e6 * 1.1**i for i in range(n)),
        seeds=(0,),
        records=10,
        tau=np.geomspace(1e-6, 1, n),
    )
    with pytest.raises(DataError, match="Select fewer settings"):
        to_cube(runs, points=4096)
    with pytest.raises(ArgumentError, match="at least 8"):
        on_progress(runs, points=2)
