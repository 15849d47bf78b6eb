"""Runs on Dask arrays give the curves and the cube of runs in memory, block by block."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from workbench.curves import normalize_by, on_progress, smooth, to_cube
from workbench.errors import ArgumentError, DataError
from workbench.schema import record_names, row_bounds, take_runs

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")


def chunked(runs, records):
    return runs.assign({name: runs[name].chunk(obs=records) for name in record_names(runs)})


class Counter:
    """A column that counts how often, and how much of it at once, it was read."""

    ndim = 1

    def __init__(self, values):
        self.values, self.reads = values, []
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, index):
        out = self.values[index]
        self.reads.append(len(out))
        return out


def counted(runs, records):
    counters = {name: Counter(runs[name].to_numpy()) for name in record_names(runs)}
    options = {"chunks": records, "asarray": False, "name": False}
    arrays = {
        name: ("obs", da.from_array(counter, meta=counter.values[:0], **options))
        for name, counter in counters.items()
    }
    return runs.assign(arrays), counters


@pytest.mark.parametrize("records", [1, 7, 200, 450, 10_000])
@pytest.mark.parametrize("method", ["linear", "mean"])
def test_curves_are_those_of_runs_in_memory(make_family, records, method):
    runs = make_family(noise=0.1)
    lazy = on_progress(chunked(runs, records), method=method)
    assert lazy.chunks is not None
    xr.testing.assert_identical(
        lazy.load().drop_attrs(), on_progress(runs, method=method).drop_attrs()
    )


def test_tokens_and_steps_may_alternate_between_runs(make_family):
    runs = make_family(sizes=(1e6, 2e6), seeds=(0,), records=100)
    tokens = np.r_[np.linspace(0.5, 1, 100) * float(runs.tokens_total[0]), np.full(100, np.nan)]
    runs = runs.assign(tokens=("obs", tokens))
    xr.testing.assert_equal(on_progress(chunked(runs, 33)).load(), on_progress(runs))


def test_nothing_is_read_before_it_is_asked_for(make_family):
    lazy, counters = counted(make_family(), 400)
    cube = to_cube(lazy)
    curves = smooth(on_progress(lazy), width=0.05)
    assert not any(counter.reads for counter in counters.values())
    curves.load()
    cube.load()
    assert set(counters["step"].reads) == {400}


def test_the_cube_is_that_of_runs_in_memory(make_family):
    runs = take_runs(make_family(), np.arange(11))
    lazy = to_cube(chunked(runs, 300), points=64)
    assert lazy["loss"].chunks is not None
    xr.testing.assert_equal(lazy.load(), to_cube(runs, points=64))


def test_blocks_end_where_runs_end_and_hold_whole_runs(make_family):
    curves = on_progress(chunked(make_family(), 450))
    assert curves.data.numblocks[1] == 1
    assert sum(curves.data.chunks[0]) == 12
    assert max(curves.data.chunks[0]) <= 3


def test_of_two_losses_one_must_be_named(make_family):
    runs = make_family().assign(train_loss=lambda ds: ds["eval_loss"])
    with pytest.raises(ArgumentError, match="Say which with loss="):
        on_progress(chunked(runs, 400))
    assert on_progress(chunked(runs, 400), loss="eval_loss").name == "eval_loss"
    with pytest.raises(ArgumentError, match="loss must be one of"):
        on_progress(chunked(runs, 400), loss="accuracy")


def test_a_block_checks_its_runs_when_it_is_computed(make_family):
    runs = make_family(sizes=(1e6, 2e6), seeds=(0,), records=50)
    runs["eval_loss"][50:] = np.nan
    lazy = on_progress(chunked(runs, 50))
    with pytest.raises(DataError, match=r"first 'N2e\+06-s0'"):
        lazy.compute(scheduler="sync")
    runs = make_family(sizes=(1e6, 2e6), seeds=(0,), records=50)
    blank = runs.assign_coords(
        total_steps=("run", [np.nan] * 2), tokens_total=("run", [np.nan] * 2)
    )
    with pytest.raises(DataError, match="planned length"):
        on_progress(chunked(blank, 50)).compute(scheduler="sync")


def test_taking_runs_stays_lazy_and_exact(make_family):
    runs = make_family()
    lazy, counters = counted(runs, 400)
    taken = take_runs(lazy, [7, 2, 3])
    assert not any(counter.reads for counter in counters.values())
    xr.testing.assert_equal(taken.load(), take_runs(runs, [7, 2, 3]))
    assert row_bounds(taken).tolist() == [0, 200, 400, 600]


def test_smoothing_and_normalising_keep_dask(make_family):
    runs = make_family()
    lazy, eager = on_progress(chunked(runs, 400)), on_progress(runs)
    np.testing.assert_allclose(smooth(lazy, width=0.05), smooth(eager, width=0.05))
    np.testing.assert_allclose(normalize_by(lazy, offset=1.0), normalize_by(eager, offset=1.0))
