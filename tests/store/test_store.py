from __future__ import annotations

import time
import uuid

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from workbench.errors import ArgumentError, DataError
from workbench.schema import concat_runs, conform, make_runs, run_names, take_runs
from workbench.store import generation, open_store, publish
from workbench.store.digest import digests
from workbench.store.snapshot import LEASE_SECONDS


def without_attrs(ds):
    return ds.drop_attrs()


def test_a_missing_store_says_how_to_make_one(tmp_path):
    with pytest.raises(ArgumentError, match=r"workbench import LOG --store .* workbench train"):
        open_store(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_urls_files_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="is an URL"):
        open_store("s3://bucket/runs", create=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArgumentError, match="is a file"):
        open_store(tmp_path / "file", create=True)
    with pytest.raises(ArgumentError, match="other things in it"):
        open_store(tmp_path, create=True)


def test_an_empty_store_reads_as_no_runs(store):
    assert store.runs().sizes == {"run": 0, "obs": 0}
    assert len(store.table()) == 0
    assert store.check() == ()
    assert store.revision() == 0
    with pytest.raises(DataError, match="No run matches"):
        store.runs(where=["tau=0.2"])


def test_imported_runs_come_back_as_they_were(store, few_runs):
    given_runs = conform(few_runs())
    result = store.add_runs(given_runs)
    assert result.added == ("r0", "r1", "r2")
    assert result.unchanged == ()
    assert digests(store.runs()) == digests(given_runs)
    assert store.check() == ()
    table = store.table().set_index("run_id")
    assert table.loc["r1", "n_records"] == 5
    assert table.loc["r1", "last_step"] == 40
    assert table.loc["r1", "final_train_loss"] == 1.2
    assert table.loc["r1", "note"] == "é"


def test_wall_time_stays_in_seconds(store):
    seconds = [1.7e9, 1.7e9 + 0.25]
    given = make_runs(
        {"run_id": ["a"]},
        {"step": [1, 2], "train_loss": [2.0, 1.0], "wall_time": seconds},
        row_size=[2],
    )
    store.add_runs(given)
    assert store.runs()["wall_time"].to_numpy().tolist() == seconds


def test_adding_the_same_runs_again_adds_nothing(store, few_runs):
    store.add_runs(few_runs())
    revision = store.revision()
    again = store.add_runs(take_runs(few_runs(), [2, 0]))
    assert again.added == ()
    assert set(again.unchanged) == {"r0", "r2"}
    assert store.revision() == revision
    assert store.add_runs(few_runs(4)).added == ("r3",)


def test_where_a_curve_came_from_does_not_make_it_another(store, few_runs):
    store.add_runs(few_runs(source=["a"] * 3, source_sha256=["1"] * 3))
    assert store.add_runs(few_runs(source=["b"] * 3, source_sha256=["2"] * 3)).added == ()


def test_other_content_under_a_known_name_changes_nothing(store, few_runs):
    store.add_runs(few_runs())
    changed = few_runs(4)
    changed["train_loss"][6] += 1e-12
    before = store.revision()
    with pytest.raises(DataError, match=r"Run 'r1' is in the store already, with other records"):
        store.add_runs(changed)
    assert store.revision() == before
    assert run_names(store.runs()) == ["r0", "r1", "r2"]


@pytest.mark.parametrize("family", ["a\u0000b", "line\nbreak", 3])
def test_a_family_is_printable_text(store, family):
    for begin in (store.start_run, store.plan_run):
        with pytest.raises(ArgumentError, match="family must be printable text"):
            begin("a", family=family)
    assert len(store.table()) == 0


def test_bad_runs_change_nothing(store, few_runs):
    bad = few_runs()
    bad["train_loss"][:5] = np.nan
    with pytest.raises(DataError, match="no finite loss"):
        store.add_runs(bad)
    assert store.revision() == 0
    assert store.check() == ()


def test_family_can_be_given(store, few_runs):
    store.add_runs(few_runs(), family="mine")
    assert set(store.runs()["family"].to_numpy()) == {"mine"}


