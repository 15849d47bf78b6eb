from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.io import FORMATS, import_sources, read
from workbench.schema import make_runs, run_names
from workbench.store import open_store
from workbench.store.digest import digests

CURVE = "step,loss\n1,2.5\n2,1.25\n"


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "store", create=True)
    yield opened
    opened.close()


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text(CURVE)
    (folder / "deep" / "a.csv").write_text(CURVE.replace("2.5", "3.5"))
    (folder / "notes.txt").write_text("hello\n")
    (folder / ".hidden.csv").write_text(CURVE)
    return folder


@pytest.fixture
def runs():
    return make_runs(
        {"run_id": ["x", "y"], "model_size": [1.0, 2.0], "label": ["ü", ""], "total_steps": [4, 4]},
        {
            "step": [0, 1, 2, 0, 4],
            "eval_loss": [3, 2, 1.5, 2.5, np.nan],
            "train_loss": np.arange(5) / 3,
        },
        row_size=[3, 2],
    )


def test_a_folder_is_read_file_by_file(logs):
    result = read(logs, settings={"total_steps": "last"})
    assert run_names(result.runs) == ["a", "deep/a"]
    (skipped,) = result.report.skipped
    assert skipped["source"].endswith("notes.txt")
    assert skipped["reason"] == "no known format"


def test_run_names_can_be_prefixed_but_not_made_equal(logs):
    named = read(logs, settings={"run_id": "25M/{name}"})
    assert run_names(named.runs) == ["25M/a", "25M/deep/a"]
    assert run_names(read(logs / "a.csv", settings={"run_id": "one"}).runs) == ["one"]


def test_one_name_for_several_runs_is_refused(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("run_id,step,loss\na,1,2\nb,1,2\n")
    with pytest.raises(ArgumentError, match="would give 2 runs one name"):
        read(path, settings={"run_id": "one"})


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".parquet", ".csv", ""])
def test_exports_come_back_identical(store, runs, tmp_path, suffix):
    store.add_runs(runs, family="fam")
    target = tmp_path / f"out{suffix}"
    store.export(target)
    back = read(target)
    assert digests(back.runs) == digests(store.runs())
    assert store.add_runs(back.runs).added == ()
    with pytest.raises(ArgumentError, match="is there already"):
        store.export(target)


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".csv", ""])
def test_wall_times_stay_seconds(store, runs, tmp_path, suffix):
    seconds = 1.7e9 + np.arange(runs.sizes["obs"]) / 4
    store.add_runs(runs.assign(wall_time=("obs", seconds)))
    target = tmp_path / f"out{suffix}"
    store.export(target)
    for found in (store.runs(), read(target).runs):
        np.testing.assert_array_equal(found["wall_time"], seconds)


def test_another_store_can_be_imported(store, runs, tmp_path):
    other = open_store(tmp_path / "other", create=True)
    other.add_runs(runs)
    writer = other.start_run("live", family="f", attributes={"total_steps": 2})
    writer.append(step=[0, 1], train_loss=[2.0, 1.0])
    writer.finish()
    report = import_sources(store, [other.root])
    assert {row["format"] for row in report.imported} == {"store"}
    assert digests(store.runs()) == digests(other.runs())
    assert import_sources(store, [other.root]).imported == ()


