"""A reference is made, kept, refused when it is not what was saved, and interpolates."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import workbench as wb
from workbench.errors import ArgumentError, DataError
from workbench.forecast.kernels_surrogate import surrogate_curve
from workbench.schema import conform, make_runs, take_runs
from workbench.watch import Reference


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_save_and_load_give_the_same_version(reference, tmp_path, suffix):
    path = reference.save(tmp_path / f"family{suffix}")
    again = Reference.load(path)
    assert again.version == reference.version
    assert again.members == reference.members
    assert again.thresholds(0.01) == reference.thresholds(0.01)
    assert again.save(path) == path  # over itself


def test_the_same_runs_give_the_same_version_and_others_another(family_runs, reference):
    assert Reference.from_runs(family_runs).version == reference.version
    fewer = Reference.from_runs(take_runs(family_runs, np.array([0, 1, 2])))
    assert fewer.version != reference.version


def test_training_code_loads_it_without_the_dashboard(reference, tmp_path):
    path = reference.save(tmp_path / "family.nc")
    code = (
        "import sys, workbench as wb\n"
        f"watch = wb.Monitor({str(path)!r}, total_steps=1200, model_size=1e9)\n"
        "watch.update(1, 4.0)\n"
        "heavy = ('torch', 'panel', 'bokeh', 'holoviews', 'sqlalchemy', 'matplotlib')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_what_is_not_as_saved_is_refused(reference, tmp_path):
    path = reference.save(tmp_path / "family.nc")
    with xr.open_dataset(path) as data:
        data = data.load()
    data["log_shape"][0, 100] += 0.01
    data.to_netcdf(tmp_path / "changed.nc")
    with pytest.raises(DataError, match="another hash"):
        Reference.load(tmp_path / "changed.nc")
    data.assign_attrs(format_version=99).to_netcdf(tmp_path / "newer.nc")
    with pytest.raises(DataError, match="Update the workbench"):
        Reference.load(tmp_path / "newer.nc")
    (tmp_path / "text.nc").write_text("no reference")
    with pytest.raises(DataError, match="cannot be read as a reference"):
        Reference.load(tmp_path / "text.nc")
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(DataError, match="no reference of the workbench"):
        Reference.load(tmp_path / "other.nc")


def test_bad_arguments_are_said(reference, tmp_path):
    with pytest.raises(ArgumentError, match=r"saved as \.nc or \.zarr"):
        reference.save(tmp_path / "family.pickle")
    with pytest.raises(ArgumentError, match="There is no reference"):
        Reference.load(tmp_path / "none.nc")
    with pytest.raises(ArgumentError, match="chance per run"):
        reference.thresholds(0.9)


def test_a_lower_rate_needs_a_higher_threshold(reference):
    rates = (0.1, 0.05, 0.01, 0.001)
    scores = [reference.thresholds(rate).score for rate in rates]
    assert (np.diff(scores) > 0).all()


def test_the_curve_has_a_band_that_is_narrow_where_runs_are_aligned(reference):
    curve = reference.curve({"model_size": 1e9, "tau": 0.2, "schedule": "linear"})
    width = (curve["upper"] - curve["lower"]) / curve["normalized_loss"]
    assert float(curve["normalized_loss"][-1]) == pytest.approx(1)
    assert float(width.sel(progress=slice(0.3, 0.5)).mean()) < float(width[-1]) < 0.05


def test_runs_of_another_tau_are_reached_by_the_surrogate():
    """Members at five τ; the curve of a τ between them is met far better than by the nearest."""
    x = np.arange(1, 401) / 400
    taus = np.array([0.05, 0.1, 0.2, 0.8, 1.6])

    def shape(tau):
        return surrogate_curve(x, 1 - x, 0.08 * tau**-0.4, 1.5, 0.05)

    generator = np.random.default_rng(0)
    loss = [3 * shape(t) * np.exp(2e-4 * generator.standard_normal(400)) for t in taus]
    coords = {
        "run_id": [f"t{t:g}" for t in taus],
        "tau": taus,
        "tpp": np.full(5, 20.0),
        "model_size": np.full(5, 1e8),
        "schedule": ["linear"] * 5,
        "warmup_fraction": np.zeros(5),
        "total_steps": np.full(5, 400.0),
        "status": ["done"] * 5,
    }
    step = np.tile(np.arange(1, 401), 5)
    records = {"step": step, "eval_loss": np.concatenate(loss)}
    family = Reference.from_runs(conform(make_runs(coords, records, row_size=[400] * 5)))
    asked = {"tau": 0.4, "tpp": 20.0, "model_size": 1e8, "schedule": "linear"}
    found = family.expect(asked | {"warmup_fraction": 0.0})
    assert "surrogate" in found.how
    late = slice(100, 512)
    truth = np.interp(np.arange(1, 513) / 512, x, np.log(shape(0.4)))[late]
    nearest = family.data["log_shape"].to_numpy()[2][late]
    error = np.abs(found.log_shape[late] - truth).mean()
    assert error < 0.3 * np.abs(nearest - truth).mean()
    assert found.distance > 0.5


def test_one_run_makes_a_reference_whose_wander_is_assumed(family_runs):
    one = Reference.from_runs(take_runs(family_runs, np.array([3])))
    assert one.data.attrs["wander_assumed"] == 1
    assert one.wander.level >= 9e-6


def test_what_cannot_be_a_reference_is_said(family_runs):
    begun = family_runs.assign_coords(total_steps=("run", np.full(4, 5000.0)))
    with pytest.raises(DataError, match="None of 4 runs has finished"):
        Reference.from_runs(begun)
    negative = family_runs.assign(train_loss=family_runs["train_loss"] - 10)
    with pytest.raises(DataError, match="not positive"):
        Reference.from_runs(negative)


def test_it_is_a_public_name():
    assert wb.Reference is Reference
