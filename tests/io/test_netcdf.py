from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from workbench.errors import DataError
from workbench.io import netcdf, netcdf_process, read
from workbench.io.netcdf import open_netcdf
from workbench.schema import make_runs


@pytest.fixture
def path(tmp_path):
    runs = make_runs(
        {"run_id": ["a", "b"], "note": ["é", ""], "total_steps": [2.0, 2.0]},
        {"step": [0, 1, 2, 2], "train_loss": [3.0, np.nan, 2.0, 1.0]},
        row_size=[3, 1],
    )
    runs.to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    return tmp_path / "a.nc"


@pytest.mark.parametrize(
    "format", ["NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_64BIT", "NETCDF3_CLASSIC"]
)
def test_a_file_is_what_xarray_reads(path, tmp_path, format):
    runs = xr.open_dataset(path, engine="netcdf4").load()
    if format == "NETCDF3_CLASSIC":
        runs["step"], runs["row_size"] = runs["step"].astype("i4"), runs["row_size"].astype("i4")
    other = tmp_path / "other.nc"
    runs.to_netcdf(other, engine="netcdf4", format=format)
    with xr.open_dataset(other, engine="netcdf4") as expected:
        found = open_netcdf(other)
        for name in expected.variables:
            np.testing.assert_array_equal(
                found[name].to_numpy().astype(expected[name].dtype), expected[name].to_numpy()
            )
            assert found[name].attrs.keys() == expected[name].attrs.keys()
        assert found.attrs == expected.attrs


def test_the_library_may_crash_hang_or_eat_memory(path, monkeypatch, tmp_path):
    script = tmp_path / "child.py"
    monkeypatch.setattr(netcdf_process, "__file__", str(script))
    for body, said in (
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("import time; time.sleep(60)", "does not end"),
        ("import sys; sys.exit('ValueError: torn')", "ValueError: torn"),
    ):
        script.write_text(body)
        monkeypatch.setattr(netcdf, "_WALL_SECONDS", 5)
        with pytest.raises(DataError, match=said) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are Linux's here")
def test_time_and_memory_are_limited(path, monkeypatch, tmp_path):
    with monkeypatch.context() as tight:
        tight.setattr(netcdf, "_MEMORY", 1)
        tight.setattr(netcdf, "_EXPANSION", 0)
        with pytest.raises(DataError, match="cannot be read"):
            open_netcdf(path)
    script = tmp_path / "child.py"
    endless = (
        Path(netcdf_process.__file__).read_text().replace("variables = []", "while True: pass")
    )
    script.write_text(endless)
    monkeypatch.setattr(netcdf_process, "__file__", str(script))
    monkeypatch.setattr(netcdf, "_CPU_SECONDS", 1)
    with pytest.raises(DataError, match=f"signal {signal.SIGXCPU:d}"):
        open_netcdf(path)


def test_a_cut_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged or cut"):
        read(path)