@settings(
    max_examples=15,
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ),  # each example makes a store: no shrinking
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_ragged_runs_round_trip(new_address, data):
    count = data.draw(st.integers(1, 4))
    numbers = st.floats(allow_nan=True, allow_infinity=False, width=64)
    parts = []
    for i in range(count):
        steps = sorted(data.draw(st.sets(st.integers(0, 2**50), min_size=1, max_size=8)))
        loss = data.draw(st.lists(numbers, min_size=len(steps), max_size=len(steps)))
        loss[0] = 1.5  # every run needs a finite loss
        name = data.draw(st.sampled_from(["eval_loss", "train_loss"]))
        own = data.draw(st.sampled_from([{}, {"own": 3.5}, {"label": "ä b"}]))
        coords = {"run_id": [f"run {i}"], **{k: [v] for k, v in own.items()}}
        ds = xr.Dataset(
            {"step": ("obs", steps), name: ("obs", loss), "row_size": ("run", [len(steps)])},
            coords={k: ("run", v) for k, v in coords.items()},
        )
        parts.append(conform(ds))
    runs = concat_runs(parts)
    opened = open_store(new_address(uuid.uuid4().hex), create=True)
    opened.add_runs(runs)
    assert digests(opened.runs()) == digests(runs)
    assert opened.check() == ()
    opened.close()


def test_filters_read_only_what_they_ask_for(store, few_runs):
    store.add_runs(few_runs(6))
    writer = store.start_run("live", family="f", attributes={"model_size": 2e6, "width": 8})
    writer.append(step=[0, 1], train_loss=[2.0, 1.0])
    assert set(run_names(store.runs(where=["model_size=2e6"]))) == {"r1", "live"}
    assert run_names(store.runs(status="running")) == ["live"]
    assert run_names(store.runs(where=["model_size<=2e6"], status=["done"])) == ["r0", "r1"]
    assert run_names(store.runs(where=["width=8"])) == ["live"]
    assert store.runs(status="failed").sizes["run"] == 0
    with pytest.raises(DataError, match="No run matches"):
        store.runs(where=["model_size>1e9"])
    with pytest.raises(ArgumentError, match="Unknown run coordinate 'model_siz'"):
        store.runs(where=["model_siz=1"])
    with pytest.raises(ArgumentError, match="status 'gone' is unknown"):
        store.runs(status="gone")


def test_slices_give_the_same_records_as_reading_all(store, few_runs, monkeypatch):
    monkeypatch.setattr(generation, "CHUNK", 16)
    monkeypatch.setattr(generation, "SHARD", 64)
    runs = few_runs(40, records=23, tau=np.tile([0.1, 0.2], 20), total_steps=np.full(40, 230.0))
    store.add_runs(runs)
    whole = store.runs()
    for where in (["tau=0.1"], ["model_size=7e6"], ["model_size=3e6,2e7"]):
        chosen = store.runs(where=where)
        keep = np.isin(run_names(whole), run_names(chosen))
        assert 0 < keep.sum() < 40
        xr.testing.assert_identical(without_attrs(chosen), without_attrs(take_runs(whole, keep)))


def test_a_name_used_for_a_setting_and_for_a_column_keeps_both(store, few_runs):
    store.add_runs(few_runs(1, spin=[4.0]))
    writer = store.start_run("live", family="f", attributes={"spin": 5})
    writer.append(step=0, train_loss=1.0, spin=0.5)
    writer.finish()
    for _ in range(2):
        runs = store.runs()
        assert dict(zip(run_names(runs), runs["run_spin"].to_numpy(), strict=True)) == {
            "r0": 4.0,
            "live": 5.0,
        }
        assert runs["spin"].to_numpy()[-1] == 0.5
        assert store.check() == ()
        store.consolidate()
    assert store.add_runs(few_runs(1, spin=[4.0])).unchanged == ("r0",)


def test_a_number_here_and_a_text_there_is_text_and_stays_sound(store, few_runs):
    store.add_runs(few_runs(2, own=[2.5, np.nan]))
    writer = store.start_run("live", family="f", attributes={"own": "c4"})
    writer.append(step=0, train_loss=1.0)
    writer.finish()
    for _ in range(2):
        runs = store.runs()
        own = dict(zip(run_names(runs), runs["own"].to_numpy(), strict=True))
        assert own == {"r0": "2.5", "r1": "", "live": "c4"}
        assert store.check() == ()
        store.consolidate()
    assert len(store.add_runs(few_runs(2, own=[2.5, np.nan])).unchanged) == 2


def test_consolidating_moves_ended_runs_and_changes_no_value(store):
    for name, status in (("a", "done"), ("b", "failed"), ("c", None)):
        writer = store.start_run(name, family="f", attributes={"total_steps": 3})
        writer.append(step=[0, 1, 2], train_loss=[3.0, 2.0, 1.0])
        if status:
            writer.finish(status)
    before = store.runs()
    assert store.consolidate() == 2
    after = store.runs()
    assert digests(before) == digests(after)
    assert store.consolidate() == 0
    assert store.check() == ()


