"""The page of the papers in a real Chromium: offline, live on the screen, still in print."""

from __future__ import annotations

import pytest

from workbench.reports.papers import ENTRIES, build, pdf
from workbench.reports.papers.notebook import handed_back

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NAMES = ("bergsma-fig-1", "bergsma-fig-2", "bergsma-table-4", "bergsma-fig-26", "qiu-fig-5b")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    pytest.importorskip("matplotlib")

    def run(job):
        figure = ENTRIES[job.entry.name].function()(**job.parameters)
        return {
            "status": "built",
            "key": job.key,
            "parameters": dict(job.parameters),
            "data": {},
            **handed_back(figure),
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_run", run)
        out = tmp_path_factory.mktemp("papers")
        return build.build_papers(out=out, names=NAMES, processes=1, progress=False).html


@pytest.fixture(scope="module")
def opened(chromium, html):
    tab = chromium.new_page(viewport={"width": 1300, "height": 900})
    tab.seen = {"requests": [], "errors": []}
    tab.on("request", lambda request: tab.seen["requests"].append(request.url))
    tab.on("pageerror", lambda error: tab.seen["errors"].append(str(error)))
    tab.on(
        "console",
        lambda line: tab.seen["errors"].append(line.text) if line.type == "error" else None,
    )
    tab.goto(html.as_uri())
    return tab


def test_every_chart_is_drawn_when_it_is_reached_and_nothing_is_fetched(opened):
    figures = opened.locator("figure")
    assert figures.count() == 1 + 3 + 6
    assert opened.locator("figure.drawn").count() < figures.count()  # the last ones are far off
    for i in range(figures.count()):
        figures.nth(i).scroll_into_view_if_needed()
    opened.wait_for_function(
        "n => Bokeh.documents.length == n && Bokeh.documents.every("
        "d => d.roots().every(r => Bokeh.index.get_one(r)?.has_finished?.()))",
        arg=figures.count(),
    )
    assert opened.locator(".still").filter(visible=True).count() == 0
    foreign = [u for u in opened.seen["requests"] if not u.startswith(("file:", "data:", "blob:"))]
    assert foreign == []
    assert opened.seen["errors"] == []


@pytest.mark.parametrize("width", [1300, 390])
def test_nothing_overflows(opened, width):
    opened.set_viewport_size({"width": width, "height": 900})
    opened.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")


def test_links_lead_to_boxes(opened):
    links = opened.eval_on_selector_all("nav a", "all => all.map(a => a.getAttribute('href'))")
    assert links == [f"#{name}" for name in NAMES]
    assert opened.evaluate("all => all.every(a => document.querySelector(a))", links)


def test_in_print_the_still_pictures_are_shown(opened):
    opened.emulate_media(media="print")
    assert opened.locator(".live").filter(visible=True).count() == 0
    stills = opened.locator(".still svg").filter(visible=True)
    assert stills.count() == opened.locator("figure").count()
    opened.emulate_media(media="screen")


def test_the_pdf_is_printed(html, tmp_path, monkeypatch):
    from tests.chromium import find_chromium

    monkeypatch.setattr(pdf, "find_browser", find_chromium)
    target = tmp_path / "papers.pdf"
    pdf.print_page(html, target)
    assert target.read_bytes().startswith(b"%PDF-")
    assert target.stat().st_size > 50_000
    assert list(tmp_path.iterdir()) == [target]