def test_parquet_holds_every_record(store, runs, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    store.add_runs(runs)
    store.export(tmp_path / "out.parquet", where=["run_id=x"])
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert table["run_id"].tolist() == ["x"] * 3
    assert table["eval_loss"].tolist() == [3, 2, 1.5]
    assert table["model_size"].tolist() == [1, 1, 1]


def test_bad_export_targets_leave_nothing_behind(store, runs, tmp_path):
    with pytest.raises(DataError, match="no runs"):
        store.export(tmp_path / "out.nc")
    store.add_runs(runs)
    with pytest.raises(ArgumentError, match=r"ends in '.xls'"):
        store.export(tmp_path / "out.xls")
    with pytest.raises(ArgumentError, match="a folder that does not exist"):
        store.export(tmp_path / "none" / "out.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_settings_override_and_are_checked(tmp_path, runs):
    path = tmp_path / "r.nc"
    runs.to_netcdf(path, engine="netcdf4")
    result = read(path, settings={"n_params": "5", "mine": "2.5", "why": "test"}, family="f")
    assert result.runs["model_size"].to_numpy().tolist() == [5, 5]
    assert result.runs["mine"].to_numpy().tolist() == [2.5, 2.5]
    assert set(result.runs["why"].to_numpy()) == {"test"}
    assert set(result.runs["family"].to_numpy()) == {"f"}
    assert {"label", "mine", "why"} <= set(result.report.unmapped)
    for setting, said in (
        ({"tau": "small"}, "'tau' is a number"),
        ({"total_steps": "nan"}, "Give a number, or 'last'"),
        ({"status": "over"}, "use one of planned"),
        ({"step": "3"}, "logged at every step"),
        ({"eval_loss": "3"}, "logged at every step"),
    ):
        with pytest.raises(ArgumentError, match=said):
            read(path, settings=setting)


def test_bad_sources_are_refused(tmp_path, runs):
    with pytest.raises(ArgumentError, match="does not exist"):
        read(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text(CURVE)
    with pytest.raises(ArgumentError, match=r"format 'xls' is unknown. Use auto or one of netcdf"):
        read(tmp_path / "a.csv", format="xls")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "readme.md").write_text("nothing")
    with pytest.raises(DataError, match="holds nothing that can be read"):
        read(empty)
    newer = runs.assign_attrs(schema="collapse-runs/2")
    newer.to_netcdf(tmp_path / "newer.nc", engine="netcdf4")
    with pytest.raises(DataError, match="newer than the 1"):
        read(tmp_path / "newer.nc")
    xr.Dataset({"t": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    with pytest.raises(DataError, match="not runs"):
        read(tmp_path / "other.nc")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
def test_a_cut_netcdf_is_refused_or_whole(tmp_path, runs, share):
    runs.to_netcdf(tmp_path / "r.nc", engine="netcdf4")
    content = (tmp_path / "r.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="damaged or cut"):
        read(tmp_path / "cut.nc")


def test_formats_are_told_by_content_not_by_name(tmp_path, runs):
    runs.to_netcdf(tmp_path / "curves.csv", engine="netcdf4")
    assert read(tmp_path / "curves.csv").report.imported[0]["format"] == "netcdf"
    assert set(FORMATS) >= {"netcdf", "store", "zarr", "tidy", "csv"}


def test_importing_twice_adds_nothing(store, logs):
    first = import_sources(store, [logs], settings={"total_steps": "last"})
    assert [row["run_id"] for row in first.imported] == ["a", "deep/a"]
    revision = store.revision()
    again = import_sources(store, [logs], settings={"total_steps": "last"})
    assert again.imported == ()
    assert "2 runs already in the store" in again.notes[-1]
    assert store.revision() == revision
    (logs / "b.csv").write_text(CURVE)
    third = import_sources(store, [logs], settings={"total_steps": "last"})
    assert [row["run_id"] for row in third.imported] == ["b"]
    assert store.check() == ()


def test_a_failed_import_changes_nothing(store, logs, tmp_path):
    (tmp_path / "bad.csv").write_text("step,loss\n1,nan\n")
    with pytest.raises(DataError, match="no finite loss"):
        import_sources(store, [logs, tmp_path / "bad.csv"])
    with pytest.raises(DataError, match="twice"):
        import_sources(store, [logs, logs])
    with pytest.raises(ArgumentError, match="no SOURCE"):
        import_sources(store, [])
    assert store.revision() == 0
    assert len(store.table()) == 0


def test_real_plain_csv_logs_match_the_curated_curves(shared_logs, shared_curves):
    ours = read(shared_logs / "mpl_csv" / "csv_25").runs
    theirs = shared_curves("mpl").set_xindex("run_id")
    names = [n for n in run_names(theirs) if n.startswith("25")]
    assert len(ours["run_id"]) == 9 == len(names)
    assert ours.sizes["obs"] == int(theirs["row_size"].sel(run_id=names).sum())


@pytest.mark.parametrize("name", ["qiu_c5m", "wsd_cosine", "algoperf", "megatron_blowups"])
def test_real_curves_go_through_a_store_unchanged(store, shared_curves, name):
    runs = shared_curves(name)
    store.add_runs(runs, family=name)
    stored = store.runs()
    assert stored.sizes == runs.sizes
    family = ("run", np.full(runs.sizes["run"], name))
    assert digests(stored) == digests(runs.assign_coords(family=family))
    assert store.check() == ()