def test_a_run_without_a_finite_loss_waits_and_harms_no_other(store):
    lost = store.start_run("lost", family="f")
    lost.append(step=0, train_loss=float("nan"), grad_norm=1.0)
    lost.finish("failed")
    good = store.start_run("good", family="f")
    good.append(step=0, train_loss=1.0)
    good.finish()
    assert run_names(store.runs()) == ["good"]
    assert store.consolidate() == 1
    assert store.check() == ()
    assert store.table().set_index("run_id").loc["lost", "n_records"] == 1


def test_old_generations_are_removed_but_the_last(folder_store, few_runs):
    store = folder_store
    for i in range(4):
        store.add_runs(few_runs(1, prefix=f"p{i}-"))
    folders = sorted(path.name for path in store.root.glob("curves-*"))
    assert folders == ["curves-3.zarr", "curves-4.zarr"]
    assert (store.root / "CURRENT").read_text() == "curves-4.zarr\n"


@pytest.mark.parametrize("where", ["publish", "announce", "value_of"])
def test_a_publication_cut_short_is_all_or_nothing(folder_store, few_runs, monkeypatch, where):
    store = folder_store
    store.add_runs(few_runs(2))

    def cut(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publish if where == "value_of" else store._curves, where, cut)
        with pytest.raises(KeyboardInterrupt):
            store.add_runs(few_runs(3))
    assert store.runs().sizes["run"] == (3 if where == "announce" else 2)
    assert store.check() == ()
    assert set(store.add_runs(few_runs(4)).added) == {"r2", "r3"} - set(
        ["r2"] if where == "announce" else []
    )
    assert store.check() == ()
    assert not list(store.root.glob("*.partial"))


def test_publishing_builds_again_when_another_came_first(store, few_runs, monkeypatch):
    write, between = store._curves.write, [few_runs(1, prefix="other")]

    def overtaken(runs, number):
        aside = write(runs, number)
        if between:
            open_store(store.address).add_runs(between.pop())
        return aside

    monkeypatch.setattr(store._curves, "write", overtaken)
    assert len(store.add_runs(few_runs(2)).added) == 2
    assert set(run_names(store.runs())) == {"r0", "r1", "other0"}
    assert store.check() == ()


@pytest.mark.parametrize("ended_again", [False, True])
def test_a_run_resumed_during_consolidation_loses_nothing(store, monkeypatch, ended_again):
    first = store.start_run("a", family="f")
    first.append(step=[0, 1], train_loss=[3.0, 2.0])
    first.finish("failed")
    write, resumed = store._curves.write, []

    def resume(runs, number):
        aside = write(runs, number)
        if not resumed:
            resumed.append(open_store(store.address).start_run("a", family="f"))
            resumed[0].append(step=[1, 2], train_loss=[2.5, 1.0])
            if ended_again:
                resumed[0].finish("failed")
        return aside

    monkeypatch.setattr(store._curves, "write", resume)
    assert store.consolidate() == int(ended_again)
    assert store.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.5, 1.0]
    assert store.check() == ()


def test_a_reader_overtaken_twice_reads_again(store, few_runs, monkeypatch):
    store.add_runs(few_runs(1))
    read, pending = generation.load_runs, [1, 2]

    def slow(runs, positions):
        while pending:
            other = open_store(store.address)
            other.add_runs(few_runs(1, prefix=f"new{pending.pop()}-"))
        return read(runs, positions)

    monkeypatch.setattr("workbench.store.chosen.load_runs", slow)
    expected = 1 if store._curves.loud else 3  # what is removed cannot be misread: no need to
    assert store.runs().sizes["run"] == expected


def test_planned_runs_are_listed_and_not_read(store):
    store.plan_run("p", family="f", attributes={"tau": 0.2})
    store.plan_run("p", family="f", attributes={"tau": 0.3, "total_steps": 10})
    assert store.table().loc[0, ["status", "tau", "n_records"]].tolist() == ["planned", 0.3, 0]
    assert store.runs().sizes["run"] == 0
    writer = store.start_run("p", family="f")
    assert writer.attempt == 1
    with pytest.raises(DataError, match="'running' and cannot be planned"):
        store.plan_run("p", family="f")


def age(sql, store, run_id, seconds):
    sql(store, f"update runs set heartbeat = heartbeat - {seconds} where run_id = '{run_id}'")


