"""The collapse report, built once with a real kernel and opened in a real Chromium."""

from __future__ import annotations

import json
import os
import platform
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from workbench.collapse import collapse_report
from workbench.errors import ArgumentError, DataError
from workbench.reports import build_report
from workbench.reports.provenance import family_hash, run_hashes
from workbench.schema import conform, select_runs
from workbench.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report")]
WHERE = ("schedule=linear", "tau>0.2")
QUICKSTART = Path(__file__).resolve().parents[2] / "data" / "quickstart.nc"


@pytest.fixture(scope="module")
def runs() -> xr.Dataset:
    with xr.open_dataset(QUICKSTART, engine="netcdf4") as ds:
        return conform(ds.load())


@pytest.fixture(scope="module")
def store(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "store"
    opened = open_store(path, create=True)
    opened.add_runs(runs)
    opened.close()
    return path


@pytest.fixture(scope="module")
def built(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "new" / "folder"
    return build_report("collapse", store=store, out=out, where=WHERE, progress=False)


@pytest.fixture(scope="module")
def page(built) -> str:
    return built.html.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def manifest(built) -> dict:
    return json.loads(built.manifest.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected(runs):
    return collapse_report(select_runs(runs, WHERE))


def test_only_the_two_files_are_left(built):
    assert sorted(p.name for p in built.html.parent.iterdir()) == ["collapse.html", "manifest.json"]
    assert built.seconds > 0


def test_the_verdict_is_the_librarys(built, manifest, page, expected):
    assert built.verdict == manifest["verdict"] == str(expected.verdict)
    assert page.index(expected.verdict.headline) < page.index("The numbers")


def test_the_numbers_are_the_librarys(manifest, expected):
    assert set(manifest["numbers"]) == set(expected.to_dict())
    for name in ("deviation", "noise_floor", "spread"):
        found, wanted = (
            np.array(numbers[name], dtype=float)
            for numbers in (manifest["numbers"], expected.to_dict())
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert np.isfinite(found).mean() > 0.9
    assert manifest["numbers"]["model_sizes"] == expected.to_dict()["model_sizes"]


def table(page: str, label: str) -> list[list[str]]:
    start = re.search(f'<div[^>]* aria-label="{label}"', page).end()
    body = page[start:].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    return [[unescape(c) for c in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows]


def test_the_page_shows_the_numbers(page, expected):
    rows = {row[0]: row[1:] for row in table(page, "Deviation and noise floor")}
    for share in (0.2, 0.5, 0.8):
        delta = float(expected.deviation.sel(progress=share, method="nearest"))
        sigma = float(expected.noise_floor.sel(progress=share, method="nearest"))
        shown = rows[f"at {100 * share:.0f} %"]
        assert float(shown[0].rstrip(" %")) / 100 == pytest.approx(delta, rel=0.06)
        assert float(shown[1].rstrip(" %")) / 100 == pytest.approx(sigma, rel=0.06)
        assert float(shown[2]) == pytest.approx(delta / sigma, abs=0.006)
    answers = dict(table(page, "Answers"))
    assert f"{expected.offset.value:.4f} nats/token" in answers["L0"]
    assert "not identified" in answers["L0"]


def test_the_run_table_has_every_run_with_its_final_loss(page, expected, runs):
    rows = {row[0]: row for row in table(page, "Runs")[1:]}
    assert set(rows) == set(expected.curves["run_id"].to_numpy())
    losses = runs["eval_loss"].to_numpy()
    ends = dict(zip(runs["run_id"].to_numpy(), np.cumsum(runs["row_size"].to_numpy()), strict=True))
    assert all(
        float(row[6]) == pytest.approx(losses[ends[n] - 1], abs=6e-5) for n, row in rows.items()
    )


def test_excess_loss_is_judged_where_the_floor_is_known(page, runs):
    floor = float(runs["irreducible_loss"][0])
    excess = collapse_report(select_runs(runs, WHERE), offset=floor)
    verb = "collapses" if excess.holds else "does not collapse"
    assert f"Excess loss {verb} at this scale" in page


def test_the_manifest_says_what_the_report_was_made_from(manifest, built, runs):
    hashes = run_hashes(select_runs(runs, WHERE))
    assert set(manifest["data"]["runs"]) == set(hashes)
    assert manifest["data"]["sha256"] == family_hash(manifest["data"]["runs"])
    assert manifest["data"]["revision"] >= 1
    assert manifest["data"]["history"]
    assert manifest["parameters"]["where"] == list(WHERE)
    assert manifest["parameters"]["loss"] == "eval_loss"
    assert manifest["seeds"] == {"bootstrap": 0}
    assert manifest["warnings"] == []
    assert {"python", "collapse-workbench", "numpy", "bokeh"} <= set(manifest["versions"])
    assert manifest["hardware"]["cpu_count"] == os.cpu_count()
    assert len(manifest["files"]["collapse.html"]) == len(manifest["notebook"]["sha256"]) == 64


def test_neither_the_machine_nor_the_code_is_named(page, built):
    text = page + built.manifest.read_text(encoding="utf-8")
    assert len(platform.node()) < 4 or platform.node() not in text
    assert "collapse_report(" not in page
    assert "Traceback" not in page


@pytest.fixture(scope="module")
def opened(chromium, built):
    tab = chromium.new_page(viewport={"width": 1440, "height": 900})
    tab.seen = {"requests": [], "errors": []}
    tab.on("request", lambda request: tab.seen["requests"].append(request.url))
    tab.on("pageerror", lambda error: tab.seen["errors"].append(str(error)))
    tab.on(
        "console",
        lambda line: tab.seen["errors"].append(line.text) if line.type == "error" else None,
    )
    tab.goto(built.html.as_uri())
    n_figures = tab.locator("figure").count()
    tab.wait_for_function(f"window.Bokeh && Bokeh.documents.length == {n_figures}")
    tab.wait_for_function(
        "Bokeh.documents.every(d => d.roots().every(r => Bokeh.index.get_one(r)?.has_finished?.()))"
    )
    return tab


@pytest.mark.browser
def test_the_page_opens_from_disk_without_a_network(opened, built):
    foreign = [u for u in opened.seen["requests"] if not u.startswith(("file:", "data:", "blob:"))]
    assert opened.seen["requests"][0] == built.html.as_uri()
    assert foreign == []
    assert opened.seen["errors"] == []


_DRAWN = """() => Bokeh.documents.map(d => {
  const lines = [];
  for (const model of d._all_models.values())
    if (model.type == "GlyphRenderer" && model.glyph.type == "MultiLine")
      model.data_source.get_column("run").forEach((run, i) =>
        lines.push([run, Array.from(model.data_source.get_column("ys")[i] ??
                                    model.data_source.get_column("y")[i])]));
  return lines;
})"""


@pytest.mark.browser
def test_the_curves_on_the_page_are_the_librarys(opened, expected):
    names = list(expected.curves["run_id"].to_numpy())
    figures = [dict(lines) for lines in opened.evaluate(_DRAWN)]
    whole = [figure for figure in figures if set(figure) == set(names)]
    at_one = [f for f in whole if all(abs(y[-1] - 1) < 1e-6 for y in f.values())]
    assert len(whole) == 5  # raw, two normalised, two in the excess section
    assert len(at_one) == 4
    fitted = np.array([at_one[1][name] for name in names])
    np.testing.assert_allclose(fitted, expected.curves.to_numpy(), rtol=1e-6)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows_and_every_figure_is_painted(opened, width):
    opened.set_viewport_size({"width": width, "height": 900})
    opened.wait_for_function(
        "() => [...document.querySelectorAll('figure')].every(f => "
        "f.scrollWidth <= f.clientWidth + 1) && document.documentElement.scrollWidth <= innerWidth"
    )
    for i in range(opened.locator("figure").count()):
        shot = opened.locator("figure").nth(i).screenshot()
        assert len(shot) > 5000  # an empty card compresses to less than half of that


@pytest.fixture
def published(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "collapse.html").write_text("the report of yesterday", encoding="utf-8")
    yield out
    assert [p.name for p in out.iterdir()] == ["collapse.html"]
    assert (out / "collapse.html").read_text(encoding="utf-8") == "the report of yesterday"


def test_parameters_arrive_as_text_and_never_as_code(store, published, tmp_path):
    trap = tmp_path / "trap"
    text = f'run_id="]; open(r"{trap}", "w").close(); x = ["\\'
    with pytest.raises(DataError, match=r"'collapse' \(collapse_report.py\) stopped: No run match"):
        build_report("collapse", store=store, out=published, where=[text], progress=False)
    assert not trap.exists()


def test_a_bad_argument_found_by_the_notebook_stays_a_bad_argument(store, published):
    with pytest.raises(ArgumentError, match="stopped: Unknown run coordinate 'tua'") as caught:
        build_report("collapse", store=store, out=published, where=["tua=1"], progress=False)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_report_on_a_server_does_not_hold_its_password(postgres, runs, tmp_path):
    database = postgres.make_database()
    url = postgres.url(database)
    opened = open_store(url, create=True, curves=str(tmp_path / "curves"))
    opened.add_runs(select_runs(runs, WHERE))
    result = build_report("collapse", store=url, out=tmp_path / "out", progress=False)
    for path in (result.html, result.manifest):
        text = path.read_text(encoding="utf-8")
        assert "w@rd" not in text
        assert "w%40rd" not in text
    store = json.loads(result.manifest.read_text(encoding="utf-8"))["data"]["store"]
    assert store == postgres.url(database, password=None)
    opened.close()
    postgres.drop_database(database)
