from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.curves import kernels, kernels_ragged
from workbench.curves.kernels_ragged import resample_ragged
from workbench.errors import DataError

values = st.one_of(
    st.floats(-1e3, 1e3), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300])
)


@st.composite
def ragged(draw):
    """Runs of 0 to 40 records; steps may repeat, leave gaps and end before or after the plan."""
    x, y, sizes, total = [], [], [], []
    for _ in range(draw(st.integers(1, 5))):
        size = draw(st.one_of(st.integers(0, 3), st.integers(4, 40)))
        gaps = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size))
        start = draw(st.integers(0, 50))
        x += list(start + np.cumsum(gaps, dtype=int)) if size else []
        y += draw(st.lists(values, min_size=size, max_size=size))
        sizes.append(size)
        total.append(draw(st.sampled_from([1.0, 7.0, 50.0, 97.0, 300.0])))
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return np.array(x, dtype=np.int64), np.array(y, dtype=float), bounds, np.array(total)


def both(x, y, bounds, total, *, method, grid, hold_from=0.97, rising=False):
    with np.errstate(all="ignore"):
        return [
            resample_ragged(
                x,
                y,
                bounds,
                total,
                grid,
                method=method,
                hold_from=hold_from,
                rising=rising,
                engine=engine,
            )
            for engine in ("loop", "compiled")
        ]


@pytest.mark.parametrize("method", ["linear", "mean"])
@given(
    data=ragged(),
    points=st.sampled_from([8, 13, 64]),
    hold_from=st.floats(0, 1.2),
    rising=st.booleans(),
)
def test_compiled_and_loop_give_the_same_bits(method, data, points, hold_from, rising):
    pytest.importorskip("numba")
    grid = kernels.progress_grid(points)
    loop, compiled = both(*data, method=method, grid=grid, hold_from=hold_from, rising=rising)
    np.testing.assert_array_equal(compiled, loop)
    assert np.array_equal(np.signbit(compiled), np.signbit(loop))


@pytest.mark.parametrize("method", ["linear", "mean"])
@pytest.mark.parametrize("kinds", [("i8", "f4"), ("f8", "f8"), ("i4", "f8"), (">i8", ">f8")])
def test_every_dtype_gives_the_same_bits(method, kinds):
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    bounds = np.array([0, 3000, 3001, 9000])
    x = np.concatenate([np.arange(1, size + 1) for size in np.diff(bounds)]).astype(kinds[0])
    y = rng.standard_normal(9000).astype(kinds[1])
    y[rng.random(9000) < 0.5] = np.nan
    total = np.array([3000.0, 1.0, 8000.0])
    grid = kernels.progress_grid(256)
    loop, compiled = both(x, y, bounds, total, method=method, grid=grid)
    np.testing.assert_array_equal(compiled, loop)


def test_positions_that_fall_take_the_loop():
    pytest.importorskip("numba")
    x, y = np.array([1, 9, 2, 10]), np.array([4.0, 3.0, 2.0, 1.0])
    arguments = (x, y, np.array([0, 4]), np.array([10.0]))
    loop, compiled = both(*arguments, method="linear", grid=kernels.progress_grid(16))
    np.testing.assert_array_equal(compiled, loop)


def test_sparse_records_cost_no_square_of_their_gaps():
    pytest.importorskip("numba")
    n = 1_000_000
    y = np.full(n, np.nan)
    y[[0, n - 1]] = [2.0, 1.0]
    x = np.arange(1, n + 1)
    grid = kernels.progress_grid(256)
    loop, compiled = both(x, y, np.array([0, n]), np.array([float(n)]), method="linear", grid=grid)
    np.testing.assert_array_equal(compiled, loop)


def test_without_numba_the_loop_serves_and_asking_for_it_names_the_extra(monkeypatch):
    x, y = np.arange(1, 9), np.linspace(2, 1, 8)
    arguments = (x, y, np.array([0, 8]), np.array([8.0]), kernels.progress_grid(8))
    monkeypatch.delattr("workbench.curves.kernels_numba", raising=False)
    monkeypatch.setitem(sys.modules, "workbench.curves.kernels_numba", None)
    with pytest.raises(DataError, match=r"collapse-workbench\[fast\]"):
        resample_ragged(*arguments, method="linear", engine="compiled")
    np.testing.assert_array_equal(resample_ragged(*arguments, method="linear"), y[None])


@pytest.mark.parametrize(
    ("runs", "records", "loaded"), [(500, 2_000_000, False), (100_000, 400_000_000, True)]
)
def test_small_data_never_load_the_compiler(runs, records, loaded):
    pytest.importorskip("numba")
    code = (
        "import sys\n"
        "from workbench.curves import kernels_ragged as k\n"
        f"print(k._pays({runs}, {records}, 'linear'), 'numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == [str(loaded), "False"]


def test_once_loaded_the_compiled_path_serves_all_but_a_few_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, kernels_ragged._COMPILED, object())
    assert kernels_ragged._pays(9, 100, "mean")
    assert not kernels_ragged._pays(8, 100, "mean")
