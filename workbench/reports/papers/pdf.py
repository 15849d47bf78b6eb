"""The page of the papers as a PDF, printed by a Chromium that is already on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from workbench.errors import DataError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
)
_SECONDS = 300


def find_browser() -> str | None:
    """Return the path of a browser that prints: CHROMIUM if set, else one by its usual name."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def print_page(html: Path, pdf: Path) -> None:
    """Print a page to a PDF file, which appears complete or not at all.

    Parameters
    ----------
    html, pdf : Path
        The page, which is not changed, and where the PDF goes.

    Raises
    ------
    DataError
        If there is no browser, or it fails; says what else to do.
    """
    browser = find_browser()
    other = f"Or open {html} in any browser and print it."
    if browser is None:
        msg = f"A PDF needs Chromium: install it, or set CHROMIUM to its path. {other}"
        raise DataError(msg)
    options = list(_OPTIONS)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium has no sandbox for the superuser
    with tempfile.TemporaryDirectory(prefix="wb-") as scratch:
        draft = Path(scratch) / "page.pdf"
        command = [
            browser,
            *options,
            f"--user-data-dir={scratch}/profile",
            f"--print-to-pdf={draft}",
            html.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            msg = f"{browser} did not print the page within {_SECONDS} s. {other}"
            raise DataError(msg) from error
        if not draft.is_file():
            last = " ".join(done.stderr.split()[-40:])
            msg = f"{browser} printed no PDF (exit {done.returncode}): {last}. {other}"
            raise DataError(msg)
        beside = pdf.with_name(f".{pdf.name}.draft")
        shutil.copyfile(draft, beside)
        beside.replace(pdf)
