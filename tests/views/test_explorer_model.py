from __future__ import annotations

import numpy as np
import pytest

from workbench.collapse import collapse_report
from workbench.errors import ArgumentError
from workbench.schema import concat_runs, make_runs, take_runs
from workbench.views.browser_columns import browser_columns, colour_choices, x_axes
from workbench.views.explorer_model import EVERYTHING, OWN, ExplorerModel
from workbench.views.matched_groups import matched_groups
from workbench.views.source import no_runs


def renamed(runs, prefix, **coords):
    names = [f"{prefix}{name}" for name in runs["run_id"].to_numpy()]
    extra = {key: ("run", np.full(runs.sizes["run"], value)) for key, value in coords.items()}
    return runs.assign_coords(run_id=("run", names), **extra)


def unfinished(runs, share):
    """Cut every run at a share of its plan, as if it were running."""
    n = runs.sizes["run"]
    records = runs.sizes["obs"] // n
    keep = np.tile(np.arange(records) < share * records, n)
    cut = runs.isel(obs=np.flatnonzero(keep))
    sizes = np.full(n, int(keep.sum() // n))
    return cut.assign(row_size=("run", sizes)).assign_coords(status=("run", ["running"] * n))


@pytest.fixture
def two_groups(make_family):
    one = make_family(noise=0.001)
    other = renamed(make_family(noise=0.001, sizes=(1e6, 2e6), tau=0.8), "late-")
    return concat_runs([one, other])


def test_first_view_is_the_largest_matched_group(two_groups):
    model = ExplorerModel(two_groups)
    assert model.kept.sum() == 12
    assert model.tau == ["0.20"]
    assert next(iter(matched_groups(model.table))) == model.group


def test_report_is_the_librarys_on_the_selection(two_groups):
    model = ExplorerModel(two_groups)
    expected = collapse_report(take_runs(two_groups, model.kept), offset="fit", smoothing=0.0)
    report = model.report()
    assert report.beyond == expected.beyond
    np.testing.assert_array_equal(report.deviation, expected.deviation)


def test_offset_follows_the_slider_only_once_it_rests(make_family):
    model = ExplorerModel(make_family(noise=0.001))
    model.position = 0.4
    before = model.offset
    model.rest()
    assert before == "fit"
    assert model.offset == pytest.approx(model.track.offset_at(0.4))
    model.offset = "zero"
    assert model.position == 0.0
    assert model.offset_value == 0.0


def test_offset_of_the_address_survives_a_change_of_selection(make_family):
    model = ExplorerModel(make_family(noise=0.001))
    model.offset = 1.2
    model.seed = ["0", "1"]
    assert model.offset_value == pytest.approx(1.2)


@pytest.mark.parametrize("value", ["fitted", -1.0, float("nan"), None])
def test_bad_offset_is_refused_and_changes_nothing(make_family, value):
    model = ExplorerModel(make_family(noise=0.001))
    with pytest.raises(ArgumentError, match="offset must be"):
        model.offset = value
    assert model.offset == "fit"


def test_undo_takes_back_the_last_filter(make_family):
    model = ExplorerModel(make_family(noise=0.001))
    model.seed = []
    assert not model.kept.any()
    assert model.last_filter == "seed"
    model.undo_filter()
    assert model.kept.all()


def test_selection_text_brings_the_same_runs_back(two_groups):
    model = ExplorerModel(two_groups)
    model.group = EVERYTHING
    model.model_size = ["1M"]
    assert model.group == OWN
    again = ExplorerModel(two_groups)
    again.selection = model.selection
    np.testing.assert_array_equal(again.kept, model.kept)
    assert model.selection == "model_size~1M"


def test_selection_that_cannot_be_read_is_refused(make_family):
    model = ExplorerModel(make_family(noise=0.001))
    with pytest.raises(ArgumentError, match="selection must read"):
        model.selection = "{broken"


def test_new_runs_join_the_default_selection(make_family):
    runs = make_family(noise=0.001)
    model = ExplorerModel(runs)
    more = renamed(unfinished(make_family(sizes=(16e6,), noise=0.001), 0.5), "new-")
    model.set_runs(concat_runs([runs, more]))
    assert model.kept.all()
    assert model.counts() == {"done": 12, "running": 3, "lost": 0, "other": 0}
    model.lost = frozenset({"new-N1.6e+07-s1"})
    assert model.counts() == {"done": 12, "running": 2, "lost": 1, "other": 0}
    assert model.report().curves.sizes["run"] == 12


def test_new_runs_do_not_join_filters_that_exclude_them(make_family):
    runs = make_family(noise=0.001)
    model = ExplorerModel(runs)
    model.model_size = ["1M", "2M"]
    more = renamed(make_family(sizes=(16e6,), noise=0.001), "new-")
    model.set_runs(concat_runs([runs, more]))
    assert model.kept.sum() == 6


def test_unchanged_runs_are_not_resampled(make_family, monkeypatch):
    runs = make_family(noise=0.001)
    model = ExplorerModel(runs)
    seen = []
    from workbench.views import run_table

    real = run_table.on_progress
    monkeypatch.setattr(
        run_table, "on_progress", lambda r, **k: seen.append(r.sizes["run"]) or real(r, **k)
    )
    more = renamed(unfinished(make_family(sizes=(16e6,), seeds=(0,)), 0.5), "new-")
    model.set_runs(concat_runs([runs, more]))
    assert seen == [1]
    np.testing.assert_array_equal(
        model.table.curves.to_numpy(), real(model.table.runs, loss="eval_loss").to_numpy()
    )


def test_runs_without_a_plan_or_a_loss_are_left_out_by_name(make_family):
    runs = make_family(noise=0.001)
    unknown = runs["total_steps"].to_numpy().copy()
    unknown[3] = np.nan
    model = ExplorerModel(runs.assign_coords(total_steps=("run", unknown)))
    name = str(runs["run_id"].to_numpy()[3])
    assert model.table.left_out == ((name, "planned length unknown"),)
    assert model.table.n_runs == 11


def test_without_runs_or_without_a_finished_one_nothing_fails(make_family):
    assert ExplorerModel(no_runs()).kept.size == 0
    model = ExplorerModel(unfinished(make_family(), 0.4))
    assert model.fit_problem
    assert model.track.estimate is None


def test_many_values_become_ranges(make_family):
    rng = np.random.default_rng(0)
    parts = [
        renamed(make_family(sizes=(1e6,), seeds=(0,), tau=float(t)), f"t{i}-")
        for i, t in enumerate(np.geomspace(0.001, 10, 60) * rng.uniform(1, 1.01, 60))
    ]
    model = ExplorerModel(concat_runs(parts))
    assert len(model.table.choices["tau"]) <= 10
    assert "to" in model.table.choices["tau"][0]


def test_browser_columns_hold_what_the_script_needs(two_groups):
    model = ExplorerModel(two_groups)
    colours = colour_choices(model.table)
    columns = browser_columns(model.table, colours)
    np.testing.assert_array_equal(columns["loss"], model.table.curves.to_numpy())
    assert {len(values) for values in columns.values()} == {18}
    assert set(x_axes(model.table)) == {"progress", "tokens", "compute", "step"}
    assert len(np.unique(columns["cell"])) == 6
    place = columns["at_model_size"]
    assert place.min() == 0
    assert place.max() == 1


def test_excess_loss_is_compared_where_the_entropy_is_known(make_family):
    assert ExplorerModel(make_family()).normalisations() is None
    runs = make_family(noise=0.01, irreducible_loss=1.7)
    whole, excess = ExplorerModel(runs).normalisations()
    x = runs["step"].to_numpy()[:200] / 200
    assert excess.collapses
    assert excess.deviation_half < 1e-9
    assert whole.deviation_half > 1e-3
    assert x[-1] == 1


def test_text_coordinates_make_schema_runs():
    empty = make_runs({"run_id": []}, {"step": [], "eval_loss": []}, row_size=[])
    assert empty.sizes["run"] == 0


def test_the_fitted_offset_comes_first_only_where_it_brings_the_curves_together(make_family):
    runs = make_family(noise=1e-4)
    assert ExplorerModel(runs).offset == "fit"
    x = np.tile(np.arange(1, 201) / 200, runs.sizes["run"])
    order = np.repeat(np.argsort(np.argsort(runs["model_size"].to_numpy())), 200)
    bent = runs.assign(eval_loss=("obs", runs["eval_loss"].to_numpy() + 0.05 * order * x * (1 - x)))
    model = ExplorerModel(bent)
    assert model.track.identified
    assert model.offset == "zero"
