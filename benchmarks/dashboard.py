"""Offset slider to last changed pixel: the Explorer against a naive HoloViews page, in one run.

python benchmarks/dashboard.py [--moves 7] [--counts 40,500,2000] [--naive-up-to 500]

Both pages draw the same curves on the same grid, served from this process and driven by one
headless Chromium. The naive page is what one writes first: a DynamicMap that returns an Overlay of
one Curve per run. A sampler in the page compares the plot's canvas on every animation frame; a
move lasts from the key press to the last frame that differs. Compare the ratios, not the times.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import xarray as xr
from machine import keep
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.chromium import ARGUMENTS, ensure_chromium
from workbench.apps import start
from workbench.curves import POINTS, on_progress
from workbench.schema import conform, make_runs
from workbench.store import open_store

SIZES, RECORDS, FLOOR = 8, 256, 1.7
QUIET_SECONDS = {"ours": 1.5, "naive": 6.0}
SAMPLER = """() => {
  const small = document.createElement("canvas");
  [small.width, small.height] = [320, 160];
  const pen = small.getContext("2d", { willReadFrequently: true });
  const find = (root) => [...root.querySelectorAll("*")].reduce((hit, node) => hit ??
    (node instanceof HTMLCanvasElement && node.width > 300 && node.isConnected ? node
      : node.shadowRoot ? find(node.shadowRoot) : null), null);
  window.changes = [];
  let before = "", canvas = find(document);
  document.addEventListener("keydown", (e) => { window.pressed = performance.now(); }, true);
  const look = () => {
    if (!canvas?.isConnected) canvas = find(document);
    pen.clearRect(0, 0, 320, 160);
    pen.drawImage(canvas, 0, 0, 320, 160);
    const data = pen.getImageData(0, 0, 320, 160).data;
    let hash = 0;
    for (let i = 0; i < data.length; i += 1) hash = (hash * 31 + data[i]) | 0;
    if (hash !== before) window.changes.push(performance.now());
    before = hash;
    requestAnimationFrame(look);
  };
  look();
}"""


def family(n_runs: int) -> xr.Dataset:
    """Return runs of eight sizes that collapse at `FLOOR`, with seed noise."""
    rng = np.random.default_rng(0)
    size = np.resize(np.geomspace(1e6, 128e6, SIZES), n_runs)
    x = np.arange(1, RECORDS + 1) / RECORDS
    scale = 20 * size**-0.2 * np.exp(0.003 * rng.standard_normal(n_runs))
    loss = FLOOR + scale[:, None] * x**-0.3 + 0.002 * rng.standard_normal((n_runs, RECORDS))
    coords: dict[str, Any] = {
        "run_id": [f"run-{i}" for i in range(n_runs)],
        "model_size": size,
        "seed": np.arange(n_runs) // SIZES,
        "tpp": np.full(n_runs, 20.0),
        "tau": np.full(n_runs, 0.2),
        "schedule": ["linear"] * n_runs,
        "total_steps": np.full(n_runs, float(RECORDS)),
        "status": ["done"] * n_runs,
    }
    steps = np.tile(np.arange(1, RECORDS + 1), n_runs)
    return conform(
        make_runs(coords, {"step": steps, "eval_loss": loss.ravel()}, row_size=[RECORDS] * n_runs)
    )


def naive_page(runs: xr.Dataset) -> pn.Column:
    """Return the page one writes first."""
    pn.extension()
    hv.extension("bokeh")
    curves = on_progress(runs, points=POINTS)
    x, values = curves["progress"].to_numpy(), curves.to_numpy()
    slider = pn.widgets.FloatSlider(name="Offset", start=0, end=2, step=0.01, value=1.0)

    def draw(offset: float) -> hv.Overlay:
        ell = (values - offset) / (values[:, -1:] - offset)
        return hv.Overlay([hv.Curve((x, row)) for row in ell])

    plot = hv.DynamicMap(pn.bind(draw, slider)).opts(framewise=True, width=1000, height=400)
    return pn.Column(slider, plot)


def moves(page: Page, kind: str, count: int) -> list[float]:
    """Press a page key `count` times, each after the last change, and return the times [ms]."""
    selector = "input[type=range]" if kind == "ours" else ".noUi-handle"
    handle = page.locator(selector).first
    handle.focus()
    page.keyboard.press("Home")  # away from the fitted value, which holds the handle
    page.wait_for_timeout(1000 * QUIET_SECONDS[kind])
    times = []
    for number in range(count + 1):
        page.evaluate("window.changes = []")
        page.keyboard.press("PageDown" if number % 2 else "PageUp")
        page.wait_for_function(
            "(quiet) => window.changes.length && performance.now() - window.changes.at(-1) > quiet",
            arg=1000 * QUIET_SECONDS[kind],
            timeout=60_000,
        )
        took = page.evaluate("window.changes.at(-1) - window.pressed")
        if number:  # the first one warms up
            times.append(took)
    return times


def visit(browser: Any, url: str, kind: str, count: int) -> dict[str, Any]:
    """Open a page and measure it."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    frames: list[int] = []
    page.on(
        "websocket",
        lambda socket: [
            socket.on(event, lambda frame: frames.append(len(frame)))
            for event in ("framesent", "framereceived")
        ],
    )
    begun = time.perf_counter()
    page.goto(url)
    page.locator("canvas").first.wait_for(timeout=180_000)
    if kind == "ours":
        page.locator(".verdict h2").first.wait_for(timeout=60_000)
    shown = time.perf_counter() - begun
    page.wait_for_timeout(3000)
    page.evaluate(SAMPLER)
    frames.clear()
    times = moves(page, kind, count)
    page.close()
    return {
        "milliseconds": [round(t, 1) for t in times],
        "median_ms": round(statistics.median(times), 1),
        "bytes_a_move_with_rest": round(sum(frames) / (count + 1)),
        "first_shown_s": round(shown, 2),
    }


