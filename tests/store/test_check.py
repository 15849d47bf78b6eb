"""Every kind of damage: found first, then repaired, or said and left."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest
import xarray as xr

from workbench.errors import DataError
from workbench.schema import run_names
from workbench.store.digest import digests
from workbench.store.folder import ABANDONED_SECONDS


@pytest.fixture(autouse=True)
def nothing_is_under_way(monkeypatch):
    """Take every generation for one that was published long ago."""
    monkeypatch.setattr("workbench.store.folder.UNDERWAY_SECONDS", -1.0)


@pytest.fixture
def store(folder_store):
    return folder_store


def generation(store, number):
    return store.root / f"curves-{number}.zarr"


def rewrite(store, number, change):
    """Change what a generation holds, without a trace in its metadata."""
    path = generation(store, number)
    ds = xr.open_zarr(path, consolidated=False, chunks=None).load()
    change(ds)
    shutil.rmtree(path)
    ds.to_zarr(path, consolidated=False)


def mend(store, *found):
    """Check that `found` is found and that a repair leaves nothing of it; return what it did."""
    problems = store.check()
    assert len(problems) == len(found), problems
    for text in found:
        assert any(text in problem for problem in problems), problems
    result = store.repair()
    assert result.problems == ()
    assert result.repaired
    assert store.check() == ()
    assert store.repair().repaired == ()
    return result.repaired


def test_a_sound_store_needs_no_repair(store, few_runs):
    store.add_runs(few_runs())
    store.start_run("a", family="f").append(step=0, train_loss=1.0)
    before = store.revision()
    result = store.repair()
    assert (result.repaired, result.problems) == ((), ())
    assert digests(store.runs())
    assert store.revision() >= before


def test_a_lost_generation_is_built_again_from_the_one_before(store, few_runs):
    store.add_runs(few_runs())
    whole = digests(store.runs())
    store.add_runs(few_runs(1, peak_lr=[0.1]))  # states a setting anew: the curves are the same
    now = digests(store.runs())
    store.consolidate()
    shutil.copytree(generation(store, 2), generation(store, 9))
    shutil.rmtree(generation(store, 2))
    with pytest.raises(DataError, match="missing or damaged"):
        store.runs()
    done = mend(store, "missing or damaged", "curves-9.zarr is a leftover")
    assert "The curve of run 'r0' is back as it was written." in done
    assert digests(store.runs()) == now != whole


def test_a_lost_generation_is_built_again_from_the_one_before_and_the_points(store, few_runs, sql):
    store.add_runs(few_runs(2))
    for name in ("a", "b"):
        writer = store.start_run(name, family="f", attributes={"tau": 0.2})
        writer.append(step=[0, 1], train_loss=[3.0, 2.0], grad_norm=[1.0, np.nan])
        writer.finish("failed")
        store.consolidate()
    again = store.start_run("a", family="f", attributes={"note": "resumed"})
    again.append(step=[1, 2], train_loss=[2.5, 1.0])
    again.finish()
    last = store.start_run("c", family="f")
    last.append(step=range(200), train_loss=[1.0 / (1 + step) for step in range(200)])
    last.finish()
    store.consolidate()
    live = store.start_run("live", family="f")
    live.append(step=0, train_loss=7.0)
    before = digests(store.runs())
    shutil.rmtree(generation(store, 4))
    done = mend(store, "missing or damaged")
    assert {text for text in done if "as it was written" in text} == {
        f"The curve of run {name!r} is back as it was written." for name in ("r0", "r1", *"abc")
    }
    assert digests(store.runs()) == before
    assert sql(store, "select distinct run_id from points") == [("live",)]


def test_the_first_generation_is_built_again_from_the_points_alone(store):
    writer = store.start_run("a", family="f")
    writer.append(step=[0, 1], train_loss=[3.0, 2.0])
    writer.finish()
    store.consolidate()
    before = digests(store.runs())
    shutil.rmtree(generation(store, 1))
    mend(store, "missing or damaged")
    assert digests(store.runs()) == before


def test_points_stay_until_the_next_generation_holds_their_curve_too(store, few_runs, sql):
    for number, name in enumerate("ab", start=1):
        writer = store.start_run(name, family="f")
        writer.append(step=[0, 1], train_loss=[3.0, 2.0])
        writer.finish()
        store.consolidate()
        assert sql(store, "select distinct run_id from points") == [(name,)]
        assert store.runs().sizes["obs"] == 2 * number
        assert store.check() == ()
    store.add_runs(few_runs())
    assert sql(store, "select count(*) from points") == [(0,)]


def test_points_missing_from_a_curve_as_written_are_folded_in(store, sql):
    writer = store.start_run("a", family="f")
    writer.append(step=[0, 1], train_loss=[3.0, 2.0])
    writer.finish("failed")
    store.consolidate()
    second = store.start_run("a", family="f")
    second.append(step=[1, 2], train_loss=[2.5, 1.0])
    second.finish("done")
    sql(store, "update runs set settled = true, folded = 1 where run_id = 'a'")
    mend(store, "has live points that its consolidated curve lacks")
    assert store.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.5, 1.0]


def test_what_no_generation_holds_is_said_and_left(store, few_runs):
    store.add_runs(few_runs(2))
    store.add_runs(few_runs(3))
    shutil.rmtree(generation(store, 2))
    result = store.repair()
    assert result.problems == ("run 'r2' should be consolidated and is not.",)
    assert run_names(store.runs()) == ["r0", "r1"]
    assert store.repair() == type(result)((), result.problems)
    # Its log brings it back.
    assert store.add_runs(few_runs(3)).added == ("r2",)
    assert store.check() == ()
    assert set(run_names(store.runs())) == {"r0", "r1", "r2"}


def test_an_older_part_of_a_curve_is_better_than_none(store, few_runs, sql):
    store.add_runs(few_runs(1))
    writer = store.start_run("a", family="f")
    writer.append(step=[0, 1], train_loss=[3.0, 2.0])
    writer.finish("failed")
    store.consolidate()
    writer = store.start_run("a", family="f")
    writer.append(step=[2], train_loss=[1.0])
    writer.finish()
    store.consolidate()
    sql(store, "delete from points")
    shutil.rmtree(generation(store, 3))
    result = store.repair()
    assert "The curve of run 'a' is back in an older state." in result.repaired
    assert any("'a' has 2 records, expected 3" in problem for problem in result.problems)
    assert store.runs(where=["run_id=a"])["train_loss"].to_numpy().tolist() == [3.0, 2.0]


def test_a_lost_generation_without_another_is_left(store, few_runs):
    store.add_runs(few_runs())
    shutil.rmtree(generation(store, 1))
    result = store.repair()
    assert result.repaired == ()
    assert "missing or damaged" in result.problems[0]


def test_a_changed_curve_is_taken_from_the_generation_before(store, few_runs):
    store.add_runs(few_runs())
    store.add_runs(few_runs(4))
    before = digests(store.runs())

    def change(ds):
        row = run_names(ds).index("r1")
        ds["train_loss"][5 * row + 2] += 1e-9

    rewrite(store, 2, change)
    mend(store, "the consolidated curve of run 'r1' is not what was written.")
    assert digests(store.runs()) == before


def test_a_changed_curve_without_another_is_left_with_its_generation(store, few_runs):
    store.add_runs(few_runs())
    rewrite(store, 1, lambda ds: ds["train_loss"].__setitem__(7, 9.0))
    said = "the consolidated curve of run 'r1' is not what was written."
    assert said in store.check()
    result = store.repair()
    assert said in result.problems
    assert store.runs().sizes["run"] == 3


def test_a_lost_chunk_names_the_runs_it_breaks_and_is_repaired(store, few_runs):
    store.add_runs(few_runs())
    store.add_runs(few_runs(3, peak_lr=[0.1, 0.2, 0.3]))
    shutil.copytree(generation(store, 2), generation(store, 7))
    shutil.rmtree(generation(store, 2) / "step" / "c")
    with pytest.raises(DataError, match="damaged"):
        store.runs()
    steps = [f"steps of run 'r{number}' do not increase" for number in range(3)]
    mend(store, "a chunk is gone", *steps, "curves-7.zarr is a leftover")
    assert store.runs()["step"].to_numpy()[:5].tolist() == [0, 10, 20, 30, 40]


def test_the_damaged_generation_is_kept_while_anything_is_missing(store, few_runs):
    store.add_runs(few_runs(2))
    store.add_runs(few_runs(3))
    shutil.rmtree(generation(store, 2) / "train_loss" / "c")
    store.repair()
    assert (store.root / "damaged-curves-2.zarr").is_dir()


def test_a_run_lost_from_the_registry_comes_back_from_its_curve(store, few_runs, sql):
    store.add_runs(few_runs(peak_lr=[0.1, 0.2, 0.3]))
    before = store.table().set_index("run_id").loc["r0"]
    sql(store, "delete from runs where run_id = 'r0'")
    mend(store, "run 'r0' is consolidated but not in the registry.")
    assert store.table().set_index("run_id").loc["r0"].equals(before)


def test_a_lost_row_with_points_and_a_curve_gets_both_back(store, sql):
    writer = store.start_run("a", family="f")
    writer.append(step=[0, 1], train_loss=[3.0, 2.0])
    writer.finish("failed")
    store.consolidate()
    store.start_run("a", family="f").append(step=[1, 2], train_loss=[2.5, 1.0])
    before = store.runs()["train_loss"].to_numpy().tolist()
    sql(store, "delete from runs where run_id = 'a'")
    mend(store, "which is not in the registry", "consolidated but not in the registry")
    assert store.runs()["train_loss"].to_numpy().tolist() == before == [3.0, 2.5, 1.0]


def test_points_of_an_unknown_run_are_said_and_kept(store, sql):
    store.start_run("a", family="f").append(step=0, train_loss=1.0)
    sql(store, "delete from runs where run_id = 'a'")
    problems = store.check()
    assert problems == ("points of run 'a', which is not in the registry.",)
    assert store.repair().problems == problems
    assert sql(store, "select count(*) from points") == [(1,)]


def test_points_beside_a_settled_run_are_folded_in(store, few_runs, sql):
    writer = store.start_run("a", family="f")
    writer.append(step=[0, 1], train_loss=[3.0, 2.0])
    writer.finish("failed")
    store.consolidate()
    second = store.start_run("a", family="f")
    second.append(step=[1, 2], train_loss=[2.5, 1.0])
    second.finish("done")
    sql(store, "update runs set settled = true where run_id = 'a'")
    assert store.runs().sizes["obs"] == 2  # the damage: two points are not seen
    done = mend(store, "is consolidated and still has live points")
    assert any("folded into" in text for text in done)
    assert store.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.5, 1.0]
    store.add_runs(few_runs())
    assert sql(store, "select count(*) from points") == [(0,)]


def test_points_of_an_attempt_never_started_keep_their_run(store, sql):
    store.start_run("a", family="f").append(step=0, train_loss=1.0)
    sql(store, "update points set attempt = 9")
    mend(store, "of attempt 9, never started")
    assert store.start_run("a", family="f").attempt == 10
    assert store.runs()["train_loss"].to_numpy().tolist() == [1.0]


def test_a_damaged_batch_is_said_and_left(store, sql):
    writer = store.start_run("a", family="f")
    writer.append(step=0, train_loss=1.0)
    sql(store, "update points set packed = substr(packed, 1, length(packed) - 1)")
    assert "run 'a', attempt 1: a batch of points does not match its checksum" in store.check()[0]
    result = store.repair()
    assert "checksum" in result.problems[0]
    assert sql(store, "select count(*) from points") == [(1,)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("n_records = 4", "run 'r0' has 5 records, expected 4."),
        ("last_step = 41", "run 'r0' has last_step 40, the registry says 41."),
        ("final_train_loss = 7", "run 'r0' has final_train_loss 0.2, the registry says 7.0."),
        ("final_eval_loss = 7", "run 'r0' has final_eval_loss None, the registry says 7.0."),
    ],
)
def test_wrong_counts_are_counted_again(store, few_runs, sql, change, said):
    store.add_runs(few_runs())
    before = store.table()
    sql(store, f"update runs set {change} where run_id = 'r0'")
    mend(store, said)
    assert store.table().equals(before)


@pytest.mark.parametrize("damage", ["missing", "older", "nonsense"])
def test_current_names_the_newest_generation_again(store, few_runs, damage):
    store.add_runs(few_runs())
    store.add_runs(few_runs(4))
    name = store.root / "CURRENT"
    if damage == "missing":
        name.unlink()
    else:
        name.write_text("curves-1.zarr\n" if damage == "older" else "\x00")
    mend(store, "CURRENT does not name generation 2")
    assert name.read_text() == "curves-2.zarr\n"


def test_a_registry_older_than_its_curves_is_left_alone(store, few_runs, sql):
    store.add_runs(few_runs())
    store.add_runs(few_runs(4))
    sql(store, "delete from runs where run_id = 'r3'")
    sql(store, "update meta set value = 1 where key = 'generation'")
    sql(store, "delete from generations where generation = 2")
    assert "the registry is older than the curves" in store.check()[0]
    result = store.repair()
    assert result.repaired == ()
    assert "the registry is older than the curves" in result.problems[0]
    assert generation(store, 2).is_dir()


def test_leftovers_are_removed_once_nobody_can_be_writing_them(store, few_runs):
    store.add_runs(few_runs())
    folder = store.root / "curves-0123456789abcdef.partial"
    shutil.copytree(generation(store, 1), folder)
    file = store.root / "CURRENT.0123456789abcdef.partial"
    file.write_text("curves-1.zarr\n")
    assert store.check() == ()  # it may be about to be published
    assert store.repair().repaired == ()
    long_ago = time.time() - 2 * ABANDONED_SECONDS
    for path in (folder, file):
        os.utime(path, (long_ago, long_ago))
    mend(store, f"{folder.name} is a leftover", f"{file.name} is a leftover")
    assert not folder.exists()
    assert not file.exists()
    assert store.runs().sizes["run"] == 3


def test_a_generation_that_may_be_being_published_is_no_leftover(store, few_runs, monkeypatch):
    store.add_runs(few_runs())
    shutil.copytree(generation(store, 1), generation(store, 2))
    assert store.check() == ("curves-2.zarr is a leftover.",)
    monkeypatch.setattr("workbench.store.folder.UNDERWAY_SECONDS", 60.0)
    assert store.check() == ()
    assert store.repair().repaired == ()
    assert generation(store, 2).is_dir()


def test_a_repair_in_the_middle_of_writing_drops_nothing(store, few_runs):
    store.add_runs(few_runs())
    writer = store.start_run("a", family="f")
    for step in range(70):
        writer.append(step=step, train_loss=1.0 / (1 + step))
        if step % 20 == 0:
            assert store.repair().problems == ()
    writer.finish()
    np.testing.assert_array_equal(
        store.runs(where=["run_id=a"])["train_loss"], 1.0 / (1 + np.arange(70))
    )
