"""Runs in chunks, and exports: the same records as in memory, a block of runs at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from workbench.curves import on_progress, to_cube
from workbench.errors import ArgumentError, DataError
from workbench.io import read
from workbench.schema import conform, run_names, take_runs
from workbench.store import export, generation, open_store
from workbench.store.digest import digests
from workbench.store.folder import FolderTier
from workbench.tree import open as open_tree

distributed = pytest.importorskip("distributed")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(generation, "CHUNK", 16)
    monkeypatch.setattr(generation, "SHARD", 64)


@pytest.fixture
def sweep(store, few_runs, small_chunks):
    return filled(store, few_runs)


@pytest.fixture
def folder_sweep(folder_store, few_runs, small_chunks):
    return filled(folder_store, few_runs)


def filled(store, few_runs):
    """Return the store with 40 consolidated runs of 23 records and a growing one."""
    runs = few_runs(
        40,
        records=23,
        tau=np.tile([0.1, 0.2], 20),
        tpp=np.full(40, 20.0),
        total_steps=np.full(40, 230.0),
    )
    store.add_runs(runs)
    attributes = {"total_steps": 4, "model_size": 1e9, "tau": 0.1, "tpp": 20}
    writer = store.start_run("live", family="f", attributes=attributes)
    writer.append(step=[0, 1, 2], train_loss=[3.0, 2.0, 1.0], grad_norm=[1.0, np.nan, 2.0])
    return store


@pytest.mark.parametrize("chunks", ["auto", 1, 50, 10**6])
@pytest.mark.parametrize("where", [[], ["tau=0.1"], ["model_size=7e6"], ["model_size=3e6,2e7"]])
def test_runs_in_chunks_hold_the_same_records(sweep, chunks, where):
    lazy, eager = sweep.runs(where=where, chunks=chunks), sweep.runs(where=where)
    assert lazy["step"].chunks is not None
    assert {n: lazy[n].dtype for n in lazy} == {n: eager[n].dtype for n in eager}
    xr.testing.assert_identical(lazy.load().drop_attrs(), eager.drop_attrs())


def test_chunks_end_where_runs_end(sweep):
    lazy = sweep.runs(where=["run_id!=live"], chunks=50)
    sizes = np.array(lazy["train_loss"].chunks[0])
    assert (sizes % 23 == 0).all()
    assert 46 <= sizes.max() <= 69


def test_no_runs_in_chunks_are_no_runs(sweep):
    assert sweep.runs(status="failed", chunks="auto").sizes == {"run": 0, "obs": 0}


@pytest.mark.parametrize("chunks", [0, -1, 1.5, "many"])
def test_chunks_that_cannot_be_are_refused(sweep, chunks):
    with pytest.raises(ArgumentError, match="chunks must be 'auto' or a number of records"):
        sweep.runs(chunks=chunks)


def test_opening_in_chunks_reads_no_record(sweep, monkeypatch):
    monkeypatch.setattr(generation, "_gather", lambda *_: pytest.fail("records were read"))
    where = ["run_id!=live"]
    assert to_cube(sweep.runs(where=where, chunks="auto"), points=16)["loss"].chunks is not None
    with pytest.raises(pytest.fail.Exception):
        sweep.runs(where=where)


def test_curves_in_chunks_are_those_in_memory(sweep):
    lazy, eager = sweep.runs(chunks=100), sweep.runs()
    xr.testing.assert_equal(on_progress(lazy).compute(scheduler="threads"), on_progress(eager))


def test_a_cluster_of_two_processes_computes_the_cube(sweep, tmp_path):
    eager = to_cube(sweep.runs(), points=32)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(
            **options, dashboard_address="127.0.0.1:0", local_directory=str(tmp_path / "dask")
        ) as cluster,
        distributed.Client(cluster),
    ):
        cube = to_cube(sweep.runs(chunks=100), points=32).compute()
    xr.testing.assert_equal(cube, eager)


def test_curves_that_were_removed_are_not_read_as_fill_values(folder_sweep, few_runs):
    sweep = folder_sweep
    lazy = sweep.runs(where=["run_id!=live"], chunks=100)
    sweep.add_runs(few_runs(1, prefix="a"))
    assert bool(np.isfinite(lazy["train_loss"]).all().compute(scheduler="sync"))
    sweep.add_runs(few_runs(1, prefix="b"))
    with pytest.raises(DataError, match="Open the store again"):
        lazy["train_loss"].compute(scheduler="sync")


def test_a_chunk_damaged_on_disk_is_an_error_in_chunks_too(folder_sweep):
    lazy = folder_sweep.runs(where=["run_id!=live"], chunks=100)
    shard = next((folder_sweep.root / "curves-1.zarr" / "train_loss" / "c").iterdir())
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match="missing or damaged"):
        lazy["train_loss"].compute(scheduler="sync")


def test_the_tree_opens_in_chunks(sweep):
    tree = open_tree(sweep.address, chunks="auto")
    assert tree["runs"]["step"].chunks is not None
    assert tree["cube"]["loss"].chunks is not None
    xr.testing.assert_equal(tree["cube"].to_dataset().load(), to_cube(sweep.runs()))


def test_the_tree_in_chunks_takes_the_loss_every_run_has(store, few_runs, tmp_path):
    runs = few_runs(2, total_steps=[40.0, 40.0])
    store.add_runs(runs.assign(eval_loss=("obs", [1.0] * 5 + [np.nan] * 5)))
    assert open_tree(store.address, chunks="auto")["cube"]["loss"].attrs["loss"] == "train_loss"
    other = open_store(tmp_path / "other", create=True)
    other.add_runs(runs.assign(eval_loss=("obs", [1.0] * 10)))
    assert open_tree(other.address, chunks="auto")["cube"]["loss"].attrs["loss"] == "eval_loss"
    other.close()


def test_float32_records_stay_float32_and_are_the_same_run(store, few_runs):
    runs = few_runs()
    short = runs.assign(train_loss=runs["train_loss"].astype("f4"))
    store.add_runs(short)
    assert store.runs()["train_loss"].dtype == np.float32
    wide = short.assign(train_loss=short["train_loss"].astype("f8"))
    assert store.add_runs(wide).unchanged == ("r0", "r1", "r2")
    assert store.check() == ()


def test_a_generation_of_many_blocks_keeps_every_record_and_attribute(folder_sweep):
    sweep = folder_sweep
    held = FolderTier(sweep.root).open(1)
    assert held["train_loss"].attrs["units"] == "nats/token"
    assert held["train_loss"].encoding["shards"] == (64,)
    names = run_names(held)
    assert digests(take_runs(held.load(), np.argsort(names)))["r0"] == digests(sweep.runs())["r0"]


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".csv"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_exports_in_blocks_come_back_identical(
    sweep, few_runs, tmp_path, monkeypatch, suffix, kind
):
    monkeypatch.setattr(export, "BLOCK", 60)
    monkeypatch.setattr(export, "_WIDE", 64)
    monkeypatch.setattr(export, "_CHUNK", 16)
    runs = few_runs(3, records=37, prefix="k")
    sweep.add_runs(runs.assign(train_loss=(runs["train_loss"] / 3).astype(kind)))
    target = tmp_path / ("out" if suffix == ".csv" else f"out{suffix}")
    written = sweep.export(target)
    assert (written.runs, written.records) == (44, 40 * 23 + 3 * 37 + 3)
    assert digests(read(target).runs) == digests(sweep.runs())
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")] == []


def test_parquet_in_row_groups_has_every_record(sweep, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(export, "BLOCK", 60)
    target = tmp_path / "out.parquet"
    sweep.export(target, where=["tau=0.1"])
    assert parquet.ParquetFile(target).num_row_groups > 3
    table, runs = pd.read_parquet(target), sweep.runs(where=["tau=0.1"])
    assert len(table) == runs.sizes["obs"]
    np.testing.assert_array_equal(table["train_loss"], runs["train_loss"])
    np.testing.assert_array_equal(table["grad_norm"].astype(float), runs["grad_norm"])
    np.testing.assert_array_equal(
        table["run_id"], np.repeat(runs["run_id"].to_numpy(), runs["row_size"].to_numpy())
    )


def test_an_export_reads_a_block_at_a_time(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_WIDE", 50)
    read_records, sizes = generation.read_records, []

    def noted(runs, positions, name):
        out = read_records(runs, positions, name)
        sizes.append(len(out))
        return out

    monkeypatch.setattr(generation, "read_records", noted)
    sweep.export(tmp_path / "out.nc", where=["run_id!=live"])
    assert max(sizes) <= 69


def test_an_export_overtaken_twice_is_written_again(sweep, few_runs, tmp_path, monkeypatch):
    pending = ["a", "b"]
    write = export._write_netcdf

    def slow(chosen, path):
        write(chosen, path)
        while pending:
            other = open_store(sweep.address)
            other.add_runs(few_runs(1, prefix=pending.pop()))
            other.close()

    monkeypatch.setattr(export, "_write_netcdf", slow)
    expected = 41 if sweep._curves.loud else 43  # what is removed cannot be misread: no need to
    assert sweep.export(tmp_path / "out.nc").runs == expected
    found = conform(xr.load_dataset(tmp_path / "out.nc", engine="netcdf4"))
    assert found.sizes["run"] == expected
