"""The Data page in a real Chromium: a log sent, a filter typed, a file taken home."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from workbench.datasets import load_quickstart
from workbench.store import open_store

pytestmark = pytest.mark.browser

LOG = "step,train_loss\n" + "".join(f"{i},{4 - i / 50:.3f}\n" for i in range(1, 41))


@pytest.fixture
def page(visit, serve, fresh_store):
    runs = load_quickstart()
    names = np.array(runs["run_id"].to_numpy(), dtype="U64")
    names[0] = "<img src=x onerror=alert(1)>"
    opened = open_store(fresh_store, create=True)
    opened.add_runs(runs.assign_coords(run_id=("run", names)), family="quickstart")
    opened.close()
    return visit(serve(fresh_store), "data", ready=".tabulator-row")


def test_filter_send_and_export(page, fresh_store, tmp_path):
    tab = page.page
    tab.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
    log = tmp_path / "mine.csv"
    log.write_text(LOG)
    tab.get_by_label("Coordinates, NAME=VALUE").fill("total_steps=last; tpp=7")
    tab.get_by_label("Coordinates, NAME=VALUE").press("Enter")
    tab.locator("input[type=file]").set_input_files(log)
    tab.get_by_text("1 run, 40 records").wait_for()
    field = tab.get_by_label("Filter, NAME OP VALUE")
    field.fill("tpp<10")
    field.press("Enter")
    tab.get_by_text("1 run", exact=True).wait_for()
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Export these runs").click()
    download.value.save_as(tmp_path / "home.nc")
    with xr.open_dataset(tmp_path / "home.nc") as found:
        assert found["train_loss"].to_numpy().tolist() == pytest.approx(
            [4 - i / 50 for i in range(1, 41)]
        )
    assert len(open_store(fresh_store).table()) == 48
    page.assert_clean()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pictures(visit, quickstart_url, width, theme):
    query = f"data?theme={'dark' if theme == 'dark' else 'default'}"
    page = visit(quickstart_url, query, width=width, ready=".tabulator-row")
    assert page.overflow() <= 0
    page.keep(f"data-{theme}-{width}")
    page.assert_clean()
