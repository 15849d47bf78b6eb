"""What the shipped family is said to show, checked on the file itself."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from workbench.curves import on_progress
from workbench.datasets import load_quickstart, quickstart_path
from workbench.training import plan_family

SCRIPT = Path(__file__).resolve().parents[2] / "data" / "make_quickstart.py"
AT = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


@pytest.fixture(scope="module")
def family():
    """Return held-out loss (run, progress) at `AT` and the end, as a frame with its controls."""
    runs = load_quickstart()
    loss = on_progress(runs, loss="eval_loss", points=100)
    table = runs.coords.to_dataset().drop_vars("row_size", errors="ignore").to_dataframe()
    table["entropy"] = runs["irreducible_loss"].to_numpy()
    table["kind"] = np.where(table["tau"] < 0.1, "short tau", table["schedule"])
    columns = np.round(100 * np.array([*AT, 1.0])).astype(int) - 1
    return table, loss.to_numpy()[:, columns]


def normalised(table, loss, *, offset):
    shifted = loss - (table["entropy"].to_numpy()[:, None] if offset else 0.0)
    return (shifted / shifted[:, -1:])[:, :-1]


def mean_by_size(curves, table, kind):
    chosen = (table["kind"] == kind).to_numpy()
    sizes = np.unique(table["width"][chosen])
    return np.array(
        [curves[chosen & (table["width"] == size).to_numpy()].mean(0) for size in sizes]
    )


def test_file_is_small_and_holds_the_planned_runs():
    assert quickstart_path().stat().st_size < 400_000
    runs = load_quickstart()
    planned = {
        run.run_id: run for run in plan_family(runpy.run_path(str(SCRIPT))["shipped_spec"]()).runs
    }
    assert set(map(str, runs["run_id"].to_numpy())) == set(planned)
    assert set(map(str, runs["status"].to_numpy())) == {"done"}
    for run_id, rows in zip(runs["run_id"].to_numpy(), runs["row_size"].to_numpy(), strict=True):
        assert rows == planned[str(run_id)].total_steps


def test_matched_sizes_collapse(family):
    table, loss = family
    means = mean_by_size(normalised(table, loss, offset=False), table, "linear")
    assert len(means) == 4
    assert (means.std(0) / means.mean(0) < 0.006).all()


@pytest.mark.parametrize("kind", ["constant", "wsd", "short tau"])
def test_other_recipes_leave_the_curve(family, kind):
    table, loss = family
    curves = normalised(table, loss, offset=False)
    matched = mean_by_size(curves, table, "linear")
    other = mean_by_size(curves, table, kind)
    shift = np.abs((other / matched[: len(other)] - 1).mean(0))
    assert (shift > 3 * matched.std(0) / matched.mean(0)).any()
    assert shift.max() > 0.01


def test_excess_loss_does_not_collapse(family):
    table, loss = family
    curves = normalised(table, loss, offset=True)
    means = mean_by_size(curves, table, "linear")
    chosen = (table["kind"] == "linear").to_numpy()
    seeds = [
        curves[chosen & (table["width"] == size).to_numpy()].std(0, ddof=1)
        for size in np.unique(table["width"])
    ]
    floor = np.sqrt(np.mean(np.square(seeds), 0))
    half = 2
    assert means.std(0)[half] > 3 * floor[half]
    assert (np.diff(means[:, half]) > 0).all()  # the larger, the further above
