"""The page in a real Chromium, against the library."""

from __future__ import annotations

import io
from urllib.parse import urlencode

import numpy as np
import pytest

from workbench.collapse import replicate_cells
from workbench.datasets import load_quickstart
from workbench.store import open_store
from workbench.views.explorer_model import ExplorerModel

pytestmark = pytest.mark.browser

SETTINGS = [
    {},
    {"offset": "fit"},
    {"offset": 1.5, "smoothing": 0.03},
    {"loss": "train_loss", "smoothing": 0.1, "offset": 2.1},
    {"selection": "schedule~wsd", "x": "tokens"},
    {"selection": "model_size~10.2k|32.8k", "x": "compute", "offset": 2.0},
]


def pixels(page):
    """Return the inked pixels of the curve canvas as an array."""
    from PIL import Image

    shot = page.locator("canvas").first.screenshot()
    with Image.open(io.BytesIO(shot)) as image:
        return np.asarray(image.convert("RGB")).copy()


def library(setting):
    """Return the model of the page's setting, set the way the address sets it."""
    runs = load_quickstart()
    model = ExplorerModel(runs.assign_coords(family=("run", ["quickstart"] * runs.sizes["run"])))
    for name in ("loss", "smoothing", "selection", "offset", "x"):
        if name in setting:
            setattr(model, name, setting[name])
    return model


