"""One served store and one Chromium for all browser tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlparse

import pytest

from workbench.datasets import load_quickstart
from workbench.store import open_store

# The server runs in this process: what Bokeh does with pandas is not ours to fail on.
BOKEH_WITH_PANDAS = "ignore:The inplace keyword in DataFrame.reset_index:DeprecationWarning"
ROOT = Path(__file__).resolve().parents[2]
KEEP = bool(os.environ.get("WORKBENCH_GALLERY"))


def gallery_file(name: str, scratch: Path) -> Path:
    """Return where a picture goes: the kept gallery when asked for, else a scratch folder."""
    folder = ROOT / "reports" / "gallery" if KEEP else scratch
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.png"


READ = """() => {
  const doc = Bokeh.documents.find((d) => d.get_model_by_name("curves"));
  const curves = doc.get_model_by_name("curves"), below = doc.get_model_by_name("statistics");
  const plain = (data) => Object.fromEntries(Object.entries(data).map(([name, column]) =>
    [name, Array.from(column, (v) => v?.length !== undefined && typeof v !== "string"
      ? Array.from(v) : v)]));
  const lines = curves.renderers.map((r) => [r.glyph.type, plain(r.data_source.data)]);
  const stats = below.renderers.map((r) => [r.glyph.type, plain(r.data_source.data)]);
  const of = (list, type, nth = 0) => list.filter(([name]) => name === type)[nth][1];
  const marks = below.renderers.find((r) => r.glyph.type === "VStrip").data_source.data.left;
  return {
    cells: of(lines, "MultiLine", 0), live: of(lines, "MultiLine", 1),
    picked: of(lines, "MultiLine", 2), statistics: of(stats, "MultiLine", 0),
    labels: of(lines, "Text", 0), beyond: marks.length ? marks[0] : null,
    y: [curves.y_range.start, curves.y_range.end], axis: curves.below[0].axis_label,
  };
}"""


PLACE = """(point) => {
  const plot = Bokeh.documents.find((d) => d.get_model_by_name("curves"))
    .get_model_by_name("curves");
  const view = Bokeh.index.find_one(plot), { left, top } = view.el.getBoundingClientRect();
  const { xs, ys } = plot.renderers.find((r) => r.glyph.type === "MultiLine").data_source.data;
  return [left + view.frame.x_scale.compute(xs[0][point]),
    top + view.frame.y_scale.compute(ys[0][point])];
}"""


# A scrolled part hides what leaves it, so every element is asked, through all shadow roots;
# a canvas clips its own glyphs, and a wide table is scrolled on its own.
OVERFLOW = """() => {
  const widest = (root) => [...root.querySelectorAll("*")].reduce((most, node) => {
    const { right, width, height } = node.getBoundingClientRect();
    if (node.matches(".bk-GlyphRenderer") || node.closest(".tabulator-table,.tabulator-header"))
      return most;
    const own = width && height && node.checkVisibility() ? right - window.innerWidth : 0;
    return Math.max(most, own, node.shadowRoot ? widest(node.shadowRoot) : 0);
  }, 0);
  return Math.round(widest(document.body));
}"""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(BOKEH_WITH_PANDAS))


@pytest.fixture(scope="session")
def quickstart_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "quickstart"
    open_store(path, create=True).add_runs(load_quickstart(), family="quickstart")
    return path


@pytest.fixture(scope="session")
def serve():
    """Return a server of a store; all stop at the end of the session."""
    from workbench.apps import start

    running = []

    def begin(store):
        running.append(start(store, port=0))
        return running[-1].url

    yield begin
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def quickstart_url(quickstart_store, serve):
    return serve(quickstart_store)


class Visit:
    """An open page with everything it complained about and every host it asked."""

    def __init__(self, page, url, scratch):
        self.page, self.url, self.scratch = page, url, scratch
        self.said, self.hosts, self.frames = [], set(), []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.said.append(f"page error: {error}"))
        page.on("request", lambda request: self.hosts.add(urlparse(request.url).hostname))
        page.on("websocket", self._listen)

    def _heard(self, message):
        if message.type == "error":
            self.said.append(message.text)

    def _listen(self, socket):
        socket.on("framesent", lambda frame: self.frames.append(len(frame)))
        socket.on("framereceived", lambda frame: self.frames.append(len(frame)))

    def open(self, query="", ready=".verdict h2"):
        self.page.goto(self.url + query)
        self.page.locator(ready).first.wait_for(timeout=25_000)
        self.settle()
        return self

    def settle(self):
        """Wait until the page's data have been the same for half a second."""
        self.page.wait_for_function(
            """() => {
              const text = [...document.querySelectorAll("body")].length && window.Bokeh
                ? Bokeh.documents.map((d) => d.roots().length).join() : "";
              const doc = window.Bokeh?.documents.find((d) => d.get_model_by_name("curves"));
              if (!doc) return true;
              const curves = doc.get_model_by_name("curves"), { start, end } = curves.y_range;
              const data = curves.renderers.map((r) =>
                JSON.stringify(Object.values(r.data_source.data).map((c) => c.length)));
              const now = JSON.stringify([text, data, start, end, curves.left[0].axis_label]);
              if (window.__before !== now) { window.__before = now; window.__since = Date.now(); }
              return Date.now() - window.__since > 700;
            }""",
            timeout=30_000,
            polling=100,
        )

    def read(self):
        return self.page.evaluate(READ)

    def wait_for_axis(self, label):
        """Wait until the curves are drawn with this title of the vertical axis."""
        self.page.wait_for_function(
            "(label) => Bokeh.documents.find((d) => d.get_model_by_name('curves'))"
            ".get_model_by_name('curves').left[0].axis_label === label",
            arg=label,
        )

    def place_on_first_curve(self, point):
        """Return where on the page the numbered point of the first curve is drawn."""
        return self.page.evaluate(PLACE, point)

    def verdict(self):
        return self.page.locator(".verdict").first.inner_text()

    def numbers(self):
        return self.page.locator(".verdict .numbers b").all_inner_texts()

    def keep(self, name):
        """Keep a screenshot in the gallery, as a palette PNG."""
        from PIL import Image

        target = gallery_file(name, self.scratch)
        self.page.screenshot(path=target)
        with Image.open(target) as image:
            image.convert("RGB").quantize(192).save(target, optimize=True)
        assert target.stat().st_size < 300_000

    def overflow(self):
        """Return by how many pixels the widest visible thing of the page leaves the window."""
        return self.page.evaluate(OVERFLOW)

    def assert_clean(self):
        assert self.said == []
        assert self.hosts <= {"127.0.0.1", "localhost", None, ""}


@pytest.fixture
def visit(chromium, tmp_path):
    """Return an opener of pages; all close after the test."""
    contexts = []

    def begin(url, query="", *, width=1440, height=900, ready=".verdict h2"):
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}))
        return Visit(contexts[-1].new_page(), url, tmp_path).open(query, ready)

    yield begin
    for context in contexts:
        context.close()


@pytest.fixture
def fresh_store(tmp_path):
    yield tmp_path / "store"
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