def serve_naive(runs: xr.Dataset) -> tuple[str, Callable[[], None]]:
    """Serve the naive page from a thread; return its address and how to stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    thread = pn.serve(
        lambda: naive_page(runs),
        port=port,
        address="127.0.0.1",
        websocket_origin=[f"127.0.0.1:{port}"],
        show=False,
        threaded=True,
        verbose=False,
    )
    url = f"http://127.0.0.1:{port}/"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=30).close()
        except urllib.error.URLError:
            threading.Event().wait(0.1)
        else:
            return url, thread.stop
    msg = "The naive page did not start within 60 s."
    raise RuntimeError(msg)


def main() -> None:
    """Measure and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=7)
    parser.add_argument("--counts", default="40,500,2000")
    parser.add_argument("--naive-up-to", type=int, default=500)
    options = parser.parse_args()
    figures: dict[str, Any] = {"points": POINTS, "pages": {}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=ensure_chromium(), args=list(ARGUMENTS)
        )
        for n_runs in map(int, options.counts.split(",")):
            runs = family(n_runs)
            row: dict[str, Any] = {}
            with tempfile.TemporaryDirectory() as folder:
                open_store(folder, create=True).add_runs(runs, family="bench")
                with start(folder, port=0) as server:
                    row["ours"] = visit(browser, server.url, "ours", options.moves)
            if n_runs <= options.naive_up_to:
                url, stop = serve_naive(runs)
                row["naive"] = visit(browser, url, "naive", min(options.moves, 3))
                stop()
                row["ratio"] = round(row["naive"]["median_ms"] / row["ours"]["median_ms"], 1)
            figures["pages"][str(n_runs)] = row
            print(n_runs, row)
        browser.close()
    print(keep("dashboard", figures, "panel", "bokeh", "holoviews", "panel-material-ui"))


if __name__ == "__main__":
    main()