def test_a_running_run_not_heard_of_shows_as_lost_and_nothing_is_changed(store, sql):
    names = ("young", "old", "ended")
    writers = {name: store.start_run(name, family="f") for name in names}
    writers["ended"].finish("failed")
    store.plan_run("planned", family="f")
    for name in names:
        age(sql, store, name, LEASE_SECONDS - 10)
    assert store.table()["lost"].tolist() == [False] * 4
    assert store.lost() == frozenset()
    age(sql, store, "old", 20)
    age(sql, store, "ended", 1e6)
    before = store.revision()
    table = store.table().set_index("run_id")
    assert table["lost"].to_dict() == {
        "young": False,
        "old": True,
        "ended": False,
        "planned": False,
    }
    assert table.loc["old", "status"] == "running"
    assert store.lost() == {"old"}
    assert store.revision() == before
    assert store.check() == ()
    writers["old"].heartbeat()  # it was only slow
    assert not store.table()["lost"].any()
    assert store.lost() == frozenset()


def test_a_lost_run_can_be_taken_over(store, sql):
    first = store.start_run("a", family="f")
    first.append(step=[0, 1], train_loss=[3.0, 2.0])
    age(sql, store, "a", 2 * LEASE_SECONDS)
    second = store.start_run("a", family="f")
    assert not store.table()["lost"].any()
    with pytest.raises(DataError, match="may not write any more"):
        first.append(step=2, train_loss=9.0)
    second.append(step=2, train_loss=1.0)
    assert store.runs()["train_loss"].to_numpy().tolist() == [3.0, 2.0, 1.0]


def test_the_table_has_the_derived_settings_of_running_runs(store):
    attributes = {"peak_lr": 0.01, "weight_decay": 0.1, "total_steps": 5000, "batch_size": 64}
    store.start_run("a", family="f", attributes=attributes)
    row = store.table().iloc[0]
    assert row["tau"] == pytest.approx(0.2)
    assert row["tokens_total"] == 320_000


def test_every_change_raises_the_revision_and_polling_is_cheap(store, few_runs):
    seen = [store.revision()]
    store.plan_run("a", family="f")
    seen.append(store.revision())
    writer = store.start_run("a", family="f")
    seen.append(store.revision())
    writer.append(step=0, train_loss=1.0)
    seen.append(store.revision())
    writer.finish()
    seen.append(store.revision())
    store.consolidate()
    seen.append(store.revision())
    store.add_runs(few_runs())
    seen.append(store.revision())
    assert seen == sorted(set(seen))
    times = []
    for _ in range(50):
        start = time.perf_counter()
        store.revision()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005


def test_a_store_of_a_newer_version_is_not_touched(store, few_runs, sql):
    store.add_runs(few_runs())
    sql(store, "update meta set value = 99 where key = 'schema_version'")
    before = sql(store, "select key, value from meta order by key")
    for create in (False, True):
        with pytest.raises(DataError, match=r"version 99, newer than the 3 .* Nothing was changed"):
            open_store(store.address, create=create)
    assert sql(store, "select key, value from meta order by key") == before


def test_a_file_that_is_no_registry_is_refused(tmp_path):
    (tmp_path / "registry.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(DataError, match="registry"):
        open_store(tmp_path)


def test_the_same_records_with_more_coordinates_update_the_run(store, few_runs):
    bare = few_runs()
    store.add_runs(bare)
    stated = few_runs(peak_lr=[0.1, np.nan, 0.3], remark=["a", "", "c"])
    result = store.add_runs(stated)
    assert result.added == ()
    assert set(result.restated) == {"r0", "r2"}
    assert result.unchanged == ("r1",)
    runs = store.runs()
    assert runs["peak_lr"].sel(run=runs.run_id == "r0").item() == 0.1
    assert runs["remark"].to_numpy().tolist() == ["a", "", "c"]
    assert store.table().set_index("run_id")["peak_lr"]["r2"] == 0.3
    # Importing the first version again takes nothing back.
    before = store.revision()
    assert set(store.add_runs(bare).unchanged) == {"r0", "r1", "r2"}
    assert store.revision() == before
    assert store.check() == ()


def test_an_unknown_plan_can_be_stated_later(tmp_path, store):
    from workbench.io import import_sources

    log = tmp_path / "run.csv"
    log.write_text("step,lr,loss\n" + "".join(f"{k},0.1,{3 - k / 100}\n" for k in range(1, 20)))
    import_sources(store, [log])
    report = import_sources(store, [log], settings={"total_steps": "20"})
    assert "coordinates updated" in report.notes[-1]
    assert store.runs()["total_steps"].item() == 20