@pytest.mark.parametrize(
    "setting", SETTINGS, ids=[" ".join(map(str, s)) or "first" for s in SETTINGS]
)
def test_numbers_of_the_page_are_the_librarys(visit, quickstart_url, setting):
    page = visit(quickstart_url, "?" + urlencode(setting))
    shown, report = page.read(), library(setting).report()

    assert len(shown["statistics"]["ys"]) == 2
    delta, sigma = shown["statistics"]["ys"]
    np.testing.assert_allclose(np.array(delta, float), report.deviation, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(np.array(sigma, float), report.noise_floor, rtol=1e-9, atol=1e-13)
    assert shown["beyond"] == report.beyond

    cells = replicate_cells(report.curves)
    sizes = report.curves["model_size"].to_numpy()
    cells.sort(key=lambda rows: sizes[rows[0]])
    expected = [report.curves.to_numpy()[rows].mean(axis=0) for rows in cells]
    np.testing.assert_allclose(np.array(shown["cells"]["ys"], float), expected, rtol=1e-9)

    half = [
        f"{100 * float(v.sel(progress=0.5)):.2g}" for v in (report.deviation, report.noise_floor)
    ]
    assert [float(text.split()[0]) for text in page.numbers()[:2]] == [float(text) for text in half]
    assert report.verdict.tag in page.verdict()
    assert report.verdict.headline in page.verdict()
    page.assert_clean()


def test_axis_positions_are_the_librarys(visit, quickstart_url):
    page = visit(quickstart_url, "?x=tokens")
    model = library({"x": "tokens"})
    position = model.x_positions()
    ends = np.unique(position.isel(progress=-1).to_numpy())
    shown = [xs[-1] for xs in page.read()["cells"]["xs"]]
    np.testing.assert_allclose(np.array(shown) * ends[-1] / shown[-1], ends, rtol=1e-12)
    assert page.read()["axis"].startswith("Tokens [")


def test_offset_slider_moves_pixels_and_little_else(visit, quickstart_url):
    page = visit(quickstart_url)
    slider = page.page.locator("input[type=range]").first
    slider.focus()
    before, data = pixels(page.page), page.read()
    moves = []
    for _ in range(5):
        end = page.read()["y"][1]
        page.frames.clear()
        page.page.keyboard.press("ArrowRight")
        page.page.wait_for_function(
            "(old) => Bokeh.documents.find((d) => d.get_model_by_name('curves'))"
            ".get_model_by_name('curves').y_range.end !== old",
            arg=end,
        )
        moves.append((len(page.frames), sum(page.frames)))
        page.settle()
    # What belongs to the move is in every one of them; a rest that sets in early adds to some.
    frames, size = min(moves)
    assert (pixels(page.page) != before).any(axis=2).mean() > 0.005
    assert frames < 20
    assert size < 1000
    assert page.read()["cells"]["ys"] != data["cells"]["ys"]
    page.assert_clean()


def test_keys_and_taps(visit, quickstart_url):
    page = visit(quickstart_url, height=1500)
    keyboard = page.page.keyboard
    page.page.locator("input[type=range]").first.focus()
    keyboard.press("l")
    page.page.get_by_text("= fitted").first.wait_for()
    keyboard.press("Home")
    page.page.get_by_text("0.000 nats").first.wait_for()
    keyboard.press("3")
    page.page.get_by_text("± seed noise").first.wait_for()
    keyboard.press("1")
    page.wait_for_axis("Eval loss L [nats/token]")
    keyboard.press("2")
    page.wait_for_axis("Normalised loss ℓ = L / L at end")

    middle = len(page.read()["cells"]["ys"][0]) // 2
    page.page.mouse.click(*page.place_on_first_curve(middle))
    selected = page.page.locator(".tabulator-row.tabulator-selected")
    selected.first.wait_for()
    assert selected.count() == 1
    assert len(page.read()["picked"]["ys"]) == 1
    assert max(page.read()["cells"]["alpha"]) < 0.2
    keyboard.press("Escape")
    selected.first.wait_for(state="detached")
    assert page.read()["picked"]["ys"] == []
    page.page.locator(".tabulator-row").nth(3).click()
    page.page.wait_for_function(f"() => ({READ_PICKED})() === 1")
    page.assert_clean()


READ_PICKED = """() => Bokeh.documents.find((d) => d.get_model_by_name("curves"))
  .get_model_by_name("curves").renderers.filter((r) => r.glyph.type === "MultiLine")[2]
  .data_source.data.ys.length"""


def test_pills_filter_in_the_browser_and_undo_brings_them_back(visit, quickstart_url):
    page = visit(quickstart_url)
    before = len(page.read()["cells"]["ys"])
    page.page.get_by_role("button", name="10.2k").first.click()
    page.page.get_by_text("Select · 15 of 47").wait_for()
    assert len(page.read()["cells"]["ys"]) == before - 1
    for size, left in (("20k", 10), ("32.8k", 5), ("67.6k", 0)):
        page.page.get_by_role("button", name=size, exact=True).first.click()
        page.page.get_by_text(f"Select · {left} of 47").wait_for()
    page.page.get_by_text("No run matches the filters").first.wait_for()
    page.page.get_by_text("The last filter was Size").wait_for()
    page.page.get_by_role("button", name="Undo the last filter").click()
    page.page.get_by_text("Needs two sizes").wait_for()
    page.page.get_by_role("button", name="Show all runs").wait_for(state="hidden")
    page.assert_clean()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_looks(visit, quickstart_url, theme, width):
    query = "?theme=dark" if theme == "dark" else ""
    page = visit(quickstart_url, query, width=width, height=1400)
    assert page.overflow() == 0
    opened = page.page.get_by_role("button", name="No offset").first.is_visible()
    assert opened == (width > 900)
    page.keep(f"explorer-{theme}-{width}")
    page.assert_clean()


def test_an_address_brings_the_same_view_back(visit, quickstart_url):
    page = visit(quickstart_url, "?view=Residual&offset=1.25&colour=tau")
    page.page.get_by_text("Residual ℓ").or_(page.page.get_by_text("± seed noise")).first.wait_for()
    page.page.get_by_text("1.250 nats").first.wait_for()
    again = visit(quickstart_url, "?" + page.page.url.split("?", 1)[1])
    assert again.read()["cells"]["ys"] == page.read()["cells"]["ys"]


def test_two_normalisations_are_shown_where_the_entropy_is_known(visit, quickstart_url):
    page = visit(quickstart_url, height=1400)
    page.page.get_by_text("Two normalisations").wait_for()
    pair = library({}).normalisations()
    texts = page.page.locator(".line", has_text="half-way Δ").all_inner_texts()
    for one, text in zip(pair, texts, strict=True):
        assert f"{100 * one.deviation_half:.2g} %" in text
        assert f"{100 * one.noise_half:.2g} %" in text


def test_empty_store_says_how_to_begin(visit, serve, fresh_store):
    open_store(fresh_store, create=True)
    page = visit(serve(fresh_store), ready=".ways")
    for text in ("Try the demo family", "Import", "Record from your loop", "wb.Recorder"):
        page.page.get_by_text(text).first.wait_for()
    page.keep("explorer-empty")
    page.assert_clean()


def test_curves_grow_while_a_run_is_written(visit, serve, fresh_store, make_family):
    store = open_store(fresh_store, create=True)
    page = visit(serve(fresh_store), ready=".ways")
    writer = store.start_run(
        "growing",
        family="live",
        attributes={
            "model_size": 4e6, "tpp": 20.0, "tau": 0.2, "schedule": "linear", "seed": 9.0,
            "total_steps": 200.0,
        },
    )  # fmt: skip
    loss = 1.7 + 0.9 * (np.arange(1, 201) / 200) ** -0.3
    writer.append(step=np.arange(1, 41), eval_loss=loss[:40])
    page.page.get_by_text("Needs two finished runs").wait_for(timeout=20_000)
    assert len(page.read()["live"]["ys"]) == 1

    store.add_runs(make_family(noise=0.001), family="live")
    page.page.get_by_text("end estimated by alignment").wait_for(timeout=20_000)
    page.page.get_by_text("12 done, 1 running").wait_for()
    short = np.isfinite(np.array(page.read()["live"]["ys"][0], float)).sum()
    frame = page.read()["y"]
    pressed = page.page.locator("button[aria-pressed=true]").all_inner_texts()
    assert set(pressed) >= {"1M", "2M", "4M", "8M", "0", "1", "2", "9"}
    page.keep("explorer-live")
    writer.append(step=np.arange(41, 121), eval_loss=loss[40:120])
    page.page.wait_for_function(f"(n) => ({READ_LIVE})() > n", arg=int(short), timeout=20_000)
    live = np.array(page.read()["live"]["ys"][0], float)
    cells = np.array(page.read()["cells"]["ys"], float)
    known = np.isfinite(live)
    assert page.read()["y"] == frame, "new points must not move the frame"
    np.testing.assert_allclose(live[known][-10:], cells.mean(axis=0)[known][-10:], rtol=0.02)
    assert len(page.read()["statistics"]["ys"]) == 2
    page.assert_clean()


READ_LIVE = """() => Array.from(Bokeh.documents.find((d) => d.get_model_by_name("curves"))
  .get_model_by_name("curves").renderers.filter((r) => r.glyph.type === "MultiLine")[1]
  .data_source.data.ys[0] ?? []).filter(Number.isFinite).length"""


def test_names_from_outside_stay_inert(visit, serve, fresh_store, make_family):
    runs = make_family(noise=0.001)
    evil = "<img src=x onerror=window.hacked=1>"
    names = [f"{evil}{i}" for i in range(runs.sizes["run"])]
    open_store(fresh_store, create=True).add_runs(
        runs.assign_coords(run_id=("run", names), schedule=("run", [evil] * len(names))),
        family=evil,
    )
    page = visit(serve(fresh_store), height=1400)
    page.page.locator(".tabulator-row").first.wait_for()
    assert page.page.evaluate("window.hacked") is None
    page.assert_clean()
