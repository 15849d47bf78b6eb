"""The What-if page in a real Chromium: moves without the server, drawing by keys and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.datasets import load_quickstart
from workbench.store import open_store
from workbench.views.what_if_model import BY_HAND, WhatIfModel

pytestmark = pytest.mark.browser
READY = ".verdict h2"
# Sets the controls' state as a slider does, and returns what is then drawn.
SET = """(given) => new Promise((done) => {
  const doc = Bokeh.documents.find((d) => d.get_model_by_name("what-if"));
  const state = doc.get_model_by_name("what-if-state");
  const columns = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, [value]]));
  state.setv({ data: { ...state.data, ...columns } }, { sync: false });
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const drawn = (name, nth) => doc.get_model_by_name(name).renderers[nth].data_source.data.ys;
    const plain = (rows) => rows.map((row) => Array.from(row));
    done({ band: plain(drawn("what-if", 1)), curves: plain(drawn("what-if", 2)),
      parts: plain(drawn("parts", 0)) });
  }));
})"""


def until_quiet(page):
    """Wait until half a second has passed without a message; a page says things of itself."""
    for _ in range(40):
        before = len(page.frames)
        page.page.wait_for_timeout(500)
        if len(page.frames) == before:
            return
    pytest.fail("the page does not come to rest")


@pytest.fixture(scope="module")
def model():
    return WhatIfModel(load_quickstart())


def test_the_pages_data_are_the_librarys_numbers_on_a_grid(visit, quickstart_url, model):
    page = visit(quickstart_url, "whatif")
    until_quiet(page)
    before = len(page.frames)
    grid = [
        {"tau": tau, "horizon": tpp, "shape": shape, "warmup": 0.03, "decay": 0.4}
        for tau in (-1.3, -0.2)
        for tpp in (1.0, 1.6)
        for shape in ("cosine", "1-sqrt", "constant")
    ] + [{"shape": BY_HAND, "points": "0:10 30:100 80:60 100:5"}]
    for given in grid:
        model.param.update(**given)
        drawn = page.page.evaluate(SET, given)
        predicted, parts = model.predicted(), model.parts()
        (band,), (variance, bias) = drawn["band"], drawn["parts"]  # a way there and the way back
        for ours, theirs in (
            (drawn["curves"][0], predicted["normalized_loss"]),
            (drawn["curves"][2], parts["normalized_loss"]),
            (band[:206], predicted["lower"][50:]),
            (band[:205:-1], predicted["upper"][50:]),
            (variance[:257], parts["variance"]),
            (bias[:256:-1], parts["variance"]),
            (bias[:257], parts["bias"] + parts["variance"]),
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert len(page.frames) == before
    page.assert_clean()


def test_moves_by_key_stay_within_their_bytes_and_the_address_restores_them(visit, quickstart_url):
    page = visit(quickstart_url, "whatif")
    until_quiet(page)
    slider = page.page.get_by_role("slider", name="Timescale").first
    slider.focus()
    before = len(page.frames)
    for _ in range(10):
        slider.press("ArrowRight")
    page.page.get_by_text("28 %").first.wait_for()
    page.page.wait_for_function("() => location.search.includes('tau')")
    until_quiet(page)
    moved = page.frames[before:]  # and once, at rest, the address and the code
    assert 0 < len(moved) < 10 * 20
    assert sum(moved) < 10 * 1000
    again = visit(quickstart_url, "whatif" + page.page.evaluate("() => location.search"))
    assert again.verdict() == page.verdict()
    page.assert_clean()


def test_a_schedule_is_drawn_by_keys_by_hand_and_by_typing(visit, quickstart_url):
    from playwright.sync_api import expect

    page = visit(quickstart_url, "whatif?shape=by+hand&points=0:0+10:100+100:0", height=1500)
    point = page.page.get_by_role("slider", name="Point 2 of 3")
    point.focus()
    point.press("Enter")
    added = page.page.get_by_role("slider", name="Point 3 of 4")
    assert added.get_attribute("aria-valuetext") == "50 % of the peak at 55 % of the run"
    for _ in range(5):
        page.page.keyboard.press("Shift+ArrowUp")
    field = page.page.get_by_label("Points, progress:rate in %")
    page.page.wait_for_function("() => location.search.includes('55%3A100')")
    expect(field).to_have_value("0:0 10:100 55:100 100:0")
    said = page.verdict()
    box = added.locator("circle").nth(1).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + 100, y + 40, steps=4)
    page.page.mouse.up()
    moved = added.get_attribute("aria-valuetext")
    assert moved != "100 % of the peak at 55 % of the run"
    assert page.verdict() != said
    page.page.keyboard.press("Delete")
    page.page.get_by_role("slider", name="Point 3 of 3").wait_for()
    expect(field).to_have_value("0:0 10:100 100:0")
    field.fill("0:0 50:100")
    field.press("Enter")
    page.page.get_by_role("slider", name="Point 2 of 2").wait_for()
    field.fill("0:0")
    field.press("Enter")
    page.page.get_by_text("These points make no schedule").wait_for()
    page.assert_clean()


def test_an_empty_store_predicts_from_published_constants(visit, serve, fresh_store):
    open_store(fresh_store, create=True)
    page = visit(serve(fresh_store), "whatif")
    page.page.get_by_role("heading", name="No runs yet").wait_for()
    assert "Published constants" in page.verdict()
    page.keep("what-if-empty")
    page.assert_clean()


def test_a_store_without_tau_says_so(visit, serve, fresh_store, make_family):
    open_store(fresh_store, create=True).add_runs(make_family(tau=np.nan, noise=0.01), family="x")
    page = visit(serve(fresh_store), "whatif")
    assert "τ not recorded" in page.verdict()
    assert "the published constants do" in page.verdict()
    page.assert_clean()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pictures(visit, quickstart_url, width, theme):
    dark = "dark" if theme == "dark" else "default"
    page = visit(quickstart_url, f"whatif?theme={dark}&shape=cosine", width=width,
                 height=1180 if width > 1000 else 1500)  # fmt: skip
    page.page.get_by_text("Why: bias and variance").wait_for()
    assert page.overflow() <= 0
    page.keep(f"what-if-{theme}-{width}")
    page.assert_clean()
