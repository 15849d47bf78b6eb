"""The Data page: what it takes, what it gives, and what it refuses."""

from __future__ import annotations

import zipfile
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from workbench.errors import ArgumentError, DataError
from workbench.store import open_store
from workbench.views import DataPage
from workbench.views.data_model import EXPORTS, MAX_UPLOAD, DataModel, as_shown

# What Bokeh does with pandas is not ours to fail on.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The inplace keyword in DataFrame.reset_index:DeprecationWarning"
)
LOG = "step,train_loss,tokens\n" + "".join(f"{i},{4 - i / 50:.3f},{i * 64}\n" for i in range(1, 41))


@pytest.fixture
def store(tmp_path, make_family):
    opened = open_store(tmp_path / "store", create=True)
    opened.add_runs(make_family(), family="mine")
    yield opened
    opened.close()


@pytest.fixture
def empty(tmp_path):
    opened = open_store(tmp_path / "empty", create=True)
    yield opened
    opened.close()


def test_table_is_the_stores_under_the_conditions(store):
    model = DataModel(store)
    assert len(model.table()) == len(store.table())
    model.where = "model_size>=2e6; seed=0"
    expected = store.table().query("model_size >= 2e6 and seed == 0")
    pd.testing.assert_frame_equal(model.table(), expected)


@pytest.mark.parametrize("where", ["nonsense", "no_such_thing=1"])
def test_a_wrong_filter_is_said_and_the_table_stays(store, where):
    page = DataPage(store)
    before = page.table.value
    page.model.where = where
    assert where.split("=")[0] in page.count.html
    assert page.table.value is before
    assert page.download.disabled
    page.model.where = ""
    assert not page.download.disabled
    assert "runs" in page.count.html


def test_a_sent_log_is_in_the_store_with_its_settings(empty):
    page = DataPage(empty)
    page.model.param.update(settings="total_steps=last; tpp=20", family="sent")
    page.files.param.update(filename=["loss.csv"], value=[LOG.encode()])
    assert "1 run, 40 records" in page.report.html
    (row,) = empty.table().to_dict("records")
    assert (row["family"], row["n_records"], row["tpp"]) == ("sent", 40, 20)
    assert "1 done" in page.health.html


@pytest.mark.parametrize(
    ("name", "kept"), [("../../evil.csv", "evil"), ("C:\\x\\log.csv", "log"), ("a b.csv", "a")]
)
def test_only_the_last_part_of_a_sent_name_counts(empty, tmp_path, name, kept):
    before = sorted(tmp_path.rglob("*.csv"))
    model = DataModel(empty)
    model.settings = "total_steps=last"
    model.import_files({name: LOG.encode()})
    assert sorted(tmp_path.rglob("*.csv")) == before
    assert kept in empty.table()["run_id"].iloc[0]


@pytest.mark.parametrize("name", ["..", "", "x/.."])
def test_a_name_that_is_none_is_refused(empty, name):
    with pytest.raises(DataError, match="Rename it"):
        DataModel(empty).import_files({name: LOG.encode()})


def test_a_failed_import_is_one_card_and_changes_nothing(store):
    page = DataPage(store)
    revision = store.revision()
    page.files.param.update(filename=["noise.bin"], value=[bytes(range(256))])
    assert "Nothing was imported" in page.report.html
    assert store.revision() == revision


def test_too_much_is_refused(empty):
    class Large(bytes):
        def __len__(self) -> int:
            return MAX_UPLOAD + 1

    with pytest.raises(ArgumentError, match="at most 200 MiB"):
        DataModel(empty).import_files({"a.csv": Large()})


def test_paths_and_imports_are_off_where_others_can_reach_the_page(empty, tmp_path):
    (tmp_path / "loss.csv").write_text(LOG)
    open_to_all = DataModel(empty, writable=False)
    for refused in (
        lambda: open_to_all.import_files({"loss.csv": LOG.encode()}),
        lambda: open_to_all.import_path(str(tmp_path / "loss.csv")),
        lambda: DataModel(empty, paths=False).import_path(str(tmp_path / "loss.csv")),
    ):
        with pytest.raises(ArgumentError, match="others can"):
            refused()
    assert len(empty.table()) == 0
    page = DataPage(empty, writable=False)
    assert page.files not in list(page.controls.select())
    own = DataModel(empty)
    own.settings = "total_steps=last"
    own.import_path(str(tmp_path / "loss.csv"))
    assert len(empty.table()) == 1


@pytest.mark.parametrize("kind", EXPORTS)
def test_export_holds_every_record_of_what_is_shown(store, tmp_path, kind):
    model = DataModel(store)
    model.where = "seed=0"
    content = model.export(kind)
    shown = model.table()
    if kind == "NetCDF":
        (tmp_path / "c.nc").write_bytes(content.read())
        with xr.open_dataset(tmp_path / "c.nc") as found:
            assert found.sizes["obs"] == shown["n_records"].sum()
            assert set(found["run_id"].to_numpy().astype(str)) == set(shown["run_id"])
    elif kind == "Parquet":
        assert len(pd.read_parquet(content)) == shown["n_records"].sum()
    else:
        with zipfile.ZipFile(BytesIO(content.read())) as archive:
            curves = next(name for name in archive.namelist() if name.endswith("curves.csv"))
            rows = pd.read_csv(archive.open(curves))
        assert len(rows) == shown["n_records"].sum()


def test_export_of_nothing_is_an_error(store):
    model = DataModel(store)
    model.where = "seed=99"
    with pytest.raises(DataError):
        model.export("NetCDF")
    with pytest.raises(ArgumentError, match="kind"):
        model.export("pickle")


def test_an_export_that_fails_is_said_on_the_page(store):
    page = DataPage(store)
    page.model.param.update(where="seed=99")
    with pytest.raises(DataError):
        page.download.callback()
    assert "Nothing was exported" in page.report.html


def test_health_counts_and_a_damaged_store_says_its_problem(store):
    page = DataPage(store)
    health = page.model.health()
    assert health.statuses == {"done": len(store.table())}
    assert health.records == store.table()["n_records"].sum()
    assert health.bytes_on_disk > 0
    page._check()
    assert "No problem found" in page.report.html
    chunk = max(
        (p for p in store.root.rglob("*") if p.is_file() and "/c/" in p.as_posix()),
        key=lambda p: p.stat().st_size,
    )
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(bytes(data))
    page._check()
    assert "problem" in page.report.html
    assert "No problem" not in page.report.html


def test_shown_table_leads_with_what_one_looks_for(store):
    shown = as_shown(store.table())
    assert list(shown.columns[:5]) == ["run_id", "family", "status", "model_size", "tau"]
    assert "lost" not in shown
    assert np.issubdtype(shown["last_step"].dtype.numpy_dtype, np.integer)
