"""The same object as a cell of a real JupyterLab, without a network."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from tests.browser.conftest import gallery_file

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-this-test"
CELLS = (
    "from workbench.views.notebook import notebook\nnotebook()",
    "from workbench.datasets import load_quickstart\n"
    "from workbench.views.explorer import Explorer\n"
    "Explorer(load_quickstart())",
    "from workbench.views.what_if import WhatIf\nWhatIf(load_quickstart())",
)


@pytest.fixture
def lab(tmp_path):
    pytest.importorskip("jupyterlab")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(book, tmp_path / "page.ipynb")
    log = tmp_path / "lab.log"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={tmp_path}",
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=tmp_path)
    try:
        yield address(log, process)
    finally:
        process.terminate()
        process.wait(30)


def address(log, process):
    """Wait until the server answers and return where."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
        with contextlib.suppress(OSError):
            if found and urllib.request.urlopen(f"{found[0]}api", timeout=2).status == 200:
                return found[0]
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-500:]}")


def test_explorer_and_what_if_are_cells(chromium, lab, tmp_path):
    context = chromium.new_context(viewport={"width": 1500, "height": 1000})
    page = context.new_page()
    said, foreign = [], []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda r: None if "//127.0.0.1" in r.url or "//" not in r.url else foreign.append(r.url),
    )
    page.goto(f"{lab}lab/tree/page.ipynb?token={TOKEN}&reset")
    page.locator(".jp-Notebook .jp-Cell").first.click(timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    verdict = page.locator(".jp-OutputArea .verdict").first
    verdict.wait_for(timeout=45_000)
    before = verdict.inner_text()
    slider = page.locator(".jp-OutputArea input[type=range]").first
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function(
        """(old) => {
          const find = (root) => [...root.querySelectorAll("*")].reduce((hit, node) =>
            hit ?? (node.matches(".verdict") ? node
              : node.shadowRoot ? find(node.shadowRoot) : null), null);
          return find(document)?.innerText !== old;
        }""",
        arg=before,
        timeout=20_000,
    )
    for name in ("No offset", "Residual"):
        page.get_by_role("button", name=name).first.wait_for(timeout=20_000)
    page.screenshot(path=gallery_file("jupyterlab", tmp_path))
    assert verdict.inner_text() != before
    what_if = page.locator(".jp-Notebook .jp-Cell").nth(2)
    what_if.get_by_role("slider", name="Timescale").first.focus()
    page.keyboard.press("End")
    what_if.get_by_text("Beyond the runs").wait_for(timeout=20_000)
    what_if.get_by_text("tau, tpp = 3.98, 20").wait_for(timeout=20_000)
    assert said == []
    assert [url for url in foreign if url.startswith("http")] == []
    context.close()
